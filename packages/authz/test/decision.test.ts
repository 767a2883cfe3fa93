import { describe, expect, test } from 'vitest';
import {
  AuthzApprovalRequiredError,
  AuthzDeniedError,
  AuthzStepUpRequiredError,
  assertAllowed,
  type Decision,
  definePolicy,
  equals,
  notEquals,
  resource,
  stepUpChallenge,
} from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import { as, entry, NOW, ORG, OTHER_ORG, policy } from './model.ts';

const withMfa = unsafeSessionFacts({ mfa: true });
const approval = (by: string, part: object = {}) =>
  unsafeApproval({
    by,
    roles: ['owner'],
    org: ORG,
    action: 'entry.approve',
    resourceId: entry.id,
    ...part,
  });

describe('allow', () => {
  test('names the grant that decides', () => {
    const decision = policy.authorize(as('bookkeeper'), 'entry.read', entry);
    expect(decision).toMatchObject({
      effect: 'allow',
      grant: 'everybody-reads',
      forbid: undefined,
      missing: [],
    });
    expect(decision.reason).toBe('grant "everybody-reads" applies');
    expect(decision.policyHash).toBe(policy.hash);
  });

  test('require gives the decision back', () => {
    expect(policy.require(as('owner'), 'entry.read', entry).grant).toBe('everybody-reads');
  });
});

describe('deny', () => {
  test('is the default, and names the role that is missing', () => {
    const decision = policy.authorize(as('auditor'), 'entry.post', { ...entry, status: 'draft' });
    expect(decision.effect).toBe('deny');
    expect(decision.missing).toEqual([{ kind: 'role', anyOf: ['bookkeeper'] }]);
    expect(decision.reason).toBe(
      'no grant applies; the nearest is "bookkeeper-posts" (missing: role bookkeeper)',
    );
  });

  test('names the attribute, never its value', () => {
    const decision = policy.authorize(as('bookkeeper'), 'entry.post', { ...entry, status: 'approved' });
    expect(decision.missing).toEqual([
      { kind: 'attribute', attribute: 'status', expected: 'status = "draft"', found: 'other' },
    ]);
    expect(JSON.stringify(decision)).not.toContain('approved');
  });

  test('explains by the nearest grant: fewest missing facts', () => {
    const decision = policy.authorize(as('controller'), 'entry.approve', { ...entry, status: 'draft' });
    expect(decision).toMatchObject({ effect: 'deny', grant: 'controller-approves-small' });
    expect(decision.missing).toHaveLength(2);
  });

  test('says when no grant gives the action to anybody', () => {
    const decision = policy.authorize(as('owner'), 'bankLine.import', { org: ORG });
    expect(decision).toMatchObject({ effect: 'deny', grant: undefined, missing: [] });
    expect(decision.reason).toBe('no grant gives this action to anybody');
  });

  test('says when the resource is of another organisation, and nothing else about it', () => {
    const decision = policy.authorize(as('owner'), 'entry.read', { ...entry, org: OTHER_ORG });
    expect(decision).toMatchObject({ effect: 'deny', missing: [{ kind: 'tenant' }], grant: undefined });
  });
});

describe('forbid', () => {
  test('wins over a grant, with its reason', () => {
    const own = { ...entry, createdBy: 'user:ada' };
    const decision = policy.authorize({ ...as('controller'), session: withMfa }, 'entry.approve', own);
    expect(decision).toMatchObject({ effect: 'deny', forbid: 'no-self-approval' });
    expect(decision.reason).toContain('nobody approves an entry of their own');
  });

  test('applies when it cannot be evaluated: the attribute is missing, null, or of a wrong type', () => {
    for (const createdBy of [undefined, null, 7, ['user:bob'], { toString: () => 'user:bob' }]) {
      const unknown = { ...entry, createdBy } as unknown as typeof entry;
      const decision = policy.authorize({ ...as('controller'), session: withMfa }, 'entry.approve', unknown);
      expect(decision).toMatchObject({ effect: 'deny', forbid: 'no-self-approval' });
    }
  });

  test('without a condition cannot be lifted by any fact', () => {
    const decision = policy.authorize({ ...as('owner'), session: withMfa }, 'entry.purge', entry);
    expect(decision).toMatchObject({ effect: 'deny', forbid: 'nothing-is-purged', missing: [] });
  });

  test('for some roles binds whoever holds one of them, whatever else they hold', () => {
    const bound = definePolicy({
      resources: { entry: { actions: ['read'] } },
      roles: ['owner', 'robot'],
      grants: [{ id: 'reads', roles: ['owner', 'robot'], actions: ['entry.read'] }],
      forbids: [{ id: 'no-robots', actions: ['entry.read'], roles: ['robot'], reason: 'people only' }],
    });
    const ask = (...roles: ('owner' | 'robot')[]) =>
      bound.authorize({ principal: { id: 'u', org: ORG, roles } }, 'entry.read', { org: ORG }).effect;
    expect([ask('owner'), ask('robot'), ask('owner', 'robot')]).toEqual(['allow', 'deny', 'deny']);
  });
});

describe('an attribute that is not there', () => {
  const known = definePolicy({
    resources: { note: { actions: ['a', 'b'], attributes: { colour: ['red', 'blue'] } } },
    roles: ['user'],
    grants: [
      { id: 'is-red', roles: ['user'], actions: ['note.a'], when: equals(resource('colour'), 'red') },
      { id: 'is-not-red', roles: ['user'], actions: ['note.b'], when: notEquals(resource('colour'), 'red') },
    ],
  });
  const ask = (action: 'note.a' | 'note.b', colour: unknown) =>
    known.authorize({ principal: { id: 'u', org: ORG, roles: ['user'] } }, action, {
      org: ORG,
      colour: colour as 'red',
    });

  test('is neither equal nor different', () => {
    expect([ask('note.a', 'red').effect, ask('note.b', 'blue').effect]).toEqual(['allow', 'allow']);
    for (const colour of [undefined, null, 'green', 1]) {
      expect([ask('note.a', colour).effect, ask('note.b', colour).effect]).toEqual(['deny', 'deny']);
    }
  });

  test('is told from one of a wrong type', () => {
    expect(ask('note.a', undefined).missing).toMatchObject([{ found: 'missing' }]);
    expect(ask('note.a', 'green').missing).toMatchObject([{ found: 'ill_typed' }]);
    expect(ask('note.a', 'blue').missing).toMatchObject([{ found: 'other' }]);
  });
});

describe('step_up', () => {
  test('says what the session lacks, in the terms of RFC 9470', () => {
    const decision = policy.authorize(as('controller'), 'entry.approve', entry);
    expect(decision).toMatchObject({
      effect: 'step_up',
      grant: 'controller-approves-small',
      missing: [{ kind: 'mfa' }],
    });
    if (decision.effect !== 'step_up') throw new Error('not a step-up');
    expect(decision.stepUp).toEqual({
      acrValues: ['urn:ledger:mfa', 'urn:ledger:hardware'],
      mfa: true,
      sso: false,
    });
    expect(stepUpChallenge(decision)).toBe(
      'Bearer error="insufficient_user_authentication", error_description="A different authentication is required", acr_values="urn:ledger:mfa urn:ledger:hardware"',
    );
  });

  test('joins what grant and forbid need, and takes the smallest alternative', () => {
    const decision = policy.authorize(as('owner'), 'entry.export', entry);
    expect(decision).toMatchObject({ effect: 'step_up', forbid: 'export-needs-mfa', grant: 'owner-exports' });
    expect(decision.missing).toEqual([{ kind: 'mfa' }, { kind: 'authentication', maxAgeMs: 300_000 }]);
    if (decision.effect === 'step_up') expect(decision.stepUp.maxAge).toBe(300);
  });

  test('supplying exactly what it names allows', () => {
    const session = unsafeSessionFacts({ mfa: true, authenticatedAt: NOW - 300_000 });
    expect(policy.authorize({ ...as('owner'), session }, 'entry.export', entry).effect).toBe('allow');
  });

  test('is not offered where the resource stands in the way', () => {
    expect(policy.authorize(as('controller'), 'entry.approve', { ...entry, status: 'draft' }).effect).toBe(
      'deny',
    );
  });

  test('an authentication a millisecond too old, or in the future, is not recent', () => {
    for (const authenticatedAt of [NOW - 300_001, NOW + 1]) {
      const session = unsafeSessionFacts({ mfa: true, authenticatedAt });
      expect(policy.authorize({ ...as('owner'), session }, 'entry.export', entry).effect).toBe('step_up');
    }
  });

  test('an acr the policy does not know ranks below all', () => {
    for (const [acr, effect] of [
      ['urn:ledger:hardware', 'allow'],
      ['urn:ledger:mfa', 'step_up'],
      ['urn:elsewhere:hardware', 'step_up'],
    ] as const) {
      const session = unsafeSessionFacts({ mfa: true, acr, ssoConnection: 'okta' });
      expect(policy.authorize({ ...as('owner'), session }, 'entry.export', entry).effect).toBe(effect);
    }
  });
});

describe('needs_approval', () => {
  const large = { ...entry, amountCents: 100_001 };
  const ask = (...approvals: ReturnType<typeof approval>[]): Decision =>
    policy.authorize({ ...as('controller'), session: withMfa, approvals }, 'entry.approve', large);

  test('says how many approvals are missing and from whom', () => {
    expect(ask()).toMatchObject({
      effect: 'needs_approval',
      approvals: [{ n: 2, from: 'owner' }],
      stepUp: undefined,
    });
    expect(ask(approval('user:cyd'))).toMatchObject({ approvals: [{ n: 1, from: 'owner' }] });
    expect(ask(approval('user:cyd'), approval('user:dan')).effect).toBe('allow');
  });

  test('says what the session lacks beside', () => {
    const decision = policy.authorize(as('controller'), 'entry.approve', large);
    expect(decision).toMatchObject({ effect: 'needs_approval', stepUp: { mfa: true } });
  });

  test('counts no approval twice, none of the principal, none for something else', () => {
    const wrong = [
      approval('user:cyd'), // the same person again
      approval('user:ada'),
      approval('user:dan', { resourceId: 'entry:2' }),
      approval('user:dan', { action: 'entry.post' }),
      approval('user:dan', { org: OTHER_ORG }),
      approval('user:dan', { roles: ['controller'] }),
    ];
    expect(ask(approval('user:cyd'), ...wrong)).toMatchObject({
      effect: 'needs_approval',
      approvals: [{ n: 1 }],
    });
  });

  test('is a deny for a resource without an id, which nobody can have approved', () => {
    const { id: _, ...nameless } = large;
    const context = { ...as('controller'), session: withMfa };
    expect(policy.authorize(context, 'entry.approve', nameless).effect).toBe('deny');
  });
});

describe('assertAllowed', () => {
  test('throws the error of the effect, with the decision', () => {
    const denied = policy.authorize(as('auditor'), 'entry.post', entry);
    const stepUp = policy.authorize(as('controller'), 'entry.approve', entry);
    const approve = policy.authorize(as('controller'), 'entry.approve', { ...entry, amountCents: 100_001 });
    const thrown = [denied, stepUp, approve].map((decision) => {
      try {
        assertAllowed(decision);
      } catch (error) {
        return error;
      }
      return undefined;
    });
    expect(thrown[0]).toBeInstanceOf(AuthzDeniedError);
    expect(thrown[1]).toBeInstanceOf(AuthzStepUpRequiredError);
    expect(thrown[2]).toBeInstanceOf(AuthzApprovalRequiredError);
    expect(thrown).toMatchObject([
      { code: 'authz.denied', decision: denied },
      { code: 'authz.step_up_required', decision: stepUp },
      { code: 'authz.approval_required', decision: approve },
    ]);
  });

  test('refuses a decision that no policy made', () => {
    const forged = { effect: 'allow', grant: 'g' } as unknown as Decision;
    expect(() => assertAllowed(forged)).toThrow(expect.objectContaining({ code: 'authz.invalid_request' }));
  });
});

test('a decision cannot be changed', () => {
  const decision = policy.authorize(as('auditor'), 'entry.post', entry) as unknown as Record<string, unknown>;
  expect(() => {
    decision['effect'] = 'allow';
  }).toThrow(TypeError);
  expect(() => (decision['missing'] as unknown[]).push({})).toThrow(TypeError);
  expect(() => Object.setPrototypeOf(Object.getPrototypeOf(decision), { effect: 'allow' })).toThrow(
    TypeError,
  );
  expect(decision['effect']).toBe('deny');
});

test('roles and actions from elsewhere can be narrowed', () => {
  expect(policy.isRole('owner') && policy.isAction('entry.read')).toBe(true);
  expect([policy.isRole('root'), policy.isRole(['owner']), policy.isAction('entry.*')]).toEqual([
    false,
    false,
    false,
  ]);
});
