import { describe, expectTypeOf, test } from 'vitest';
import {
  type ActionOf,
  acrAtLeast,
  all,
  approvedBy,
  type Decision,
  definePolicy,
  equals,
  lessThan,
  mfa,
  notEquals,
  type OrgId,
  oneOf,
  type Policy,
  parseOrgId,
  principal,
  resource,
  type SessionFacts,
} from '../src/index.ts';
import { rowFilter } from '../src/sql/index.ts';

const resources = {
  entry: {
    actions: ['read', 'approve'],
    attributes: {
      status: ['draft', 'posted'],
      createdBy: 'string',
      memo: 'string',
      amountCents: 'integer',
      locked: 'boolean',
    },
  },
  bankLine: { actions: ['read', 'import'], attributes: { source: 'string', amountCents: 'integer' } },
} as const;
const roles = ['controller', 'bookkeeper'] as const;
const base = { resources, roles, grants: [] } as const;
const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const policy: Policy<typeof resources, (typeof roles)[number]> = definePolicy({
  ...base,
  acrLevels: ['urn:one', 'urn:two'],
  mfaAcr: 'urn:two',
  grants: [
    { id: 'reads', roles: ['bookkeeper', 'controller'], actions: ['entry.read', 'bankLine.read'] },
    {
      id: 'approves',
      roles: ['controller'],
      actions: ['entry.approve'],
      when: all(
        equals(resource('status'), 'posted'),
        oneOf(resource('status'), ['draft', 'posted']),
        equals(resource('locked'), false),
        notEquals(resource('memo'), resource('createdBy')),
        equals(resource('id'), 'x'),
        lessThan(resource('amountCents'), 10),
        mfa(),
        acrAtLeast('urn:two'),
        approvedBy(1, 'controller'),
      ),
    },
    {
      id: 'both',
      roles: ['controller'],
      actions: ['entry.read', 'bankLine.read'],
      when: lessThan(resource('amountCents'), 10),
    },
  ],
  forbids: [
    {
      id: 'own',
      actions: ['entry.approve'],
      when: equals(resource('createdBy'), principal('id')),
      unless: mfa(),
      reason: 'own',
    },
  ],
});
const context = { principal: { id: 'u', org, roles: ['controller'] } } as const;

describe('a policy that compiles', () => {
  test('infers its actions and roles', () => {
    expectTypeOf(policy.actions).toEqualTypeOf<
      readonly ('entry.read' | 'entry.approve' | 'bankLine.read' | 'bankLine.import')[]
    >();
    expectTypeOf<ActionOf<typeof resources>>().toEqualTypeOf<(typeof policy.actions)[number]>();
    expectTypeOf(policy.authorize(context, 'entry.read', { org })).toEqualTypeOf<Decision>();
  });

  test('narrows a decision by its effect', () => {
    const decision = policy.authorize(context, 'entry.read', { org });
    if (decision.effect === 'step_up') expectTypeOf(decision.stepUp.mfa).toEqualTypeOf<boolean>();
    if (decision.effect === 'allow') expectTypeOf(decision.grant).toEqualTypeOf<string>();
    // @ts-expect-error stepUp only exists where it can be asked for
    decision.stepUp;
  });
});

describe('what does not compile in a definition', () => {
  test('unknown role in a grant', () => {
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['boss'], actions: ['entry.read'] }] });
  });
  test('unknown action, unknown resource, action of another resource, wildcard', () => {
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.delete'] }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['invoice.read'] }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.import'] }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.*'] }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['*'], actions: ['entry.read'] }] });
  });
  test('unknown attribute', () => {
    const when = equals(resource('createdby'), principal('id'));
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.read'], when }] });
  });
  test('attribute that only one of the resources has', () => {
    const when = equals(resource('createdBy'), principal('id'));
    definePolicy({
      ...base,
      // @ts-expect-error
      grants: [{ id: 'g', roles: ['controller'], actions: ['entry.read', 'bankLine.read'], when }],
    });
  });
  test('value outside an enumeration, and literals of the wrong type', () => {
    const grant = { id: 'g', roles: ['controller'], actions: ['entry.read'] } as const;
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: equals(resource('status'), 'pasted') }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: oneOf(resource('status'), ['draft', 'pasted']) }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: equals(resource('amountCents'), '12') }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: lessThan(resource('memo'), 12) }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: equals(resource('locked'), 'true') }] });
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: equals(resource('amountCents'), principal('id')) }] });
    // @ts-expect-error
    lessThan(resource('amountCents'), '12');
  });
  test('deep inside all and any', () => {
    const when = all(mfa(), all(equals(resource('nope'), true)));
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.read'], when }] });
  });
  test('unknown approver role, unknown acr level, unknown principal attribute', () => {
    const grant = { id: 'g', roles: ['controller'], actions: ['entry.read'] } as const;
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ ...grant, when: approvedBy(2, 'boss') }] });
    // @ts-expect-error
    definePolicy({ ...base, acrLevels: ['urn:one'], grants: [{ ...grant, when: acrAtLeast('urn:two') }] });
    // @ts-expect-error
    definePolicy({ ...base, acrLevels: ['urn:one'], mfaAcr: 'urn:two' });
    // @ts-expect-error
    principal('email');
  });
  test('a forbid that more facts would make apply', () => {
    const forbid = { id: 'f', actions: ['entry.read'], reason: 'r' } as const;
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, when: mfa() }] });
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, when: approvedBy(1, 'controller') }] });
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, roles: ['boss'] }] });
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, actions: ['entry.import'] }] });
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, when: equals(resource('createdby'), 'x') }] });
    // @ts-expect-error
    definePolicy({ ...base, forbids: [{ ...forbid, unless: equals(resource('nope'), 'x') }] });
    // @ts-expect-error a forbid says why
    definePolicy({ ...base, forbids: [{ id: 'f', actions: ['entry.read'] }] });
  });
  test('an empty all and a condition that no builder made', () => {
    // @ts-expect-error
    all();
    const when = { op: 'mfa' } as const;
    // @ts-expect-error
    definePolicy({ ...base, grants: [{ id: 'g', roles: ['controller'], actions: ['entry.read'], when }] });
  });
});

describe('what does not compile at a check', () => {
  test('unknown action, and an action without a resource', () => {
    // @ts-expect-error
    policy.authorize(context, 'entry.delete', { org });
    // @ts-expect-error
    policy.authorize(context, 'entry.import', { org });
    // @ts-expect-error
    policy.authorize(context, 'entri.read', { org });
    // @ts-expect-error
    policy.require(context, 'bankLine.approve', { org });
    // @ts-expect-error
    policy.authorize(context, 'entry.read');
    // @ts-expect-error
    policy.authorize(context, 'entry.read', { status: 'draft' });
    // @ts-expect-error
    policy.require(context, 'entry.delete', { org });
  });
  test('an attribute unknown, of another resource, or of the wrong type', () => {
    // @ts-expect-error
    policy.authorize(context, 'entry.read', { org, statuss: 'draft' });
    // @ts-expect-error
    policy.authorize(context, 'entry.read', { org, source: 'x' });
    // @ts-expect-error
    policy.authorize(context, 'entry.read', { org, status: 'pasted' });
    // @ts-expect-error
    policy.authorize(context, 'entry.read', { org, amountCents: '12' });
  });
  test('unknown role, plain string as organisation, facts that nobody minted', () => {
    // @ts-expect-error
    policy.authorize({ principal: { id: 'u', org, roles: ['boss'] } }, 'entry.read', { org });
    // @ts-expect-error
    policy.authorize({ principal: { id: 'u', org, roles: 'controller' } }, 'entry.read', { org });
    // @ts-expect-error
    policy.authorize({ principal: { id: 'u', org: 'acme', roles: [] } }, 'entry.read', { org });
    // @ts-expect-error
    policy.authorize({ ...context, session: { mfa: true } }, 'entry.read', { org });
    // @ts-expect-error
    const forged: SessionFacts = {
      mfa: true,
      acr: undefined,
      authenticatedAt: undefined,
      ssoConnection: 'x',
    };
    // @ts-expect-error
    policy.authorize({ ...context, approvals: [{ by: 'x' }] }, 'entry.read', { org });
    expectTypeOf(forged).toEqualTypeOf<SessionFacts>();
    expectTypeOf(org).toEqualTypeOf<OrgId>();
  });
  test('a column for an attribute the resource does not have, and no column for the organisation', () => {
    rowFilter(policy, context, 'entry.read', { org: 'org_id', status: 'status' });
    // @ts-expect-error
    rowFilter(policy, context, 'entry.read', { org: 'org_id', statuss: 'status' });
    // @ts-expect-error
    rowFilter(policy, context, 'entry.read', { status: 'status' });
  });
});
