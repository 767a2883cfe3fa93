/**
 * An identity provider on loopback: it publishes its keys over HTTP and signs access tokens by RFC 9068. It asks nobody
 * for a password, which is why it is part of the demo and not of the app; `test/sign-in.test.ts` has a real one.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { IssuerConfig } from '@ringfence/authz/session';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { MFA_ACR, PASSWORD_ACR } from '../policy.ts';

/** Audience of the ledger's access tokens. */
export const AUDIENCE = 'https://api.ledger.example';

const ALGORITHM = 'ES256';
const KEY_ID = 'demo-1';
const LIFE_S = 3_600;

/** How somebody authenticates. */
export interface Authentication {
  /** With a second factor. Default: with a password alone. */
  readonly mfa?: boolean;
  /** How long ago, ms. Default 0. */
  readonly agoMs?: number;
  /** Id of the session at the provider. Default: a new one. */
  readonly sessionId?: string;
  /** Life of the token, whole seconds in ms. Default: 5 minutes. */
  readonly lifeMs?: number;
}

/** A running provider. */
export interface IdentityProvider {
  /** What the ledger has to know of it. */
  readonly issuer: IssuerConfig;
  /** An access token for a subject. */
  tokenFor(subject: string, how?: Authentication): Promise<string>;
  /** Ends the server. */
  close(): Promise<void>;
}

/** Starts a provider. */
export async function identityProvider(): Promise<IdentityProvider> {
  const { privateKey, publicKey } = await generateKeyPair(ALGORITHM);
  const keys = JSON.stringify({
    keys: [{ ...(await exportJWK(publicKey)), kid: KEY_ID, alg: ALGORITHM, use: 'sig' }],
  });
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(keys);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    issuer: {
      issuer: url,
      jwksUri: `${url}/jwks`,
      algorithms: [ALGORITHM],
      audience: AUDIENCE,
      maxTokenAgeMs: LIFE_S * 1_000,
      mfaAcrValues: [MFA_ACR],
    },
    tokenFor: async (
      subject,
      { mfa = false, agoMs = 0, sessionId = randomUUID(), lifeMs = LIFE_S * 1_000 } = {},
    ) => {
      const now = Math.floor(Date.now() / 1_000);
      return await new SignJWT({
        client_id: 'ledger-web',
        sid: sessionId,
        acr: mfa ? MFA_ACR : PASSWORD_ACR,
        amr: mfa ? ['pwd', 'otp', 'mfa'] : ['pwd'],
        auth_time: now - Math.ceil(agoMs / 1_000),
      })
        .setProtectedHeader({ alg: ALGORITHM, kid: KEY_ID, typ: 'at+jwt' })
        .setIssuer(url)
        .setSubject(subject)
        .setAudience(AUDIENCE)
        .setJti(randomUUID())
        .setIssuedAt(now)
        .setExpirationTime(now + lifeMs / 1_000)
        .sign(privateKey);
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
