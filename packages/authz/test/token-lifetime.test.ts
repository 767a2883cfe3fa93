/** What was verified once, and what ends it: time, revocation, withdrawn keys. And what a failing issuer may cost. */
import type { RequestListener } from 'node:http';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import {
  AuthzKeysUnavailableError,
  AuthzTokenRefusedError,
  createTokenVerifier,
  type IssuerConfig,
  Revocations,
  type TokenVerifier,
} from '../src/session/index.ts';
import { hasRepeatedMember } from '../src/session/strict-json.ts';
import { TokenCache } from '../src/session/token-cache.ts';
import { API, START, START_MS, signingKey, TestClock, TestIssuer } from './session-fixture.ts';

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
let clock: TestClock;
let revocations: Revocations;
let verifier: TokenVerifier;
beforeEach(() => {
  clock = new TestClock();
  revocations = new Revocations(clock);
  issuer.answer = undefined;
  issuer.published = [issuer.key.publicJwk];
  issuer.requests = 0;
  verifier = createTokenVerifier({
    issuers: [issuer.config],
    revocations,
    ...clock,
    keySets: { timeoutMs: 200 },
  });
});

const ask = async (token: string) =>
  await verifier.verifyAccessToken(token).then(
    () => 'accepted',
    (error: unknown) =>
      error instanceof AuthzTokenRefusedError
        ? error.reason
        : error instanceof AuthzKeysUnavailableError
          ? 'unavailable'
          : error,
  );
const token = async (part: object = {}) => await issuer.sign(issuer.access(part));

describe('a cached token', () => {
  test('is the same session, without asking anybody', async () => {
    const text = await token();
    const first = await verifier.verifyAccessToken(text);
    expect(await verifier.verifyAccessToken(text)).toBe(first);
    expect(issuer.requests).toBe(1);
  });

  test('expires in its millisecond, and stays so when the clock is set back', async () => {
    const text = await token();
    expect(await ask(text)).toBe('accepted');
    clock.pass(304_999);
    expect(await ask(text)).toBe('accepted');
    clock.pass(1);
    expect(await ask(text)).toBe('expired');
    clock.wall = START_MS;
    expect([await ask(text), await ask(text)]).toEqual(['expired', 'expired']);
  });

  test('is ended by the wall clock alone (the machine slept), and by the monotonic alone (the clock was set back)', async () => {
    const text = await token();
    expect(await ask(text)).toBe('accepted');
    clock.wall += 305_000;
    expect(await ask(text)).toBe('expired');
    clock.wall -= 305_000;
    expect(await ask(text)).toBe('accepted'); // set right again: it is alive by right
    clock.wall -= 3_600_000;
    clock.mono += 305_000;
    expect(await ask(text)).toBe('expired');
  });

  test('ends with maxTokenAge though exp lies ahead', async () => {
    const text = await token({ exp: START + 80_000 });
    expect(await ask(text)).toBe('accepted');
    clock.pass(3_604_999);
    expect(await ask(text)).toBe('accepted');
    clock.pass(1);
    expect(await ask(text)).toBe('expired');
  });

  test.each([
    ['exp', {}, 305_000],
    ['maxTokenAge', { exp: START + 80_000 }, 3_605_000],
  ])(
    'expires by %s in the millisecond in which it would for the first time it is seen',
    async (_, part, age) => {
      const text = await token(part);
      clock.pass(age - 1);
      expect(await ask(text)).toBe('accepted');
      clock.pass(1);
      expect(await ask(text)).toBe('expired');
      verifier = createTokenVerifier({ issuers: [issuer.config], revocations, ...clock });
      expect(await ask(text)).toBe('expired');
      clock.pass(999);
      expect(await ask(text)).toBe('expired');
    },
  );

  test.each([
    ['jti', () => revocations.revokeToken(issuer.url, 'token-1')],
    ['sid', () => revocations.revokeSession(issuer.url, 'sid-1')],
    ['sub', () => revocations.revokeSubject(issuer.url, 'ada')],
  ])('is refused at once when its %s is revoked, here or elsewhere', async (_what, revoke) => {
    const text = await token({ sid: 'sid-1' });
    expect(await ask(text)).toBe('accepted');
    await revoke();
    expect([await ask(text), await ask(text)]).toEqual(['revoked', 'revoked']);
  });

  test('is not touched by a revocation of somebody else', async () => {
    const text = await token({ sid: 'sid-1' });
    await ask(text);
    await revocations.revokeToken('https://other.example', 'token-1');
    await revocations.revokeSubject(issuer.url, 'bob');
    await revocations.revokeSubject(issuer.url, 'sid-1');
    expect(await ask(text)).toBe('accepted');
  });

  test('of a verifier for another audience or issuer opens nothing', async () => {
    const text = await token();
    await ask(text);
    const strict = createTokenVerifier({
      issuers: [{ ...issuer.config, audience: 'https://b.example' }],
      ...clock,
    });
    await expect(strict.verifyAccessToken(text)).rejects.toMatchObject({ reason: 'audience' });
    await expect(verifier.verifyIdToken(text, { nonce: 'nonce-1' })).rejects.toMatchObject({
      reason: 'type',
    });
  });
});

describe('a revocation', () => {
  test('leaves what is issued after it and the skew alone', async () => {
    await revocations.revokeSubject(issuer.url, 'ada');
    expect(await ask(await token())).toBe('revoked');
    clock.pass(6_000);
    expect(await ask(await token({ iat: START + 5, jti: '2' }))).toBe('revoked');
    expect(await ask(await token({ iat: START + 6, jti: '3' }))).toBe('accepted');
  });

  test('ends what an issuer whose clock is ahead dated later, seen before or not', async () => {
    const seen = await token({ iat: START + 4, jti: '1' });
    const unseen = await token({ iat: START + 5, jti: '2', sid: 'sid-2' });
    expect(await ask(seen)).toBe('accepted');
    await revocations.revokeSubject(issuer.url, 'ada');
    clock.pass(60_000);
    expect([await ask(seen), await ask(unseen)]).toEqual(['revoked', 'revoked']);
  });

  test('of a session or an overflow reaches as far', async () => {
    const ahead = await token({ iat: START + 5, sid: 'sid-1' });
    await revocations.revokeSession(issuer.url, 'sid-1');
    expect(await ask(ahead)).toBe('revoked');
    const small = new Revocations({ ...clock, maxEntries: 1 });
    const guarded = createTokenVerifier({ issuers: [issuer.config], revocations: small, ...clock });
    for (const id of ['a', 'b']) await small.revokeToken(issuer.url, id);
    await expect(guarded.verifyAccessToken(ahead)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('leaves exact clocks alone where no skew is allowed', async () => {
    const exact = createTokenVerifier({
      issuers: [{ ...issuer.config, clockSkewMs: 0 }],
      revocations,
      ...clock,
    });
    await revocations.revokeSubject(issuer.url, 'ada');
    clock.pass(1_000);
    await expect(exact.verifyAccessToken(await token({ iat: START + 1 }))).resolves.toBeDefined();
  });

  test('is in force here before it is published, and although publishing fails', async () => {
    const failing = new Revocations({
      ...clock,
      publish: async () => Promise.reject(new Error('the bus is down')),
    });
    const guarded = createTokenVerifier({ issuers: [issuer.config], revocations: failing, ...clock });
    const text = await token();
    await guarded.verifyAccessToken(text);
    await expect(failing.revokeToken(issuer.url, 'token-1')).rejects.toThrow('the bus is down');
    await expect(guarded.verifyAccessToken(text)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('reaches the other process through publish and receive, in either order of dates', async () => {
    const sender = new Revocations({
      ...clock,
      publish: async (it) => revocations.receive(JSON.parse(JSON.stringify(it))),
    });
    await sender.revokeSubject(issuer.url, 'ada');
    revocations.receive({ kind: 'subject', issuer: issuer.url, id: 'ada', at: 1 }); // an old one arrives late
    expect(await ask(await token())).toBe('revoked');
    for (const bad of [{ kind: 'all' }, { id: '' }, { at: Number.NaN }, { issuer: 1 }]) {
      const revocation = { kind: 'org', issuer: '', id: 'x', at: 1, ...bad };
      expect(() => revocations.receive(revocation as never)).toThrow(TypeError);
    }
  });

  test('of more than fit ends everything issued up to now', async () => {
    const small = new Revocations({ ...clock, maxEntries: 2 });
    const guarded = createTokenVerifier({ issuers: [issuer.config], revocations: small, ...clock });
    const text = await token();
    await guarded.verifyAccessToken(text);
    for (const id of ['a', 'b', 'c']) await small.revokeToken(issuer.url, id);
    await expect(guarded.verifyAccessToken(text)).rejects.toMatchObject({ reason: 'revoked' });
  });
});

describe('the keys', () => {
  test('that are new are fetched once, however many tokens name unknown ones', async () => {
    const next = await signingKey('key-2');
    await ask(await token());
    clock.pass(30_000);
    issuer.published.push(next.publicJwk);
    expect(await ask(await issuer.sign(issuer.access(), {}, next))).toBe('accepted');
    expect(issuer.requests).toBe(2);
    for (let n = 0; n < 50; n += 1) await ask(await issuer.sign(issuer.access(), { kid: `unknown-${n}` }));
    expect(issuer.requests).toBe(2);
  });

  test('that are asked for at once are fetched once', async () => {
    const texts = await Promise.all(['1', '2', '3', '4'].map((jti) => token({ jti })));
    expect(await Promise.all(texts.map(ask))).toEqual(Array(4).fill('accepted'));
    expect(issuer.requests).toBe(1);
  });

  test('that were withdrawn end cached tokens as soon as the set is fetched, at the latest after its age', async () => {
    const text = await token({ exp: START + 3_000 });
    expect(await ask(text)).toBe('accepted');
    const next = await signingKey('key-2');
    issuer.published = [next.publicJwk];
    clock.pass(599_999);
    expect(await ask(text)).toBe('accepted');
    clock.pass(1);
    expect(await ask(text)).toBe('unknown_key');
  });

  test('at hand serve on while the issuer fails, an hour beyond their age and no longer', async () => {
    const config: IssuerConfig = { ...issuer.config, maxTokenAgeMs: 86_400_000 };
    verifier = createTokenVerifier({ issuers: [config], ...clock });
    const text = await token({ exp: START + 80_000 });
    expect(await ask(text)).toBe('accepted');
    issuer.answer = (_request, response) => void response.writeHead(500).end();
    clock.pass(4_199_999);
    expect(await ask(text)).toBe('accepted');
    clock.pass(1);
    expect(await ask(text)).toBe('unavailable');
    clock.pass(30_000);
    issuer.answer = undefined;
    expect(await ask(text)).toBe('accepted');
  });

  const json = { 'content-type': 'application/json' };
  const failures: readonly (readonly [string, RequestListener])[] = [
    ['an error', (_, response) => void response.writeHead(500, json).end('{}')],
    ['HTML', (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    [
      'JSON called HTML',
      (_, response) =>
        void response
          .writeHead(200, { 'content-type': 'text/html' })
          .end(JSON.stringify({ keys: [issuer.key.publicJwk] })),
    ],
    ['HTML called JSON', (_, response) => void response.writeHead(200, json).end('<html>')],
    [
      'a redirect to a good set',
      (request, response) => {
        if (request.url === '/good')
          response.writeHead(200, json).end(JSON.stringify({ keys: [issuer.key.publicJwk] }));
        else response.writeHead(302, { location: '/good' }).end();
      },
    ],
    [
      'more than 256 KiB',
      (_, response) =>
        void response
          .writeHead(200, json)
          .end(JSON.stringify({ keys: [issuer.key.publicJwk], pad: 'x'.repeat(262_144) })),
    ],
    ['no end', (_, response) => void response.writeHead(200, json).write('{"keys":[')],
    ['nothing at all', () => undefined],
    ['a set without keys', (_, response) => void response.writeHead(200, json).end('{"keys":[]}')],
    ['a set that is null', (_, response) => void response.writeHead(200, json).end('null')],
    [
      'a symmetric key',
      (_, response) =>
        void response.writeHead(200, json).end('{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"}]}'),
    ],
    [
      'a private key',
      (_, response) =>
        void response
          .writeHead(200, json)
          .end(JSON.stringify({ keys: [{ ...issuer.key.publicJwk, d: 'AAAA' }] })),
    ],
    ['a closed connection', (request) => void request.socket.destroy()],
  ];
  test.each(failures)(
    'cannot be had from an issuer that answers %s: typed, retryable, asked for once',
    async (_name, answer) => {
      issuer.answer = answer;
      const text = await token();
      const error = await verifier.verifyAccessToken(text).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(AuthzKeysUnavailableError);
      expect(error).toMatchObject({ retryable: true, retryAfterMs: 30_000, issuer: issuer.url });
      const { requests } = issuer;
      expect(await ask(text)).toBe('unavailable');
      expect(issuer.requests).toBe(requests);
      clock.pass(30_000);
      issuer.answer = undefined;
      expect(await ask(text)).toBe('accepted');
    },
  );

  test('of which two fit, or one is broken, refuse the token', async () => {
    issuer.published = [issuer.key.publicJwk, { ...(await signingKey('key-1')).publicJwk }];
    expect(await ask(await token())).toBe('unknown_key');
    clock.pass(600_000);
    issuer.published = [{ ...issuer.key.publicJwk, x: 'AAAA' }];
    expect(await ask(await token({ iat: START + 600, exp: START + 900 }))).toBe('unknown_key');
  });
});

test('the cache holds no more than its bound, and keeps what is used', () => {
  const cache = new TokenCache(10);
  const entry = {} as Parameters<TokenCache['set']>[1];
  cache.set('kept', entry);
  for (let n = 0; n < 1_000; n += 1) {
    cache.set(`key-${n}`, entry);
    expect(cache.get('kept')).toBe(entry);
    expect(cache.size).toBeLessThanOrEqual(10);
  }
  expect(() => new TokenCache(1)).toThrow(TypeError);
});

test('a member that is there twice is found in any JSON, and no other', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      expect(hasRepeatedMember(JSON.stringify(JSON.parse(text)))).toBe(false);
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 3 }), (name, value) => {
      const member = `${JSON.stringify(name)}:${JSON.stringify(value)}`;
      expect(hasRepeatedMember(`{${member} , ${member}}`)).toBe(true);
      expect(hasRepeatedMember(`[{"a":{${member}}}, {${member}}]`)).toBe(false);
    }),
  );
});

test.each([
  ['a symmetric algorithm', { algorithms: ['HS256'] }],
  ['alg none', { algorithms: ['none'] }],
  ['no algorithm', { algorithms: [] }],
  ['an audience that is the client', { audience: 'client-1' }],
  ['no audience at all', { audience: undefined, clientId: undefined }],
  ['plain http', { issuer: 'http://id.example.com' }],
  ['plain http for the keys', { jwksUri: 'http://id.example.com/jwks' }],
  ['a file for the keys', { jwksUri: 'file:///etc/keys' }],
  ['credentials in an address', { jwksUri: 'https://a:b@id.example.com/jwks' }],
  ['a skew of more than a minute', { clockSkewMs: 61_000 }],
  ['a skew of parts of a second', { clockSkewMs: 1_500 }],
  ['an age beyond a day', { maxTokenAgeMs: 86_401_000 }],
  ['an age that is absent', { maxTokenAgeMs: undefined }],
  ['no allowed client', { allowedClients: [] }],
  ['an allowed client that is none', { allowedClients: [''] }],
  ['no required scope', { requiredScopes: [] }],
  ['a required scope that is two', { requiredScopes: ['a b'] }],
  ['a required scope without an audience', { requiredScopes: ['a'], audience: undefined }],
  ['allowed clients without an audience', { allowedClients: ['a'], audience: undefined }],
  ['a connection with two sources', { connection: { id: 'a', claim: 'b' } }],
])('a verifier is not made with %s', (_name, part) => {
  const config = { ...issuer.config, audience: API, ...part } as IssuerConfig;
  expect(() => createTokenVerifier({ issuers: [config] })).toThrow(TypeError);
});

test('a verifier is not made with an issuer that is there twice', () => {
  expect(() => createTokenVerifier({ issuers: [issuer.config, issuer.config] })).toThrow(/twice/);
});
