/** Escalation through each door that gives rights, in each shape; and the same rights after something has changed. */
import { describe, expect, test } from 'vitest';
import {
  AuthzCeilingExceededError,
  assertWithinCeiling,
  authorizeWithinCeiling,
  type CeilingBreach,
  type Decision,
  type DecisionInputs,
  type DelegationDoor,
  type Rights,
} from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import { type KeyRole, keyPolicy, widerPolicy } from './keys-fixture.ts';
import { NOW, ORG, OTHER_ORG } from './model.ts';

const doors: readonly DelegationDoor[] = [
  'role_assignment',
  'api_key',
  'invitation',
  'scim_mapping',
  'jit_grant',
];
const clerk: Rights = { org: ORG, roles: ['clerk'] };

const escalations: readonly (readonly [string, CeilingBreach, Rights, Rights])[] = [
  ['more actions', 'rights', clerk, { org: ORG, roles: ['owner'] }],
  ['one action more', 'rights', clerk, { org: ORG, roles: ['owner'], actions: ['entry.approve'] }],
  ['a weaker condition', 'rights', clerk, { org: ORG, roles: ['owner'], actions: ['entry.post'] }],
  ['a role beside a harmless one', 'rights', clerk, { org: ORG, roles: ['clerk', 'owner'] }],
  ['the right to make keys', 'rights', clerk, { org: ORG, roles: ['vault'] }],
  [
    'a role that a forbid of the giver does not reach',
    'rights',
    { org: ORG, roles: ['clerk', 'trainee'] },
    { org: ORG, roles: ['clerk'], actions: ['entry.post'] },
  ],
  ['actions the giver was narrowed from', 'rights', { ...clerk, actions: ['entry.read'] }, clerk],
  ['another organisation', 'org', clerk, { ...clerk, org: OTHER_ORG }],
  ['a later end', 'until', { ...clerk, until: NOW }, { ...clerk, until: NOW + 1 }],
  ['no end', 'until', { ...clerk, until: NOW }, clerk],
  ['a role nobody knows yet', 'unknown', clerk, { org: ORG, roles: ['clerk', 'admin'] }],
  ['a role named like a prototype key', 'unknown', clerk, { org: ORG, roles: ['constructor'] }],
  ['an action nobody knows yet', 'unknown', clerk, { ...clerk, actions: ['entry.purge'] }],
  ['a wildcard', 'unknown', clerk, { ...clerk, actions: ['*'] }],
  ['from somebody without roles', 'rights', { org: ORG, roles: [] }, clerk],
  ['from somebody whose role is gone', 'rights', { org: ORG, roles: ['gone'] }, clerk],
];

type Ask = (context: object, action: string, resource: object) => Decision;

/** Asks the real door what a witness says, for somebody with these rights. */
function replay({ action, principal, now, session, approvals, resource }: DecisionInputs, rights: Rights) {
  const known = rights.roles.filter((role) => keyPolicy.isRole(role));
  const roles = rights.actions === undefined || rights.actions.includes(action) ? known : [];
  const context = {
    principal: { ...principal, roles },
    now,
    ...(session === undefined ? {} : { session: unsafeSessionFacts(session) }),
    approvals: (approvals ?? []).map(unsafeApproval),
  };
  const { attributes, ...identity } = resource ?? { attributes: {} };
  return (keyPolicy.authorize as Ask)(context, action, { ...attributes, ...identity }).effect;
}

function errorOf(run: () => void): AuthzCeilingExceededError {
  try {
    run();
  } catch (error) {
    if (error instanceof AuthzCeilingExceededError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

describe.each(doors)('%s', (door) => {
  test.each(escalations)('does not give %s', (_shape, breach, giver, given) => {
    const error = errorOf(() => assertWithinCeiling(keyPolicy, door, giver, given));
    expect(error).toMatchObject({ code: 'authz.ceiling_exceeded', door, breach });
    if (breach !== 'rights') return;
    // The witness is a request, not a story: the rights that were to be given allow it, the giver's do not.
    const { witness } = error;
    if (witness === undefined) throw new Error('expected a witness');
    expect(replay(witness, given)).toBe('allow');
    expect(replay(witness, giver)).not.toBe('allow');
  });

  test.each<readonly [string, Rights, Rights]>([
    ['what the giver holds', clerk, clerk],
    ['a stronger condition', clerk, { org: ORG, roles: ['feed'] }],
    [
      'fewer actions',
      { org: ORG, roles: ['owner'] },
      { org: ORG, roles: ['clerk'], actions: ['entry.read'] },
    ],
    [
      'all the roles the giver has, forbids of them included',
      { org: ORG, roles: ['clerk', 'trainee'] },
      { org: ORG, roles: ['trainee', 'clerk'] },
    ],
    ['an earlier end', { ...clerk, until: NOW + 1 }, { ...clerk, until: NOW }],
    ['nothing', clerk, { org: ORG, roles: [] }],
  ])('gives %s', (_shape, giver, given) => {
    expect(() => assertWithinCeiling(keyPolicy, door, giver, given)).not.toThrow();
  });
});

describe('at use', () => {
  const entry = {
    org: ORG,
    id: 'entry:1',
    createdBy: 'user:bob',
    amountCents: 50_000,
    locked: true,
  } as const;
  const as = (...roles: KeyRole[]) => ({ principal: { id: 'user:ada', org: ORG, roles }, now: NOW });
  const owner: Rights = { org: ORG, roles: ['owner'] };
  const may = (giver: Rights | undefined, policy = keyPolicy, held: KeyRole = 'clerk') =>
    authorizeWithinCeiling(policy, as(held), giver, 'entry.post', entry).effect;

  test('what was given works while the giver may do it', () => {
    expect(may(owner)).toBe('allow');
    expect(may(clerk)).toBe('allow');
  });

  test('it ends with the giver, with their role, at their end, and at the border of their organisation', () => {
    expect(may(undefined)).toBe('deny');
    expect(may({ org: ORG, roles: [] })).toBe('deny');
    expect(may({ org: ORG, roles: ['feed'] })).toBe('deny');
    expect(may({ ...owner, until: NOW + 1 })).toBe('allow');
    expect(may({ ...owner, until: NOW })).toBe('deny');
    expect(may({ ...owner, org: OTHER_ORG })).toBe('deny');
    expect(may({ ...owner, actions: ['entry.read'] })).toBe('deny');
  });

  test('a role that gains rights later gains none above the giver', () => {
    expect(widerPolicy.authorize(as('feed'), 'entry.post', entry).effect).toBe('allow');
    expect(may({ org: ORG, roles: ['feed'] }, keyPolicy, 'feed')).toBe('deny');
    expect(may(owner, widerPolicy, 'feed')).toBe('allow');
    const large = { ...entry, amountCents: 100_000 };
    expect(authorizeWithinCeiling(widerPolicy, as('feed'), clerk, 'entry.post', large).effect).toBe('deny');
  });

  test('a forbid for a role of the giver holds for what they gave', () => {
    expect(may({ org: ORG, roles: ['clerk', 'trainee'] })).toBe('deny');
  });

  test('a giver with more rights adds none', () => {
    expect(authorizeWithinCeiling(keyPolicy, as('feed'), owner, 'entry.approve', entry).effect).toBe('deny');
  });
});

test('misuse is a TypeError, never an agreement', () => {
  for (const wrong of [
    { ...clerk, roles: 'owner' },
    { ...clerk, roles: [1] },
    { ...clerk, until: Number.NaN },
    { ...clerk, org: undefined },
    { ...clerk, actions: 'entry.read' },
  ]) {
    const rights = wrong as unknown as Rights;
    expect(() => assertWithinCeiling(keyPolicy, 'invitation', clerk, rights)).toThrow(TypeError);
    expect(() => assertWithinCeiling(keyPolicy, 'invitation', rights, clerk)).toThrow(TypeError);
  }
});
