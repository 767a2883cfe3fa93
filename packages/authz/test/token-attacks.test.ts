/**
 * Tokens an attacker, a confused client or a broken issuer presents. Each differs in one thing from a token that is
 * accepted, and each is refused with the reason it should be.
 */
import { createHmac, createPublicKey } from 'node:crypto';
import { CompactEncrypt, type CompactJWSHeaderParameters } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthzTokenRefusedError, createTokenVerifier, type TokenVerifier } from '../src/session/index.ts';
import {
  API,
  b64,
  CLIENT,
  type SigningKey,
  START,
  signingKey,
  signText,
  TestClock,
  TestIssuer,
} from './session-fixture.ts';

const issuer = await TestIssuer.start();
const other = await TestIssuer.start();
const rsa = await signingKey('key-rsa', 'RS256');
const stranger = await signingKey('key-1');
let verifier: TokenVerifier;

beforeAll(async () => {
  issuer.published = [issuer.key.publicJwk, rsa.publicJwk];
  verifier = createTokenVerifier({
    issuers: [
      { ...issuer.config, algorithms: ['ES256', 'RS256'] },
      { ...other.config, audience: 'https://other-api.example.com', clientId: 'client-2' },
    ],
    ...new TestClock(),
  });
});
afterAll(async () => {
  await issuer.close();
  await other.close();
});

const claims = (part: object = {}) => issuer.access(part);
const sign = (part: object = {}, header: object = {}, key?: SigningKey) =>
  issuer.sign(claims(part), header, key);
const without = (name: string) =>
  issuer.sign(Object.fromEntries(Object.entries(claims()).filter(([key]) => key !== name)));
/** Signs claims given as text: `JSON` puts its members into the text of the sound claims. */
const raw = (members: string, header: object = { typ: 'at+jwt' }) =>
  signText(JSON.stringify(claims()).replace(/}$/, `,${members}}`), header, issuer.key);
const header = (part: object) => b64({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt', ...part });

/** A token signed with the header text as given. */
async function withHeaderText(text: string): Promise<string> {
  const body = b64(claims());
  const signature = await crypto.subtle.sign(
    { name: 'ECDSA', hash: 'SHA-256' },
    issuer.key.privateKey,
    Buffer.from(`${b64(text)}.${body}`),
  );
  return `${b64(text)}.${body}.${Buffer.from(signature).toString('base64url')}`;
}

async function withSignature(change: (signature: Buffer) => Buffer | string): Promise<string> {
  const [head, body, signature = ''] = (await sign()).split('.');
  const changed = change(Buffer.from(signature, 'base64url'));
  return `${head}.${body}.${typeof changed === 'string' ? changed : changed.toString('base64url')}`;
}

/** The public key, which everybody has, as the secret of an HMAC. */
function confused(secret: string | Buffer): string {
  const signed = `${header({ alg: 'HS256', kid: 'key-rsa' })}.${b64(claims())}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const pem = () =>
  createPublicKey({ key: { ...rsa.publicJwk }, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  });

/** The DER spelling of an ECDSA signature, which JWS does not use. */
function der(signature: Buffer): Buffer {
  const integer = (bytes: Buffer) => {
    let at = 0;
    while (at < bytes.length - 1 && bytes[at] === 0) at += 1;
    const trimmed = bytes.subarray(at);
    const body = (trimmed[0] ?? 0) > 127 ? Buffer.concat([Buffer.of(0), trimmed]) : trimmed;
    return Buffer.concat([Buffer.of(2, body.length), body]);
  };
  const both = Buffer.concat([integer(signature.subarray(0, 32)), integer(signature.subarray(32))]);
  return Buffer.concat([Buffer.of(0x30, both.length), both]);
}

const nested = (depth: number) => `"deep":${'['.repeat(depth)}${']'.repeat(depth)}`;
const N = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');

const attacks: readonly (readonly [name: string, reason: string, token: () => unknown])[] = [
  ['alg none, without a signature', 'malformed', () => `${header({ alg: 'none' })}.${b64(claims())}.`],
  ['alg none, with one', 'algorithm', () => `${header({ alg: 'none' })}.${b64(claims())}.AAAA`],
  ['alg NoNe', 'algorithm', () => `${header({ alg: 'NoNe' })}.${b64(claims())}.AAAA`],
  [
    'alg es256, in lower case',
    'algorithm',
    () => withHeaderText(JSON.stringify({ alg: 'es256', kid: 'key-1', typ: 'at+jwt' })),
  ],
  ['alg is an array', 'algorithm', () => `${header({ alg: ['ES256'] })}.${b64(claims())}.AAAA`],
  ['alg is absent', 'algorithm', () => `${header({ alg: undefined })}.${b64(claims())}.AAAA`],
  ['HS256 with the PEM of the public key as the secret', 'algorithm', () => confused(pem())],
  [
    'HS256 with the JWK of the public key as the secret',
    'algorithm',
    () => confused(JSON.stringify(rsa.publicJwk)),
  ],
  [
    'an algorithm that is asymmetric but not configured',
    'algorithm',
    async () => sign({}, {}, await signingKey('key-1', 'ES384')),
  ],
  ['the algorithm of another key of the set', 'unknown_key', () => sign({}, { kid: 'key-1' }, rsa)],
  ['signed by a stranger who uses a known kid', 'signature', () => sign({}, {}, stranger)],
  ['kid with a path', 'unknown_key', () => sign({}, { kid: '../../../../dev/null' })],
  ['kid with a URL', 'unknown_key', () => sign({}, { kid: `${other.url}/jwks` })],
  ['kid with an SQL injection', 'unknown_key', () => sign({}, { kid: "x' UNION SELECT 'key-1" })],
  ['kid __proto__', 'unknown_key', () => sign({}, { kid: '__proto__' })],
  ['kid of 10,000 characters', 'malformed', () => sign({}, { kid: 'k'.repeat(10_000) })],
  [
    'kid is an object',
    'malformed',
    () => withHeaderText(JSON.stringify({ alg: 'ES256', kid: { kid: 'key-1' }, typ: 'at+jwt' })),
  ],
  ['jwk header with the attacker’s key', 'signature', () => sign({}, { jwk: stranger.publicJwk }, stranger)],
  [
    'jku header with the attacker’s address',
    'unknown_key',
    () => sign({}, { jku: `${other.url}/jwks`, kid: 'new' }, stranger),
  ],
  [
    'x5u header with the attacker’s address',
    'signature',
    () => sign({}, { x5u: `${other.url}/cert` }, stranger),
  ],
  ['x5c header with a certificate', 'signature', () => sign({}, { x5c: ['MIIB'] }, stranger)],
  [
    'crit header',
    'extension',
    () =>
      withHeaderText(JSON.stringify({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt', crit: ['exp'], exp: 1 })),
  ],
  [
    'crit header that is empty',
    'extension',
    () => withHeaderText(JSON.stringify({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt', crit: [] })),
  ],
  [
    'b64 false',
    'extension',
    () => withHeaderText(JSON.stringify({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt', b64: false })),
  ],
  [
    'alg twice in the header',
    'malformed',
    () => withHeaderText('{"alg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}'),
  ],
  [
    'alg twice, once escaped',
    'malformed',
    () => withHeaderText('{"\\u0061lg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}'),
  ],
  ['an ID token as an access token', 'type', () => issuer.sign(issuer.id(), { typ: 'JWT' })],
  ['an ID token’s typ on the claims of an access token', 'type', () => sign({}, { typ: 'JWT' })],
  ['typ is absent', 'type', () => sign({}, { typ: undefined })],
  ['typ logout+jwt', 'type', () => sign({}, { typ: 'logout+jwt' })],
  [
    'typ is an array',
    'type',
    () => withHeaderText(JSON.stringify({ alg: 'ES256', kid: 'key-1', typ: ['at+jwt'] })),
  ],
  ['iss of another configured issuer', 'signature', () => sign({ iss: other.url })],
  ['iss with a slash at the end', 'issuer', () => sign({ iss: `${issuer.url}/` })],
  ['iss in upper case', 'issuer', () => sign({ iss: issuer.url.toUpperCase() })],
  ['iss with a full-width full stop', 'issuer', () => sign({ iss: issuer.url.replace('.', '．') })],
  ['iss with a zero-width space', 'issuer', () => sign({ iss: `${issuer.url}\u200b` })],
  ['iss with a NUL', 'issuer', () => sign({ iss: `${issuer.url}\0` })],
  ['iss is an array', 'issuer', () => sign({ iss: [issuer.url] })],
  ['iss is absent', 'issuer', () => without('iss')],
  ['iss twice', 'malformed', () => raw(`"iss":${JSON.stringify(other.url)}`)],
  ['aud of another API', 'audience', () => sign({ aud: 'https://other-api.example.com' })],
  ['aud is the client', 'audience', () => sign({ aud: CLIENT })],
  ['aud as a substring', 'audience', () => sign({ aud: `${API}.evil.example` })],
  ['aud is an object', 'audience', () => sign({ aud: { [API]: true } })],
  ['aud is absent', 'audience', () => without('aud')],
  ['aud twice', 'malformed', () => raw('"aud":"x"')],
  ['expired', 'expired', () => sign({ iat: START - 600, exp: START - 5 })],
  ['exp is absent', 'claims', () => without('exp')],
  ['exp is a string', 'claims', () => sign({ exp: '9999999999' })],
  ['exp is 1e300', 'claims', () => sign({ exp: 1e300 })],
  ['exp is a fraction', 'claims', () => sign({ exp: START + 0.5 })],
  [
    'older than maxTokenAge though exp lies ahead',
    'expired',
    () => sign({ iat: START - 3_606, exp: START + 9_999 }),
  ],
  ['iat in the future', 'not_yet_valid', () => sign({ iat: START + 6 })],
  ['iat is absent', 'claims', () => without('iat')],
  ['nbf in the future', 'not_yet_valid', () => sign({ nbf: START + 6 })],
  ['nbf is a string', 'claims', () => sign({ nbf: 'now' })],
  ['auth_time in the future', 'not_yet_valid', () => sign({ auth_time: START + 6 })],
  ['auth_time is a string', 'claims', () => sign({ auth_time: `${START}` })],
  ['auth_time is null', 'claims', () => sign({ auth_time: null })],
  ['auth_time is negative', 'claims', () => sign({ auth_time: -1 })],
  ['amr is a string that contains mfa', 'claims', () => sign({ amr: 'mfa' })],
  ['amr has an array inside', 'claims', () => sign({ amr: [['mfa']] })],
  ['amr is an object', 'claims', () => sign({ amr: { 0: 'mfa', length: 1 } })],
  ['acr is a number', 'claims', () => sign({ acr: 3 })],
  ['acr is an array', 'claims', () => sign({ acr: ['urn:mfa'] })],
  ['sub is empty', 'claims', () => sign({ sub: '' })],
  ['sub is a number', 'claims', () => sign({ sub: 7 })],
  ['sub is absent', 'claims', () => without('sub')],
  ['sub of 256 characters', 'claims', () => sign({ sub: 's'.repeat(256) })],
  ['jti is absent', 'claims', () => without('jti')],
  ['client_id is absent', 'claims', () => without('client_id')],
  [
    'a member __proto__ with what is missing',
    'claims',
    async () =>
      signText(
        `{"__proto__":{"exp":${START + 300}},${JSON.stringify(claims({ exp: undefined })).slice(1)}`,
        { typ: 'at+jwt' },
        issuer.key,
      ),
  ],
  ['a member twice, deep inside', 'malformed', () => raw('"act":{"sub":"a","sub":"b"}')],
  ['nested deeper than any claim', 'malformed', () => raw(nested(40))],
  ['nested 5,000 deep', 'malformed', () => raw(nested(5_000))],
  ['claims are an array', 'malformed', () => signText('[]', { typ: 'at+jwt' }, issuer.key)],
  [
    'claims are not UTF-8',
    'malformed',
    async () => `${header({})}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.AAAA`,
  ],
  [
    'claims with a byte order mark',
    'malformed',
    () => signText(`\ufeff${JSON.stringify(claims())}`, { typ: 'at+jwt' }, issuer.key),
  ],
  [
    'a token inside a token',
    'malformed',
    async () => signText(await sign(), { typ: 'at+jwt', cty: 'JWT' }, issuer.key),
  ],
  ['a JWE', 'malformed', () => jwe()],
  ['16,385 characters', 'too_large', () => 'a'.repeat(16_385)],
  ['10 million characters', 'too_large', () => `${'a.'.repeat(5_000_000)}`],
  ['a line break at the end', 'malformed', async () => `${await sign()}\n`],
  ['padding', 'malformed', async () => `${await sign()}=`],
  ['four parts', 'malformed', async () => `${await sign()}.AAAA`],
  ['not a string', 'malformed', () => ({ toString: () => 'a.b.c' })],
  ['a signature of zeros', 'signature', () => withSignature(() => Buffer.alloc(64))],
  ['a signature in DER', 'signature', () => withSignature(der)],
  ['a signature cut short', 'signature', () => withSignature((bytes) => bytes.subarray(0, 63))],
  [
    'a signature with a byte more',
    'signature',
    () => withSignature((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  ],
  ['a signature with r = n and s = n', 'signature', () => withSignature(() => Buffer.concat([N, N]))],
  [
    'a changed claim',
    'signature',
    async () => {
      const [head, , signature] = (await sign()).split('.');
      return `${head}.${b64(claims({ sub: 'eve' }))}.${signature}`;
    },
  ],
  [
    'another spelling of the claims in base64url',
    'malformed',
    async () => respelled(await sign({ pad: 'x' })),
  ],
];

/** The same bytes with other unused bits in the last character of the claims, where there are any. */
function respelled(token: string): string {
  const [head = '', body = '', signature = ''] = token.split('.');
  if (body.length % 4 === 0) return `${head}.${body}A.${signature}`; // one character more, which decodes to nothing
  const last = String.fromCharCode(body.charCodeAt(body.length - 1) + 1);
  return `${head}.${body.slice(0, -1)}${last}.${signature}`;
}

async function jwe(): Promise<string> {
  const key = crypto.getRandomValues(new Uint8Array(32));
  return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(claims())))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' } as CompactJWSHeaderParameters & { enc: string })
    .encrypt(key);
}

async function refusalOf(outcome: Promise<unknown>): Promise<unknown> {
  const error = await outcome.then(
    () => 'accepted',
    (cause: unknown) => cause,
  );
  return error instanceof AuthzTokenRefusedError ? error.reason : error;
}

test('the token all attacks start from is accepted', async () => {
  const session = await verifier.verifyAccessToken(await sign());
  expect(session).toMatchObject({ issuer: issuer.url, subject: 'ada', door: 'bearer' });
  await expect(verifier.verifyAccessToken(await sign({}, { kid: 'key-rsa' }, rsa))).resolves.toBeDefined();
  await expect(
    verifier.verifyAccessToken(await sign({}, { typ: 'application/AT+JWT' })),
  ).resolves.toBeDefined();
});

describe('an access token is refused:', () => {
  test.each(attacks)('%s', async (_name, reason, token) => {
    const given = (await token()) as string;
    expect(await refusalOf(verifier.verifyAccessToken(given))).toBe(reason);
    expect(await refusalOf(verifier.verifyAccessToken(given)), 'the second time too').toBe(reason);
  });

  test('and nobody asked the attacker’s address for anything', () => {
    expect(other.requests).toBeLessThanOrEqual(1); // its own configured key set, for "iss of another configured issuer"
  });

  test('with a message that holds nothing of the token', async () => {
    for (const [, , make] of attacks) {
      const token = await make();
      const error = await verifier.verifyAccessToken(token as string).catch((cause: unknown) => cause);
      const text = `${error} ${(error as Error).cause} ${(error as AuthzTokenRefusedError).challenge}`;
      for (const part of String(token)
        .split('.')
        .filter((piece) => piece.length > 8)) {
        expect(text).not.toContain(part);
      }
      expect(text).not.toContain('ada');
    }
  });
});

const nonce = 'nonce-1';
const idAttacks: readonly (readonly [name: string, reason: string, token: () => Promise<string>])[] = [
  ['an access token as an ID token', 'type', () => sign()],
  ['an access token whose typ was left out', 'audience', () => sign({ nonce }, { typ: undefined })],
  ['azp of another client', 'audience', () => issuer.sign(issuer.id({ azp: 'client-2' }), { typ: 'JWT' })],
  [
    'several audiences without azp',
    'audience',
    () => issuer.sign(issuer.id({ aud: [CLIENT, 'client-2'] }), { typ: 'JWT' }),
  ],
  [
    'the nonce of another sign-in',
    'nonce',
    () => issuer.sign(issuer.id({ nonce: 'nonce-2' }), { typ: 'JWT' }),
  ],
  ['no nonce', 'claims', () => issuer.sign(issuer.id({ nonce: undefined }), { typ: 'JWT' })],
  ['a nonce in an array', 'nonce', () => issuer.sign(issuer.id({ nonce: [nonce] }), { typ: 'JWT' })],
  [
    'the client of another issuer',
    'audience',
    () => issuer.sign(issuer.id({ aud: 'client-2' }), { typ: 'JWT' }),
  ],
];

describe('an ID token is refused:', () => {
  test.each(idAttacks)('%s', async (_name, reason, token) => {
    expect(await refusalOf(verifier.verifyIdToken(await token(), { nonce }))).toBe(reason);
  });

  test('while the one they start from is accepted, with and without azp', async () => {
    for (const part of [{}, { azp: CLIENT }, { aud: [CLIENT, 'client-2'], azp: CLIENT }]) {
      const token = await issuer.sign(issuer.id(part), { typ: 'JWT' });
      expect((await verifier.verifyIdToken(token, { nonce })).door).toBe('cookie');
    }
  });
});
