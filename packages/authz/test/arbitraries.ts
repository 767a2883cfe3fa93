/**
 * Random policies, requests and rows, and a second, naive reading of the semantics to compare with: three truth values,
 * no index, no order tricks, the level found by supplying facts and asking again.
 */
import fc from '../../../tools/fuzz.ts';
import {
  type ConditionNode,
  type ForbidDocument,
  type GrantDocument,
  type PolicyDocument,
  parseOrgId,
} from '../src/index.ts';

export const ORGS = [
  parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
  parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61'),
] as const;
export const KINDS = ['a', 'b', "c'\\"] as const;
export const ACRS = ['urn:1', 'urn:2', 'urn:3'] as const;
export const ROLES = ['r0', 'r1', 'r2'] as const;
export const PEOPLE = ['user:ada', "user:o'neil\\", 'user:żółw', ''] as const;
const NUMBERS = [Number.MIN_SAFE_INTEGER, -1, 0, 1, 100, Number.MAX_SAFE_INTEGER] as const;

export interface Row {
  readonly id: string;
  readonly org: string;
  readonly kind: string | null;
  readonly owner: string | null;
  readonly peer: string | null;
  readonly n: number | null;
  readonly flag: boolean | null;
}

export interface Session {
  readonly mfa: boolean;
  readonly acr?: string;
  readonly authenticatedAt?: number;
  readonly ssoConnection?: string;
}

export interface Request {
  readonly principal: { readonly id: string; readonly org: (typeof ORGS)[number]; readonly roles: string[] };
  readonly session: Session;
  readonly now: number;
}

const ref = (attribute: string) => ({ ref: 'resource', attribute }) as const;
const me = { ref: 'principal', attribute: 'id' } as const;
const text = fc.constantFrom('owner', 'peer');
const person = fc.constantFrom(...PEOPLE);
const number = fc.constantFrom(...NUMBERS);

/** A comparison of the row or of the time. The bounds of windows lie far from any time a test runs at. */
const fact: fc.Arbitrary<ConditionNode> = fc.oneof(
  fc.record({ op: fc.constantFrom('equals', 'notEquals'), left: text.map(ref), right: fc.constant(me) }),
  fc.record({
    op: fc.constantFrom('equals', 'notEquals'),
    left: text.map(ref),
    right: fc.oneof(person, text.map(ref)),
  }),
  fc.record({
    op: fc.constantFrom('equals', 'notEquals'),
    left: fc.constant(ref('kind')),
    right: fc.constantFrom(...KINDS),
  }),
  fc.record({
    op: fc.constantFrom('oneOf', 'noneOf'),
    left: fc.constant(ref('kind')),
    values: fc.uniqueArray(fc.constantFrom(...KINDS), { minLength: 1 }),
  }),
  fc.record({
    op: fc.constantFrom('oneOf', 'noneOf'),
    left: text.map(ref),
    values: fc.uniqueArray(person, { minLength: 1 }),
  }),
  fc.record({
    op: fc.constantFrom('oneOf', 'noneOf'),
    left: fc.constant(ref('n')),
    values: fc.uniqueArray(number, { minLength: 1 }),
  }),
  fc.record({
    op: fc.constantFrom('lessThan', 'atMost', 'moreThan', 'atLeast'),
    left: fc.constant(ref('n')),
    right: number,
  }),
  fc.record({
    op: fc.constantFrom('equals', 'notEquals'),
    left: fc.constant(ref('flag')),
    right: fc.boolean(),
  }),
  fc.record({
    op: fc.constantFrom('timeWindow', 'outsideTimeWindow'),
    from: fc.constantFrom(1e12, 4e12),
    until: fc.constantFrom(4.5e12, 5e12),
  }),
  fc.record({ op: fc.constantFrom('timeWindow', 'outsideTimeWindow'), until: fc.constantFrom(1e12, 4e12) }),
) as fc.Arbitrary<ConditionNode>;

const sessionFact: fc.Arbitrary<ConditionNode> = fc.oneof(
  fc.constant({ op: 'mfa' } as const),
  fc.constant({ op: 'sso' } as const),
  fc.constantFrom(...ACRS).map((acr) => ({ op: 'acrAtLeast', acr }) as const),
  fc.constant({ op: 'authenticatedWithin', maxAgeMs: 3_600_000 } as const),
);
const approvalFact: fc.Arbitrary<ConditionNode> = fc.record({
  op: fc.constant('approvedBy' as const),
  n: fc.integer({ min: 1, max: 2 }),
  from: fc.constantFrom(...ROLES),
});

function conditions(leaf: fc.Arbitrary<ConditionNode>): fc.Arbitrary<ConditionNode> {
  return fc.letrec<{ node: ConditionNode }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      leaf,
      fc.record({
        op: fc.constantFrom('all' as const, 'any' as const),
        of: fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
      }),
    ),
  })).node;
}

const factCondition = conditions(fact);
const anyCondition = conditions(
  fc.oneof(
    { arbitrary: fact, weight: 4 },
    { arbitrary: sessionFact, weight: 2 },
    { arbitrary: approvalFact, weight: 1 },
  ),
);
const someRoles = fc.uniqueArray(fc.constantFrom(...ROLES), { minLength: 1 });
const someActions = fc.uniqueArray(fc.constantFrom('row.read', 'row.write'), { minLength: 1 });

const grant: fc.Arbitrary<Omit<GrantDocument, 'id'>> = fc.record(
  { roles: someRoles, actions: someActions, when: anyCondition },
  { requiredKeys: ['roles', 'actions'] },
);
const forbid: fc.Arbitrary<Omit<ForbidDocument, 'id'>> = fc.record(
  {
    roles: someRoles,
    actions: someActions,
    when: factCondition,
    unless: anyCondition,
    reason: fc.constant('because'),
  },
  { requiredKeys: ['actions', 'when', 'reason'] },
);

/** A random policy over `row.read` and `row.write`. */
export const policyDocument: fc.Arbitrary<PolicyDocument> = fc
  .tuple(fc.array(grant, { minLength: 1, maxLength: 5 }), fc.array(forbid, { maxLength: 2 }))
  .map(([grants, forbids]) => ({
    version: 1,
    resources: {
      row: {
        actions: ['read', 'write'],
        attributes: { kind: KINDS, owner: 'string', peer: 'string', n: 'integer', flag: 'boolean' },
      },
    },
    roles: ROLES,
    acrLevels: ACRS,
    grants: grants.map((each, k) => ({ id: `g${k}`, ...each })),
    forbids: forbids.map((each, k) => ({ id: `f${k}`, ...each })),
  }));

/** A random row: absent values, texts outside the enumeration and integers beyond 2^53 among them. */
export const row: fc.Arbitrary<Omit<Row, 'id'>> = fc.record({
  org: fc.constantFrom(ORGS[0], ORGS[0], ORGS[0], ORGS[1]),
  kind: fc.constantFrom(...KINDS, 'outside', null),
  owner: fc.constantFrom(...PEOPLE, null),
  peer: fc.constantFrom(...PEOPLE, null),
  n: fc.constantFrom(...NUMBERS, 2 ** 60, -(2 ** 60), 50, null),
  flag: fc.constantFrom(true, false, null),
});

/** A random request at the instant `now`. */
export function request(now: number): fc.Arbitrary<Request> {
  return fc.record({
    principal: fc.record({
      id: fc.constantFrom(...PEOPLE.filter((id) => id !== '')),
      org: fc.constant(ORGS[0]),
      roles: fc.array(fc.constantFrom(...ROLES), { maxLength: 3 }),
    }),
    session: fc.record(
      {
        mfa: fc.boolean(),
        acr: fc.constantFrom(...ACRS, 'urn:elsewhere'),
        authenticatedAt: fc.constantFrom(now - 1_000, 1e12, 4e12),
        ssoConnection: fc.constant('okta'),
      },
      { requiredKeys: ['mfa'] },
    ),
    now: fc.constant(now),
  });
}

/** An approval as the naive reading knows it: a role and how many different others gave it. */
export type Approved = Readonly<Record<string, number>>;

type Truth = boolean | undefined;

/** The naive reading: is the action allowed? */
export function allowed(
  document: PolicyDocument,
  { principal, session, now }: Request,
  action: string,
  target: Row,
  approved: Approved = {},
): boolean {
  if (principal.org !== target.org) return false;
  const truth = (node: ConditionNode): Truth => {
    switch (node.op) {
      case 'all': {
        const parts = node.of.map(truth);
        return parts.includes(false) ? false : parts.includes(undefined) ? undefined : true;
      }
      case 'any': {
        const parts = node.of.map(truth);
        return parts.includes(true) ? true : parts.includes(undefined) ? undefined : false;
      }
      case 'equals':
      case 'notEquals': {
        const left = value(target, node.left.attribute);
        const right =
          typeof node.right !== 'object'
            ? node.right
            : node.right.ref === 'principal'
              ? principal.id
              : value(target, node.right.attribute);
        return left === undefined || right === undefined
          ? undefined
          : (left === right) === (node.op === 'equals');
      }
      case 'oneOf':
      case 'noneOf': {
        const left = value(target, node.left.attribute);
        return left === undefined
          ? undefined
          : node.values.some((each) => each === left) === (node.op === 'oneOf');
      }
      case 'lessThan':
      case 'atMost':
      case 'moreThan':
      case 'atLeast': {
        const left = value(target, node.left.attribute);
        if (typeof left !== 'number') return undefined;
        if (node.op === 'lessThan') return left < node.right;
        if (node.op === 'atMost') return left <= node.right;
        return node.op === 'moreThan' ? left > node.right : left >= node.right;
      }
      case 'timeWindow':
      case 'outsideTimeWindow': {
        const inside =
          (node.from === undefined || now >= node.from) && (node.until === undefined || now < node.until);
        return inside === (node.op === 'timeWindow');
      }
      case 'mfa':
        return session.mfa;
      case 'sso':
        return session.ssoConnection !== undefined;
      case 'acrAtLeast': {
        const levels: readonly string[] = ACRS;
        return session.acr !== undefined && levels.indexOf(session.acr) >= levels.indexOf(node.acr);
      }
      case 'authenticatedWithin': {
        const at = session.authenticatedAt;
        return at !== undefined && at <= now && now - at <= node.maxAgeMs;
      }
      case 'approvedBy':
        return (approved[node.from] ?? 0) >= node.n;
    }
  };
  const granted = document.grants.some(
    ({ roles, actions, when }) =>
      actions.includes(action) &&
      roles.some((role) => principal.roles.includes(role)) &&
      (when === undefined || truth(when) === true),
  );
  const forbidden = document.forbids.some(
    ({ roles, actions, when, unless }) =>
      actions.includes(action) &&
      (roles === undefined || roles.some((role) => principal.roles.includes(role))) &&
      (when === undefined || truth(when) !== false) &&
      (unless === undefined || truth(unless) !== true),
  );
  return granted && !forbidden;
}

function value(target: Row, attribute: string): string | number | boolean | undefined {
  const found = target[attribute as keyof Row];
  if (found === null) return undefined;
  if (attribute === 'kind') return (KINDS as readonly unknown[]).includes(found) ? found : undefined;
  return typeof found === 'number' && !Number.isSafeInteger(found) ? undefined : found;
}

/** The strongest session there is. */
export function strongest(now: number): Session {
  return { mfa: true, acr: 'urn:3', authenticatedAt: now, ssoConnection: 'okta' };
}

/** Approvals enough for every condition, from every role. */
export const ALL_APPROVED: Approved = { r0: 10, r1: 10, r2: 10 };
