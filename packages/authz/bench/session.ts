/**
 * Access tokens verified per second of CPU time, one at a time: `token-cached` a token seen before, `token-cold` tokens never seen,
 * against bare `jwtVerify` with a local key set and the same claim checks.
 */
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { type BenchCase, type Prepared, runCase } from '../../../tools/bench/suite.ts';
import { createTokenVerifier } from '../src/session/index.ts';

const ISSUER = 'https://id.example.com';
const AUDIENCE = 'https://api.example.com';
const SLICE_MS = 500;
const BATCH = 100;

/** The cases of this file. */
export const sessionCases: readonly BenchCase[] = [
  { id: 'token-cached', unit: 'tokens/CPU-s', prepare: () => prepare('cached') },
  { id: 'token-cold', unit: 'tokens/CPU-s', limit: 'jose', prepare: () => prepare('cold') },
];

async function prepare(mode: 'cached' | 'cold'): Promise<Prepared> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const keySet = { keys: [{ ...(await exportJWK(publicKey)), kid: 'key-1', alg: 'ES256' }] };
  const tokens = await Promise.all(
    Array.from({ length: mode === 'cached' ? 1 : 2_000 }, (_, n) =>
      new SignJWT({ client_id: 'client-1', scope: 'ledger', acr: 'urn:example:mfa', amr: ['pwd', 'mfa'] })
        .setProtectedHeader({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60')
        .setJti(`token-${n}`)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey),
    ),
  );
  const verifier = createTokenVerifier({
    issuers: [
      {
        issuer: ISSUER,
        jwksUri: `${ISSUER}/jwks`,
        algorithms: ['ES256'],
        audience: AUDIENCE,
        maxTokenAgeMs: 3_600_000,
      },
    ],
    // Cold: room for two, so that every token of the round has been dropped when its turn comes again.
    cacheEntries: mode === 'cached' ? 1_000 : 2,
    fetch: async () => Response.json(keySet),
  });
  const keys = createLocalJWKSet(keySet);
  const options = {
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['ES256'],
    typ: 'at+jwt',
    maxTokenAge: 3_600,
    clockTolerance: 5,
    requiredClaims: ['exp', 'sub', 'client_id', 'jti'],
  };
  const ours = {
    name: 'ringfence',
    measure: () => rate(tokens, (token) => verifier.verifyAccessToken(token)),
  };
  const jose = { name: 'jose', measure: () => rate(tokens, (token) => jwtVerify(token, keys, options)) };
  return { subjects: [ours, jose], close: async () => undefined };
}

async function rate(tokens: readonly string[], verify: (token: string) => Promise<unknown>): Promise<number> {
  let done = 0;
  let elapsed = 0;
  const start = process.cpuUsage();
  while (elapsed < SLICE_MS) {
    for (let n = 0; n < BATCH; n += 1) await verify(tokens[(done + n) % tokens.length] as string);
    done += BATCH;
    const { user, system } = process.cpuUsage(start);
    elapsed = (user + system) / 1_000;
  }
  return (done / elapsed) * 1_000;
}

if (import.meta.main) {
  for (const bench of sessionCases) console.table(await runCase('authz', bench));
}
