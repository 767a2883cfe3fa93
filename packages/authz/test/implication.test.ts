import { describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { holdingImplies, type Implication, implies } from '../src/implication.ts';
import {
  AuthzAnalysisTooLargeError,
  type ConditionNode,
  type Decision,
  type DecisionInputs,
  type Policy,
  type PolicyDocument,
  policyFromJSON,
} from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import { policyDocument, ROLES, request, row } from './arbitraries.ts';

const NOW = 1_800_000_000_000;
const RUNS = { numRuns: 800 };

type Ask = (context: object, action: string, resource: object) => Decision;

/** Asks the real door what a witness says. */
function replay(policy: Policy, { action, principal, now, session, approvals, resource }: DecisionInputs) {
  const context = {
    principal,
    now,
    ...(session === undefined ? {} : { session: unsafeSessionFacts(session) }),
    approvals: (approvals ?? []).map(unsafeApproval),
  };
  const { attributes, ...identity } = resource ?? { attributes: {} };
  return (policy.authorize as Ask)(context, action, { ...attributes, ...identity }).effect;
}

function load(document: Partial<PolicyDocument>): Policy {
  return policyFromJSON({
    resources: {
      row: {
        actions: ['read', 'write'],
        attributes: { kind: ['a', 'b'], owner: 'string', peer: 'string', n: 'integer', flag: 'boolean' },
      },
    },
    roles: ROLES,
    acrLevels: ['urn:1', 'urn:2', 'urn:3'],
    grants: [],
    ...document,
  });
}

const grant = (when?: ConditionNode, role = 'r0', id = 'g') => ({
  id,
  roles: [role],
  actions: ['row.read'],
  ...(when === undefined ? {} : { when }),
});
const when = (node: ConditionNode): Policy => load({ grants: [grant(node)] });
const at = (attribute: string) => ({ ref: 'resource', attribute }) as const;
const me = { ref: 'principal', attribute: 'id' } as const;

/** Pairs that are often related: a policy, and the same with one grant or forbid left out, or an unrelated one. */
const pairs = fc
  .tuple(policyDocument, policyDocument, fc.nat(8), fc.boolean())
  .map(([a, other, at_, swap]) => {
    const rest: PolicyDocument = {
      ...a,
      grants: a.grants.filter((_, k) => k !== at_),
      forbids: a.forbids.filter((_, k) => k !== at_ - a.grants.length),
    };
    const b = at_ > 6 ? other : at_ === 6 ? { ...a, grants: [...a.grants, ...renamed(other)] } : rest;
    return swap ? [b, a] : [a, b];
  });

function renamed({ grants }: PolicyDocument): PolicyDocument['grants'] {
  return grants.map((each) => ({ ...each, id: `x${each.id}` }));
}

const asked = fc.record({
  request: request(NOW),
  target: row,
  hasId: fc.boolean(),
  action: fc.constantFrom('row.read', 'row.write'),
  approvers: fc.array(fc.subarray([...ROLES]), { maxLength: 3 }),
});

describe('implication', () => {
  test('finds every counterexample that sampling finds, and each witness replays', () => {
    const seen = { implied: 0, refuted: 0, sampled: 0 };
    fc.assert(
      fc.property(pairs, fc.array(asked, { minLength: 30, maxLength: 30 }), ([one, two], samples) => {
        const a = policyFromJSON(one);
        const b = policyFromJSON(two);
        const answer = implies(a, b);
        seen[answer.implied ? 'implied' : 'refuted'] += 1;
        if (!answer.implied) {
          expect(replay(a, answer.witness)).toBe('allow');
          expect(replay(b, answer.witness)).not.toBe('allow');
        }
        for (const {
          request: { session, ...context },
          target,
          hasId,
          action,
          approvers,
        } of samples) {
          const { org } = target;
          const full = {
            ...context,
            session: unsafeSessionFacts(session),
            approvals: approvers.map((roles, k) =>
              unsafeApproval({ by: `approver:${k}`, roles, org, action, resourceId: 'row:1' }),
            ),
          };
          const instance = hasId ? { id: 'row:1', ...target } : target;
          const [left, right] = [a, b].map(
            (policy) => (policy.authorize as Ask)(full, action, instance).effect,
          );
          if (left === 'allow' && right !== 'allow') {
            seen.sampled += 1;
            expect(answer.implied).toBe(false);
          }
        }
      }),
      RUNS,
    );
    expect(Math.min(seen.implied, seen.refuted, seen.sampled)).toBeGreaterThan(100);
  });

  const equal: (readonly [string, ConditionNode, ConditionNode])[] = [
    [
      'neighbouring integers',
      { op: 'lessThan', left: at('n'), right: 5 },
      { op: 'atMost', left: at('n'), right: 4 },
    ],
    [
      'a choice and its parts',
      { op: 'oneOf', left: at('kind'), values: ['a', 'b'] },
      { op: 'any', of: ['a', 'b'].map((right) => ({ op: 'equals', left: at('kind'), right }) as const) },
    ],
    [
      'distribution',
      {
        op: 'all',
        of: [{ op: 'mfa' }, { op: 'any', of: [{ op: 'sso' }, { op: 'acrAtLeast', acr: 'urn:2' }] }],
      },
      {
        op: 'any',
        of: [
          { op: 'all', of: [{ op: 'mfa' }, { op: 'sso' }] },
          { op: 'all', of: [{ op: 'mfa' }, { op: 'acrAtLeast', acr: 'urn:2' }] },
        ],
      },
    ],
    [
      'equality carried over',
      {
        op: 'all',
        of: [
          { op: 'equals', left: at('owner'), right: me },
          { op: 'equals', left: at('peer'), right: me },
        ],
      },
      {
        op: 'all',
        of: [
          { op: 'equals', left: at('owner'), right: at('peer') },
          { op: 'equals', left: at('owner'), right: me },
        ],
      },
    ],
  ];
  equal.push([
    'an approval, and that there is an id to approve',
    { op: 'approvedBy', n: 1, from: 'r1' },
    {
      op: 'all',
      of: [
        { op: 'approvedBy', n: 1, from: 'r1' },
        {
          op: 'any',
          of: [
            { op: 'equals', left: at('id'), right: 'x' },
            { op: 'notEquals', left: at('id'), right: 'x' },
          ],
        },
      ],
    },
  ]);
  test.each(equal)('sees that two ways to write it are one: %s', (_, one, two) => {
    expect(implies(when(one), when(two)).implied).toBe(true);
    expect(implies(when(two), when(one)).implied).toBe(true);
  });

  const narrower: readonly (readonly [string, ConditionNode, ConditionNode])[] = [
    ['one integer', { op: 'lessThan', left: at('n'), right: 5 }, { op: 'lessThan', left: at('n'), right: 6 }],
    ['a rank', { op: 'acrAtLeast', acr: 'urn:3' }, { op: 'acrAtLeast', acr: 'urn:2' }],
    [
      'one ms of age',
      { op: 'authenticatedWithin', maxAgeMs: 1_000 },
      { op: 'authenticatedWithin', maxAgeMs: 1_001 },
    ],
    ['one ms of time', { op: 'timeWindow', until: NOW - 1 }, { op: 'timeWindow', until: NOW }],
    ['one approval', { op: 'approvedBy', n: 2, from: 'r1' }, { op: 'approvedBy', n: 1, from: 'r1' }],
    [
      'a constant',
      { op: 'equals', left: at('owner'), right: 'x' },
      { op: 'noneOf', left: at('owner'), values: ['y', ''] },
    ],
  ];
  test.each(narrower)('tells narrower from wider: %s', (_, narrow, wide) => {
    expect(implies(when(narrow), when(wide)).implied).toBe(true);
    const { implied, witness } = implies(when(wide), when(narrow));
    expect(implied).toBe(false);
    expect(replay(when(wide), witness as DecisionInputs)).toBe('allow');
    expect(replay(when(narrow), witness as DecisionInputs)).not.toBe('allow');
  });

  test('does not take a comparison and its opposite for everything: the attribute may be absent', () => {
    const both: ConditionNode = {
      op: 'any',
      of: [
        { op: 'equals', left: at('flag'), right: true },
        { op: 'notEquals', left: at('flag'), right: true },
      ],
    };
    const { witness } = implies(load({ grants: [grant()] }), when(both)) as Implication;
    expect(witness?.resource?.attributes).toEqual({});
  });

  test('finds the second role that a forbid is for', () => {
    const forbids = [{ id: 'f', actions: ['row.read'], roles: ['r2'], reason: 'r2 does not read' }];
    const { witness } = implies(load({ grants: [grant()] }), load({ grants: [grant()], forbids }));
    expect(witness?.principal?.roles).toEqual(['r0', 'r2']);
  });

  test('counts a role that the other policy does not know: it refuses everything', () => {
    const { witness } = implies(
      load({ grants: [grant()] }),
      load({ grants: [grant()], roles: ['r0', 'r1'] }),
    );
    expect(witness?.principal?.roles).toEqual(['r0', 'r2']);
  });

  test('compares under each policy’s own order of acr levels and own types', () => {
    const node: ConditionNode = { op: 'acrAtLeast', acr: 'urn:2' };
    const turned = load({ acrLevels: ['urn:3', 'urn:2', 'urn:1'], grants: [grant(node)] });
    expect(implies(when(node), turned).witness?.session?.acr).toBe('urn:3');
    expect(implies(turned, when(node)).witness?.session?.acr).toBe('urn:1');
  });

  test('goes through forty independent conditions without combining them', () => {
    const attributes = Object.fromEntries(
      Array.from({ length: 40 }, (_, k) => [`a${k}`, 'boolean'] as const),
    );
    const resources = { row: { actions: ['read'], attributes } };
    const parts = Object.keys(attributes).map(
      (name) => ({ op: 'equals', left: at(name), right: true }) as const,
    );
    const every = load({ resources, grants: [grant({ op: 'all', of: parts })] });
    const most = load({ resources, grants: [grant({ op: 'all', of: parts.slice(1) })] });
    expect(implies(every, most).implied).toBe(true);
    expect(implies(most, every).witness?.resource?.attributes).not.toHaveProperty('a0');
  });

  test('gives up with figures instead of answering from a part of the cases', () => {
    const node: ConditionNode = { op: 'all', of: [{ op: 'mfa' }, { op: 'sso' }] };
    const give = (): unknown => implies(when(node), when({ op: 'mfa' }), { limit: 1 });
    expect(give).toThrow(AuthzAnalysisTooLargeError);
    expect(give).toThrow('row.read: 4 combinations of 2 independent facts are more than 1');
    const names = Array.from({ length: 8 }, (_, k) => `s${k}`);
    const resources = {
      row: {
        actions: ['read'],
        attributes: Object.fromEntries(names.map((name) => [name, 'string'] as const)),
      },
    };
    const linked = names.map((name) => ({ op: 'equals', left: at(name), right: me }) as const);
    const wide = load({ resources, grants: [grant({ op: 'any', of: linked })] });
    expect(() => implies(wide, wide)).toThrow(expect.objectContaining({ code: 'authz.analysis_too_large' }));
  });
});

describe('the ceiling of a holding', () => {
  const policy = load({
    grants: [
      grant(),
      grant({ op: 'mfa' }, 'r1', 'g1'),
      { ...grant(undefined, 'r1', 'g2'), actions: ['row.write'] },
    ],
  });

  test('a condition of the giver binds the taker', () => {
    expect(
      holdingImplies({ policy, roles: ['r1'], actions: ['row.read'] }, { policy, roles: ['r0'] }).implied,
    ).toBe(true);
    const { witness } = holdingImplies({ policy, roles: ['r0'] }, { policy, roles: ['r1'] });
    expect(witness?.action).toBe('row.read');
    expect(witness?.session).toBeUndefined();
  });

  test('an action outside the giver’s scope is beyond it', () => {
    const giver = { policy, roles: ['r1'], actions: ['row.read'] };
    expect(holdingImplies({ policy, roles: ['r1'] }, giver).witness?.action).toBe('row.write');
    expect(holdingImplies(giver, giver).implied).toBe(true);
  });
});
