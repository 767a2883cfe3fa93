/** What the guard around a handler does with everything that is not a plain allow, whatever the framework. */
import { describe, expect, test } from 'vitest';
import {
  AuthzApprovalRequiredError,
  AuthzDeniedError,
  AuthzStepUpRequiredError,
  type Decision,
  RingfenceAuthzError,
} from '../src/index.ts';
import type { DeclaredRoute, RoutesOptions } from '../src/routes/access.ts';
import { Admission } from '../src/routes/admission.ts';
import { refusalOfError } from '../src/routes/refusal.ts';
import {
  AuthzKeysUnavailableError,
  AuthzSessionInsufficientError,
  AuthzSessionRefusedError,
  AuthzTokenRefusedError,
} from '../src/session/index.ts';
import { policy, type Role, type resources } from './model.ts';
import { entries, people } from './routes-fixture.ts';

type Options = RoutesOptions<string, typeof resources, Role>;

const entry = entries.get('1');
const large = entries.get('3');
const secret: DeclaredRoute = {
  method: 'GET',
  path: '/x',
  action: 'entry.approve',
  public: undefined,
  conceal: false,
};
const open: DeclaredRoute = { ...secret, action: undefined, public: 'why' };
const read: DeclaredRoute = { ...secret, action: 'entry.read' };

const admission = (part: Partial<Options> = {}) =>
  new Admission<string>({ policy, context: () => people['bookkeeper'], ...part } as never);
const statusOf = async (outcome: ReturnType<Admission<string>['run']>) =>
  (await outcome).refused?.status ?? 'ran';
const decided = (person: string, resource: unknown) =>
  policy.authorize(people[person] as never, 'entry.approve', resource as never);
const denied = new AuthzDeniedError(decided('bookkeeper', entry) as never);
const stepUp = new AuthzStepUpRequiredError(decided('controller', entry) as never);
const approval = new AuthzApprovalRequiredError(decided('strong', large) as never);

describe('the guard', () => {
  test('takes null for no session and for no resource, and runs nothing', async () => {
    const ran: unknown[] = [];
    const handler = () => ran.push(1);
    for (const nothing of [null, undefined]) {
      const nobody = admission({ context: () => nothing as never });
      expect(await statusOf(nobody.run(read, () => entry, 'q', handler))).toBe(401);
      expect(await statusOf(admission().run(read, () => nothing, 'q', handler))).toBe(404);
    }
    expect(await statusOf(admission().run(read, undefined, 'q', handler))).toBe(404);
    expect(ran).toEqual([]);
    expect(() => admission({ context: undefined as never })).toThrow('context is no function');
  });

  test('waits until the decision is recorded, and fails the request when it cannot be', async () => {
    const order: string[] = [];
    const record = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('recorded');
    };
    await admission({ record }).run(
      read,
      () => entry,
      'q',
      () => order.push('ran'),
    );
    expect(order).toEqual(['recorded', 'ran']);
    const broken = admission({ record: async () => Promise.reject(new Error('the log is down')) });
    await expect(
      broken.run(
        read,
        () => entry,
        'q',
        () => order.push('ran'),
      ),
    ).rejects.toThrow('the log is down');
    const refused = broken.run(
      secret,
      () => entry,
      'q',
      () => order.push('ran'),
    );
    await expect(refused).rejects.toThrow('the log is down');
    expect(order).toEqual(['recorded', 'ran']);
  });

  test('answers what a handler is refused later, on a public route too, and conceals it where the route does', async () => {
    const later = async () => {
      await Promise.resolve();
      throw denied;
    };
    expect(await statusOf(admission().run(open, undefined, 'q', later))).toBe(403);
    expect(await statusOf(admission().run(read, () => entry, 'q', later))).toBe(403);
    expect(await statusOf(admission().run({ ...read, conceal: true }, () => entry, 'q', later))).toBe(404);
  });

  test('throws every other error on, of the session, the loading, the record and the handler', async () => {
    const failure = new Error('a failure of the application');
    const fail = () => {
      throw failure;
    };
    const runs = [
      admission({ context: fail }).run(
        read,
        () => entry,
        'q',
        () => 1,
      ),
      admission().run(read, fail, 'q', () => 1),
      admission({ record: fail }).run(
        read,
        () => entry,
        'q',
        () => 1,
      ),
      admission().run(read, () => entry, 'q', fail),
      admission().run(open, undefined, 'q', fail),
    ];
    for (const run of runs) await expect(run).rejects.toBe(failure);
    const misuse = new RingfenceAuthzError('authz.invalid_request', 'reading the request threw');
    const asked = admission().run(
      read,
      () => entry,
      'q',
      () => Promise.reject(misuse),
    );
    await expect(asked).rejects.toBe(misuse);
    for (const thrown of [undefined, null, 'x', failure, misuse])
      expect(refusalOfError(thrown, true)).toBeUndefined();
  });
});

describe('an error of this package is answered', () => {
  const answer = (error: unknown, hidden = false) => {
    const { status, headers, body } = refusalOfError(error, hidden) ?? { status: 0, headers: {}, body: '{}' };
    const { 'www-authenticate': challenge, 'retry-after': retryAfter } = headers as Record<string, string>;
    return { status, challenge, retryAfter, type: JSON.parse(body).type as string };
  };
  const invalid = 'Bearer error="invalid_token"';

  test('of a token: 401 with its challenge, and 403 where only a scope is missing', () => {
    expect(answer(new AuthzTokenRefusedError('client', 'x'))).toMatchObject({
      status: 401,
      challenge: invalid,
    });
    expect(answer(new AuthzTokenRefusedError('scope', 'x'))).toMatchObject({
      status: 403,
      challenge: 'Bearer error="insufficient_scope"',
    });
  });

  test('of a session: 401 when it has ended, 403 when it is refused, a step-up when it is too weak', () => {
    expect(answer(new AuthzSessionRefusedError('ended', 'x'))).toMatchObject({
      status: 401,
      challenge: invalid,
    });
    for (const reason of ['forged', 'connection', 'member', 'org', 'key_origin'] as const) {
      const { status, challenge } = answer(new AuthzSessionRefusedError(reason, 'x'));
      expect({ reason, status, challenge }).toEqual({ reason, status: 403, challenge: undefined });
    }
    const weak = answer(new AuthzSessionInsufficientError({ mfa: true, sso: false, maxAge: 60 }));
    expect(weak).toMatchObject({ status: 401, type: 'urn:ringfence:authz:step_up_required' });
    expect(weak.challenge).toContain('max_age="60"');
  });

  test('of an API key: 401', () => {
    const error = new RingfenceAuthzError('authz.key_refused', 'x');
    expect(answer(error)).toMatchObject({ status: 401, challenge: invalid });
  });

  test('of keys that cannot be fetched: 503, to be repeated after at least a second', () => {
    for (const [ms, seconds] of [
      [0, '1'],
      [1, '1'],
      [1_001, '2'],
    ] as const) {
      const { status, retryAfter } = answer(new AuthzKeysUnavailableError('https://id.example.com', ms));
      expect({ status, retryAfter }).toEqual({ status: 503, retryAfter: seconds });
    }
  });

  test('of a decision: as the decision is, and a deny hidden where the route conceals', () => {
    expect([answer(denied).status, answer(denied, true).status]).toEqual([403, 404]);
    expect(answer(stepUp)).toMatchObject({ status: 401, type: 'urn:ringfence:authz:step_up_required' });
    expect(answer(approval)).toMatchObject({ status: 403, type: 'urn:ringfence:authz:approval_required' });
    const decisions: readonly Decision[] = [denied.decision, stepUp.decision, approval.decision];
    expect(decisions.map(({ effect }) => effect)).toEqual(['deny', 'step_up', 'needs_approval']);
  });
});
