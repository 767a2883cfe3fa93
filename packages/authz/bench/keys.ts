/**
 * API keys verified per second of CPU time, one at a time, in one process: format, checksum, digest or HMAC-SHA-256,
 * expiry, revocation, the session, and a decision within scope and ceiling. A key is verified by its HMAC once in five
 * seconds, in between by its salted digest; `read-each-time` keeps no record, so that every verification is one by HMAC.
 * `with-admit` adds what a request costs besides: the guard with the directory in memory. The limit is the bare HMAC of
 * the same text with a KeyObject, a look-up in a Map and the comparison in constant time.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { type BenchCase, type Prepared, runCase } from '../../../tools/bench/suite.ts';
import { authorizeWithinCeiling, definePolicy, lessThan, parseOrgId, resource } from '../src/index.ts';
import { createApiKeys } from '../src/keys/index.ts';
import { Revocations } from '../src/session/index.ts';
import { MintedSession } from '../src/session/verified-session.ts';
import { memoryApiKeyStore } from '../src/testing/index.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const SLICE_MS = 500;
const BATCH = 200;
const KEYS = 100;

/** The case `api-key`. */
export const keyCases: readonly BenchCase[] = [
  { id: 'api-key', unit: 'keys/CPU-s', limit: 'hmac+map', prepare },
];

async function prepare(): Promise<Prepared> {
  const policy = definePolicy({
    resources: { entry: { actions: ['read', 'post'], attributes: { amountCents: 'integer' } } },
    roles: ['owner', 'feed'],
    grants: [
      { id: 'owner', roles: ['owner'], actions: ['entry.read', 'entry.post'] },
      {
        id: 'feed',
        roles: ['feed'],
        actions: ['entry.post'],
        when: lessThan(resource('amountCents'), 1_000),
      },
    ],
  });
  const pepper = createSecretKey(randomBytes(32));
  const member = { id: 'user:ada', roles: ['owner'] as const };
  const store = memoryApiKeyStore();
  const options = {
    prefix: 'ldg',
    type: 'live',
    peppers: { current: 'p1', keys: { p1: pepper } },
    store,
    policy: () => policy,
    directory: {
      assurance: async () => ({ plan: 'pro', ssoProven: false }) as const,
      connectionOrg: async () => undefined,
      member: async () => member,
    },
    revocations: new Revocations(),
  };
  const keys = createApiKeys(options);
  const forgetful = createApiKeys({ ...options, recordMaxAgeMs: 0 });
  const now = Date.now();
  const session = new MintedSession({
    door: 'cookie',
    issuer: 'https://id.example.com',
    subject: 'ada',
    issuedAt: now,
    issuedNotBefore: now,
    expiresAt: now + 3_600_000,
    tokenId: undefined,
    sessionId: undefined,
    mfa: true,
    acr: undefined,
    authenticatedAt: now,
    ssoConnection: undefined,
  });
  const texts = await Promise.all(
    Array.from({ length: KEYS }, async (_, n) => {
      const issued = await keys.create({
        session,
        org: ORG,
        name: 'feed',
        scope: { roles: ['feed'], actions: ['entry.post'] },
        lifetimeMs: 86_400_000,
        requestId: `request-${n}`,
      });
      return issued.key.reveal();
    }),
  );
  const entry = { org: ORG, id: 'entry:1', amountCents: 500 };
  const asKey = { principal: { id: member.id, org: ORG, roles: ['feed'] as const }, now };
  const giver = { org: ORG, roles: member.roles };
  const ours = {
    name: 'ringfence',
    measure: () =>
      rate(texts, async (text) => {
        await keys.verify(text);
        expectAllowed(authorizeWithinCeiling(policy, asKey, giver, 'entry.post', entry).effect);
      }),
  };
  const verify = { name: 'verify-only', measure: () => rate(texts, (text) => keys.verify(text)) };
  const admit = {
    name: 'with-admit',
    measure: () =>
      rate(texts, async (text) => {
        expectAllowed((await keys.admit(text)).authorize('entry.post', entry).effect);
      }),
  };
  const readEachTime = {
    name: 'read-each-time',
    measure: () => rate(texts, (text) => forgetful.verify(text)),
  };
  const macs = new Map(texts.map((text) => [idOf(text), macOf(pepper, text)]));
  const limit = {
    name: 'hmac+map',
    measure: () =>
      rate(texts, async (text) => {
        const known = macs.get(idOf(text));
        if (known === undefined || !timingSafeEqual(macOf(pepper, text), known))
          throw new Error('expected a known key');
      }),
  };
  return { subjects: [ours, limit, verify, readEachTime, admit], close: async () => undefined };
}

function idOf(text: string): string {
  return text.slice(9, 25);
}

function macOf(pepper: KeyObject, text: string): Uint8Array {
  return createHmac('sha256', pepper).update(text).digest();
}

function expectAllowed(effect: string): void {
  if (effect !== 'allow') throw new Error(`expected an allow, not ${effect}`);
}

/** Per second of CPU time, as the checks of this suite: the figure does not depend on what else the machine does. */
async function rate(texts: readonly string[], verify: (text: string) => Promise<unknown>): Promise<number> {
  let done = 0;
  let elapsed = 0;
  const start = process.cpuUsage();
  while (elapsed < SLICE_MS) {
    for (let n = 0; n < BATCH; n += 1) await verify(texts[(done + n) % texts.length] as string);
    done += BATCH;
    const { user, system } = process.cpuUsage(start);
    elapsed = (user + system) / 1_000;
  }
  return (done / elapsed) * 1_000;
}

if (import.meta.main) {
  for (const bench of keyCases) console.table(await runCase('authz', bench));
}
