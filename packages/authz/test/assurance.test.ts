import { afterAll, describe, expect, test } from 'vitest';
import {
  type AuthzSessionInsufficientError,
  apiKeySession,
  type ConnectionDirectory,
  createSessionGuard,
  createTokenVerifier,
  type OrgAssurance,
  Revocations,
  type VerifiedSession,
} from '../src/session/index.ts';
import { ORG_A, ORG_B, START_MS, TestClock, TestIssuer } from './session-fixture.ts';

const issuer = await TestIssuer.start();
const MFA = 'urn:example:mfa';
const clock = new TestClock();
const verifier = createTokenVerifier({
  issuers: [{ ...issuer.config, connection: { claim: 'connection' }, mfaAcrValues: [MFA] }],
  ...clock,
});
const directory: ConnectionDirectory = {
  connectionOrg: async (id) => ({ 'conn-a': ORG_A, 'conn-b': ORG_B })[id],
};
const revocations = new Revocations(clock);
const guard = createSessionGuard({
  directory: { ...directory, assurance: async () => undefined, member: async () => undefined },
  revocations,
  mfaAcrValues: [MFA],
  ...clock,
});
const key = apiKeySession({ id: 'key-1', org: ORG_A, expiresAt: START_MS + 1_000 }, START_MS);
const bearer = async (part: object) =>
  await verifier.verifyAccessToken(await issuer.sign(issuer.access(part)));
const refusal = async (outcome: Promise<unknown>) => {
  const error = (await outcome.then(
    () => ({ code: 'admitted' }),
    (cause: unknown) => cause,
  )) as { code: string; reason?: string };
  return error.reason === undefined ? error.code : `${error.code} ${error.reason}`;
};

afterAll(async () => await issuer.close());

describe('a change of what the organisation asks for', () => {
  const current: OrgAssurance = { plan: 'pro', ssoProven: false };
  const change = async (claims: object, part: object, from = current, org = ORG_A) =>
    await guard.changeAssurance(await bearer(claims), org, from, part);

  test('takes effect for who satisfies it, who is then not locked out', async () => {
    const session = await bearer({ connection: 'conn-a', amr: ['mfa'] });
    const part = { requireSso: 'on', requireMfa: 'on' } as const;
    const next = await guard.changeAssurance(session, ORG_A, current, part);
    expect(next).toEqual({ plan: 'pro', ssoProven: true, requireSso: 'on', requireMfa: 'on' });
    const door = createSessionGuard({
      directory: {
        ...directory,
        assurance: async () => next,
        member: async () => ({ id: 'user:ada', roles: ['owner'] }),
      },
      revocations,
      ...clock,
    });
    expect(await refusal(door.admit(session, ORG_A))).toBe('admitted');
  });

  test('is refused, with the authentication to do first, to who would lock themselves out', async () => {
    for (const [claims, part, stepUp] of [
      [{}, { requireSso: 'on' }, { mfa: false, sso: true }],
      [{ connection: 'conn-b' }, { requireSso: 'on' }, { mfa: false, sso: true }],
      [{ amr: ['pwd'] }, { requireMfa: 'on' }, { mfa: true, sso: false, acrValues: [MFA] }],
      [{}, { maxSessionAgeMs: 60_000 }, { mfa: false, sso: false, maxAge: 60 }],
    ] as const) {
      const error = (await change(claims, part).catch(
        (cause: unknown) => cause,
      )) as AuthzSessionInsufficientError;
      expect(error.stepUp).toEqual(stepUp);
    }
  });

  test('to turn something on needs Pro; to turn it off needs no plan', async () => {
    const free: OrgAssurance = { plan: 'free', ssoProven: true, requireSso: 'on' };
    const claims = { connection: 'conn-a' };
    expect(await refusal(change(claims, { requireMfa: 'on' }, free))).toBe('authz.assurance_refused plan');
    expect(await change(claims, { requireSso: 'off' }, free)).toEqual({
      plan: 'free',
      ssoProven: true,
      requireSso: 'off',
    });
  });

  test('is not for API keys, nor for sessions nobody minted', async () => {
    expect(await refusal(guard.changeAssurance(key, ORG_A, current, { requireMfa: 'off' }))).toBe(
      'authz.assurance_refused api_key',
    );
    expect(await refusal(guard.changeAssurance({} as VerifiedSession, ORG_A, current, {}))).toBe(
      'authz.session_refused forged',
    );
  });

  test('is refused to a session that has expired or was revoked, also while the directory is asked', async () => {
    const off = { requireSso: 'off' } as const;
    const via = { connection: 'conn-a' };
    const asked = async (session: VerifiedSession, during: () => unknown, org = ORG_A) => {
      const time = new TestClock();
      const register = new Revocations(time);
      const slow = createSessionGuard({
        directory: {
          assurance: async () => undefined,
          member: async () => undefined,
          connectionOrg: async () => {
            await (during as (time: TestClock, register: Revocations) => unknown)(time, register);
            return org;
          },
        },
        revocations: register,
        ...time,
      });
      return await refusal(slow.changeAssurance(session, org, current, off));
    };
    const session = await bearer({ ...via, iat: START_MS / 1_000 + 5 }); // the issuer's clock is ahead
    expect(await asked(session, () => undefined)).toBe('admitted');
    for (const end of [
      (time: TestClock) => time.pass(305_000),
      (_: TestClock, register: Revocations) => register.revokeSubject(issuer.url, 'ada'),
      (_: TestClock, register: Revocations) => register.revokeToken(issuer.url, 'token-1'),
      (_: TestClock, register: Revocations) => register.revokeOrg(ORG_A),
    ]) {
      expect(await asked(session, end as () => unknown)).toBe('authz.session_refused ended');
    }
  });

  test('is refused to who would lift what binds them', async () => {
    for (const [from, part] of [
      [{ requireMfa: 'on' }, { requireMfa: 'off' }],
      [{ requireSso: 'on' }, { requireSso: 'off' }],
      [{ maxSessionAgeMs: 60_000 }, { maxSessionAgeMs: null }],
    ] as const) {
      expect(await refusal(change({ auth_time: START_MS / 1_000 - 90 }, part, { ...current, ...from }))).toBe(
        'authz.session_insufficient',
      );
    }
  });

  test('takes the greatest age away with null, and keeps it otherwise', async () => {
    const aged: OrgAssurance = { plan: 'pro', ssoProven: true, maxSessionAgeMs: 90_000 };
    expect(await change({}, {}, aged)).toEqual(aged);
    expect(await change({}, { maxSessionAgeMs: null }, aged)).toEqual({ plan: 'pro', ssoProven: true });
  });
});
