/**
 * An issuer on loopback: a real HTTP server for its keys, which can be told to fail, and a signer that signs whatever it
 * is told to. Clocks that move only when told to.
 */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CompactSign, exportJWK, generateKeyPair, type JWK } from 'jose';
import { parseOrgId } from '../src/index.ts';
import type { Clock, IssuerConfig } from '../src/session/index.ts';

export const ORG_A = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const ORG_B = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
export const API = 'https://api.example.com';
export const CLIENT = 'client-1';
export const START_MS = 1_800_000_000_000;
export const START = START_MS / 1_000;

/** Wall and monotonic clock, set by hand. */
export class TestClock implements Clock {
  wall = START_MS;
  mono = 5_000;
  readonly now = (): number => this.wall;
  readonly monotonicNow = (): number => this.mono;

  /** Time passes. */
  pass(ms: number): void {
    this.wall += ms;
    this.mono += ms;
  }
}

/** A key of the issuer. */
export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export async function signingKey(kid: string, alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

export class TestIssuer {
  /** The keys it publishes. */
  published: unknown[] = [];
  /** How often the keys were asked for. */
  requests = 0;
  /** Answers instead of the key set. */
  answer: RequestListener | undefined;
  readonly url: string;
  readonly key: SigningKey;
  readonly #close: () => Promise<void>;

  private constructor(url: string, key: SigningKey, close: () => Promise<void>) {
    this.url = url;
    this.key = key;
    this.#close = close;
    this.published = [key.publicJwk];
  }

  static async start(): Promise<TestIssuer> {
    const key = await signingKey('key-1');
    const server = createServer((request, response) => {
      issuer.requests += 1;
      if (issuer.answer !== undefined) {
        issuer.answer(request, response);
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ keys: issuer.published }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const close = () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    const issuer = new TestIssuer(`http://127.0.0.1:${port}`, key, close);
    return issuer;
  }

  get config(): IssuerConfig {
    return {
      issuer: this.url,
      jwksUri: `${this.url}/jwks`,
      algorithms: ['ES256'],
      audience: API,
      clientId: CLIENT,
      maxTokenAgeMs: 3_600_000,
      clockSkewMs: 5_000,
    };
  }

  /** Claims of an access token. */
  access(part: object = {}): Record<string, unknown> {
    return {
      iss: this.url,
      sub: 'ada',
      aud: API,
      client_id: CLIENT,
      jti: 'token-1',
      iat: START,
      exp: START + 300,
      auth_time: START - 60,
      ...part,
    };
  }

  /** Claims of an ID token. */
  id(part: object = {}): Record<string, unknown> {
    return {
      iss: this.url,
      sub: 'ada',
      aud: CLIENT,
      iat: START,
      exp: START + 300,
      nonce: 'nonce-1',
      ...part,
    };
  }

  async sign(claims: unknown, header: object = {}, key: SigningKey = this.key): Promise<string> {
    return await signText(JSON.stringify(claims), { typ: 'at+jwt', ...header }, key);
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

/** Signs a text that need not be JSON. */
export async function signText(text: string, header: object, key: SigningKey): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** Base64url of JSON or text. */
export function b64(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}
