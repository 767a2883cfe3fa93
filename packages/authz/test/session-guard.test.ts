import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  definePolicy,
  type OrgId,
  type RequestContext,
  stepUpChallenge,
  stepUpParameters,
} from '../src/index.ts';
import {
  type AuthzSessionInsufficientError,
  apiKeySession,
  type CookieSessions,
  createCookieSessions,
  createSessionGuard,
  createTokenVerifier,
  keyOrigin,
  type OrgAssurance,
  Revocations,
  type SessionDirectory,
  type SessionGuard,
  type TokenVerifier,
  type VerifiedSession,
} from '../src/session/index.ts';
import { ORG_A, ORG_B, START, START_MS, TestClock, TestIssuer } from './session-fixture.ts';

const broker = await TestIssuer.start();
const tenantIdp = await TestIssuer.start();
const MFA = 'urn:example:mfa';
const policy = definePolicy({
  resources: { entry: { actions: ['read', 'approve'] } },
  roles: ['owner'],
  grants: [{ id: 'reads', roles: ['owner'], actions: ['entry.read'] }],
});
const connections: Record<string, OrgId> = { 'conn-a': ORG_A, 'conn-b': ORG_B };
const settings = new Map<string, OrgAssurance>();
const directory: SessionDirectory<'owner'> = {
  connectionOrg: async (id) => (Object.hasOwn(connections, id) ? connections[id] : undefined),
  assurance: async (org) => settings.get(org),
  member: async (_org, { issuer, subject }) =>
    subject === 'ada' || issuer === 'api_key' ? { id: `user:${subject}`, roles: ['owner'] } : undefined,
};
const store = new Map<string, string>();
let clock: TestClock;
let revocations: Revocations;
let verifier: TokenVerifier;
let cookies: CookieSessions;
let guard: SessionGuard<'owner'>;

beforeEach(() => {
  clock = new TestClock();
  revocations = new Revocations(clock);
  verifier = createTokenVerifier({
    issuers: [
      { ...broker.config, connection: { claim: 'connection' }, mfaAcrValues: [MFA] },
      { ...tenantIdp.config, connection: { id: 'conn-a' } },
    ],
    revocations,
    ...clock,
  });
  store.clear();
  cookies = createCookieSessions({
    store: {
      put: async (key, record) => void store.set(key, record),
      get: async (key) => store.get(key),
      delete: async (key) => void store.delete(key),
    },
    revocations,
    lifetimeMs: 3_600_000,
    ...clock,
  });
  guard = createSessionGuard({ directory, revocations, mfaAcrValues: [MFA], ...clock });
  settings.clear();
  settings.set(ORG_A, { plan: 'pro', ssoProven: true });
  settings.set(ORG_B, { plan: 'pro', ssoProven: true });
});
afterAll(async () => {
  await broker.close();
  await tenantIdp.close();
});

const bearer = async (part: object = {}, issuer = broker) =>
  await verifier.verifyAccessToken(await issuer.sign(issuer.access(part)));
const cookie = async (part: object = {}) => {
  const token = await broker.sign(broker.id({ auth_time: START - 60, ...part }), { typ: 'JWT' });
  const opened = await cookies.open(await verifier.verifyIdToken(token, { nonce: 'nonce-1' }));
  return await cookies.resume(opened.cookie);
};
/** A key that was created in a session with these claims. */
const key = async (part: object = {}, org = ORG_A) =>
  apiKeySession(
    { id: 'key-1', org, expiresAt: START_MS + 9_000_000, origin: keyOrigin(await bearer(part)) },
    clock.now(),
  );
const read = (context: RequestContext<'owner'>, org = ORG_A) =>
  policy.authorize({ now: clock.now(), ...context }, 'entry.read', { org });
const refusal = async (outcome: Promise<unknown>) => {
  const error = (await outcome.then(
    () => ({ code: 'admitted' }),
    (cause: unknown) => cause,
  )) as { code: string; reason?: string };
  return error.reason === undefined ? error.code : `${error.code} ${error.reason}`;
};

describe('admission', () => {
  test('gives facts that decide in the organisation entered', async () => {
    const context = await guard.admit(
      await bearer({ amr: ['pwd', 'mfa'], acr: MFA, connection: 'conn-a' }),
      ORG_A,
    );
    expect(context.session).toMatchObject({
      mfa: true,
      acr: MFA,
      authenticatedAt: START_MS - 60_000,
      ssoConnection: 'conn-a',
    });
    expect(read(context).effect).toBe('allow');
  });

  test('takes an absent amr for no second factor and an absent auth_time for an unknown age', async () => {
    const context = await guard.admit(await bearer({ auth_time: undefined }), ORG_A);
    expect(context.session).toMatchObject({ mfa: false, acr: undefined, authenticatedAt: undefined });
    expect((await guard.admit(await bearer({ jti: '2', amr: ['pwd', 'otp'] }), ORG_A)).session.mfa).toBe(
      false,
    );
  });

  test('refuses a connection of another organisation, and one that is nobody’s', async () => {
    expect(await refusal(guard.admit(await bearer({ connection: 'conn-a' }), ORG_B))).toBe(
      'authz.session_refused connection',
    );
    expect(await refusal(guard.admit(await bearer({ connection: 'conn-z' }), ORG_A))).toBe(
      'authz.session_refused connection',
    );
    expect(await refusal(guard.admit(await bearer({ connection: '__proto__' }), ORG_A))).toBe(
      'authz.session_refused connection',
    );
  });

  test('binds a tenant’s identity provider to its connection, whatever its tokens claim', async () => {
    const session = await bearer({ connection: 'conn-b' }, tenantIdp);
    expect(session.ssoConnection).toBe('conn-a');
    expect(await refusal(guard.admit(session, ORG_B))).toBe('authz.session_refused connection');
  });

  test('refuses who is no member, and an organisation that is not there', async () => {
    expect(await refusal(guard.admit(await bearer({ sub: 'eve' }), ORG_A))).toBe(
      'authz.session_refused member',
    );
    settings.delete(ORG_A);
    expect(await refusal(guard.admit(await bearer(), ORG_A))).toBe('authz.session_refused org');
  });

  test('refuses look-alikes of a session', async () => {
    const real = await bearer();
    const constructed = Reflect.get(real, 'constructor') as new (evidence: object) => object;
    const forged: unknown[] = [
      new constructed({ door: 'bearer', issuer: broker.url, subject: 'ada', expiresAt: Infinity }),
      { door: 'bearer', issuer: broker.url, subject: 'ada', expiresAt: Infinity },
      Object.create(Object.getPrototypeOf(real)),
      Object.setPrototypeOf({ subject: 'ada' }, real as object),
      new Proxy(real, {}),
      { ...real },
      null,
      'ada',
    ];
    for (const session of forged) {
      expect(await refusal(guard.admit(session as VerifiedSession, ORG_A))).toBe(
        'authz.session_refused forged',
      );
    }
    await expect(guard.admit(real, 'x' as OrgId)).rejects.toThrow(TypeError);
  });

  test('gives facts that deny for another principal, another organisation, and look-alikes', async () => {
    const { principal, session } = await guard.admit(await bearer(), ORG_A);
    expect(read({ principal: { ...principal, org: ORG_B }, session }, ORG_B).effect).toBe('deny');
    expect(read({ principal: { ...principal, id: 'user:eve' }, session }).effect).toBe('deny');
    expect(read({ principal, session: { ...session } }).effect).toBe('deny');
    const constructed = Reflect.get(session, 'constructor') as new (facts: object) => typeof session;
    expect(read({ principal, session: new constructed({ mfa: true }) }).effect).toBe('deny');
    expect(read({ principal, session: new Proxy(session, {}) }).effect).toBe('deny');
  });
});

describe('facts that are held on to', () => {
  test('deny from the second in which the session expires', async () => {
    const context = await guard.admit(await bearer(), ORG_A);
    clock.pass(304_999);
    expect(read(context).effect).toBe('allow');
    clock.pass(1);
    expect(read(context)).toMatchObject({
      effect: 'deny',
      missing: [{ kind: 'request', field: 'session', problem: 'has expired' }],
    });
    clock.wall = START_MS; // set back: time has passed all the same
    expect(read(context).effect).toBe('deny');
  });

  test.each([
    ['token', () => revocations.revokeToken(broker.url, 'token-1')],
    ['session', () => revocations.revokeSession(broker.url, 'sid-1')],
    ['subject', () => revocations.revokeSubject(broker.url, 'ada')],
    ['organisation', () => revocations.revokeOrg(ORG_A)],
  ])('deny at once when the %s is revoked, and the session is not admitted again', async (_what, revoke) => {
    const session = await bearer({ sid: 'sid-1' });
    const context = await guard.admit(session, ORG_A);
    await revoke();
    expect(read(context).effect).toBe('deny');
    expect(await refusal(guard.admit(session, ORG_A))).toBe('authz.session_refused ended');
  });
});

type Door = readonly [door: string, open: (claims: object) => Promise<VerifiedSession>];
const doors: readonly Door[] = [
  ['bearer', (claims) => bearer(claims)],
  ['cookie', (claims) => cookie(claims)],
  ['API key', (claims) => key(claims)],
];

describe.each(doors)('what the organisation asks for holds for a %s:', (door, open) => {
  const refused = door === 'API key' ? 'authz.session_refused key_origin' : 'authz.session_insufficient';

  test('require-SSO', async () => {
    settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireSso: 'on' });
    expect(await refusal(guard.admit(await open({}), ORG_A))).toBe(refused);
    expect(read(await guard.admit(await open({ connection: 'conn-a' }), ORG_A)).effect).toBe('allow');
  });

  test('require-MFA', async () => {
    settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireMfa: 'on' });
    expect(await refusal(guard.admit(await open({ amr: ['pwd'] }), ORG_A))).toBe(refused);
    expect(await refusal(guard.admit(await open({ amr: ['mfa'], jti: '2' }), ORG_A))).toBe('admitted');
    expect(await refusal(guard.admit(await open({ acr: MFA, jti: '3' }), ORG_A))).toBe('admitted');
  });

  test('Enterprise asks for SSO by default, once it has been proven', async () => {
    settings.set(ORG_A, { plan: 'enterprise', ssoProven: true });
    expect(await refusal(guard.admit(await open({}), ORG_A))).toBe(refused);
    settings.set(ORG_A, { plan: 'enterprise', ssoProven: false });
    expect(await refusal(guard.admit(await open({}), ORG_A))).toBe('admitted');
    settings.set(ORG_A, { plan: 'enterprise', ssoProven: true, requireSso: 'off' });
    expect(await refusal(guard.admit(await open({}), ORG_A))).toBe('admitted');
  });

  test('a downgrade weakens nothing', async () => {
    settings.set(ORG_A, { plan: 'free', ssoProven: true, requireSso: 'on' });
    expect(await refusal(guard.admit(await open({}), ORG_A))).toBe(refused);
  });

  test('a setting that cannot be read refuses', async () => {
    for (const part of [
      { requireSso: true },
      { requireMfa: 'yes' },
      { maxSessionAgeMs: '1h' },
      { plan: 'gold' },
    ]) {
      settings.set(ORG_A, { plan: 'pro', ssoProven: true, ...part } as OrgAssurance);
      await expect(guard.admit(await open({}), ORG_A)).rejects.toThrow(TypeError);
    }
  });
});

describe('an API key', () => {
  test('has no second factor, no class, no age and no SSO of its own', async () => {
    const { session } = await guard.admit(await key({ amr: ['mfa'], acr: MFA, connection: 'conn-a' }), ORG_A);
    expect(session).toMatchObject({
      mfa: false,
      acr: undefined,
      authenticatedAt: undefined,
      ssoConnection: undefined,
    });
  });

  test('enters its own organisation only, expires, and creates no keys', async () => {
    const session = await key();
    expect(await refusal(guard.admit(session, ORG_B))).toBe('authz.session_refused connection');
    expect(() => keyOrigin(session)).toThrow(/key does not create keys/);
    clock.pass(9_000_000);
    expect(await refusal(guard.admit(session, ORG_A))).toBe('authz.session_refused ended');
  });

  test('without a stored origin satisfies nothing', async () => {
    settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireMfa: 'on' });
    const session = apiKeySession({ id: 'key-1', org: ORG_A, expiresAt: START_MS + 1_000 }, START_MS);
    expect(await refusal(guard.admit(session, ORG_A))).toBe('authz.session_refused key_origin');
  });

  test('created through a connection that was moved to another organisation no longer counts', async () => {
    settings.set(ORG_B, { plan: 'pro', ssoProven: true, requireSso: 'on' });
    expect(await refusal(guard.admit(await key({ connection: 'conn-a' }, ORG_B), ORG_B))).toBe(
      'authz.session_refused key_origin',
    );
  });
});

describe('the greatest age', () => {
  test('asks for a step-up when the authentication is too old or of unknown age', async () => {
    settings.set(ORG_A, { plan: 'pro', ssoProven: true, maxSessionAgeMs: 60_000 });
    for (const part of [{}, { jti: '2', auth_time: undefined }]) {
      const error = (await guard
        .admit(await bearer(part), ORG_A)
        .catch((cause: unknown) => cause)) as AuthzSessionInsufficientError;
      expect(error.stepUp).toEqual({ maxAge: 60, mfa: false, sso: false });
      expect(error.challenge).toBe(
        'Bearer error="insufficient_user_authentication", error_description="A different authentication is required", max_age="60"',
      );
      expect(stepUpParameters(error.stepUp)).toEqual({ max_age: '60' });
    }
  });

  test('ends facts that are held on to', async () => {
    settings.set(ORG_A, { plan: 'pro', ssoProven: true, maxSessionAgeMs: 70_000 });
    const context = await guard.admit(await bearer(), ORG_A);
    clock.pass(9_999);
    expect(read(context).effect).toBe('allow');
    clock.pass(1);
    expect(read(context).effect).toBe('deny');
  });
});

describe('a cookie', () => {
  test('is opaque, and the store never sees it', async () => {
    const token = await broker.sign(broker.id(), { typ: 'JWT' });
    const { cookie: value } = await cookies.open(await verifier.verifyIdToken(token, { nonce: 'nonce-1' }));
    expect(value).toMatch(/^[\w-]{43}$/);
    expect(JSON.stringify([...store])).not.toContain(value);
    await cookies.close(value);
    expect(await refusal(cookies.resume(value))).toBe('authz.session_refused ended');
  });

  test('lives from the iat of its token, however often it is opened', async () => {
    const session = await cookie();
    expect(session.expiresAt).toBe(START_MS + 3_600_000);
    clock.pass(3_000_000);
    const again = await cookies.open(session);
    expect(again.expiresAt).toBe(START_MS + 3_600_000);
    clock.pass(600_000);
    expect(await refusal(cookies.resume(again.cookie))).toBe('authz.session_refused ended');
  });

  test('is not opened for an access token or a key, and not looked up when it cannot be one', async () => {
    expect(await refusal(cookies.open(await bearer()))).toBe('authz.session_refused forged');
    expect(await refusal(cookies.open(await key()))).toBe('authz.session_refused forged');
    for (const value of ['', 'x', '../x', 'a'.repeat(44), undefined]) {
      expect(await refusal(cookies.resume(value as string))).toBe('authz.session_refused ended');
    }
  });

  test('ends with the subject, and a record that was tampered with is none', async () => {
    const opened = await cookies.open(await cookie());
    const [[storeKey, record] = ['', '']] = [...store].slice(-1);
    for (const part of [
      { mfa: 'true' },
      { issuedAt: '1' },
      { issuedNotBefore: undefined },
      { ssoConnection: 7 },
      { authenticatedAt: 1.5 },
    ]) {
      store.set(storeKey, JSON.stringify({ ...JSON.parse(record), ...part }));
      expect(await refusal(cookies.resume(opened.cookie))).toBe('authz.session_refused ended');
    }
    store.set(storeKey, record);
    expect(await refusal(cookies.resume(opened.cookie))).toBe('admitted');
    await revocations.revokeSubject(broker.url, 'ada');
    expect(await refusal(cookies.resume(opened.cookie))).toBe('authz.session_refused ended');
  });
});

test('a challenge of a decision and one of an organisation have one form', () => {
  expect(stepUpChallenge({ stepUp: { mfa: true, sso: false, acrValues: [MFA], maxAge: 0 } })).toBe(
    `Bearer error="insufficient_user_authentication", error_description="A different authentication is required", acr_values="${MFA}", max_age="0"`,
  );
  expect(stepUpChallenge({})).toBeUndefined();
  expect(() => createSessionGuard({ directory, revocations, mfaAcrValues: ['a" , x="'] })).toThrow(TypeError);
});
