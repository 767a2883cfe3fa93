import { describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type AnalysisOptions, analyze, diff, type FindingId } from '../src/analyze/index.ts';
import { evaluate } from '../src/evaluate.ts';
import { indexOf } from '../src/implication.ts';
import {
  type ConditionNode,
  type GrantDocument,
  type Policy,
  type PolicyDocument,
  policyFromJSON,
} from '../src/index.ts';
import { factsOf } from '../src/record.ts';
import { policyDocument } from './arbitraries.ts';

const at = (attribute: string) => ({ ref: 'resource', attribute }) as const;
const me = { ref: 'principal', attribute: 'id' } as const;
const is = (attribute: string, right: string | typeof me): ConditionNode => ({
  op: 'equals',
  left: at(attribute),
  right,
});
const LEVELS = ['allow', 'step_up', 'needs_approval', 'deny'];

/** Four clean policies of one form: each with other names and another condition on approval. */
const BASES: readonly (readonly [string, ConditionNode])[] = [
  ['entry', { op: 'atMost', left: at('amount'), right: 100_000 }],
  ['claim', { op: 'approvedBy', n: 2, from: 'checker' }],
  ['order', { op: 'any', of: [is('status', 'open'), { op: 'lessThan', left: at('amount'), right: 10 }] }],
  ['note', { op: 'timeWindow', from: 1_000, until: 4_000_000_000_000 }],
];

function base(kind: string, approvable: ConditionNode): PolicyDocument {
  return {
    version: 1,
    resources: {
      [kind]: {
        actions: ['read', 'create', 'approve', 'export'],
        attributes: { maker: 'string', status: ['draft', 'open', 'closed'], amount: 'integer' },
      },
      report: { actions: ['read'], attributes: { author: 'string' } },
    },
    roles: ['maker', 'checker', 'reader'],
    acrLevels: ['low', 'high'],
    grants: [
      { id: 'read', roles: ['maker', 'checker', 'reader'], actions: [`${kind}.read`] },
      { id: 'create', roles: ['maker'], actions: [`${kind}.create`], when: is('status', 'draft') },
      {
        id: 'approve',
        roles: ['checker'],
        actions: [`${kind}.approve`],
        when: { op: 'all', of: [approvable, { op: 'mfa' }] },
      },
      {
        id: 'export',
        roles: ['checker'],
        actions: [`${kind}.export`],
        when: { op: 'all', of: [{ op: 'mfa' }, { op: 'acrAtLeast', acr: 'high' }] },
      },
      { id: 'report', roles: ['reader'], actions: ['report.read'], when: is('author', me) },
    ],
    forbids: [
      { id: 'own', actions: [`${kind}.approve`], when: is('maker', me), reason: 'nobody approves his own' },
    ],
  };
}

function declared(kind: string): AnalysisOptions {
  return {
    sensitive: [`${kind}.approve`, `${kind}.export`],
    duties: [{ actions: [`${kind}.create`, `${kind}.approve`] }],
    approvals: [{ action: `${kind}.approve`, owner: 'maker' }],
  };
}

const add = (policy: PolicyDocument, ...grants: GrantDocument[]): PolicyDocument => ({
  ...policy,
  grants: [...policy.grants, ...grants],
});
const forbid = (
  policy: PolicyDocument,
  extra: Partial<PolicyDocument['forbids'][number]>,
  action: string,
) => ({
  ...policy,
  forbids: [...policy.forbids, { id: 'new', actions: [action], reason: 'new', ...extra }],
});
const change = (policy: PolicyDocument, id: string, when: ConditionNode | undefined): PolicyDocument => ({
  ...policy,
  grants: policy.grants.map((each) => {
    if (each.id !== id) return each;
    const { when: _, ...rest } = each;
    return when === undefined ? rest : { ...rest, when };
  }),
});

/** Name, finding and subject to be found, and how to spoil a clean policy. */
type Fault = readonly [
  string,
  FindingId,
  (kind: string) => string,
  (policy: PolicyDocument, kind: string) => PolicyDocument,
];
const FAULTS: readonly Fault[] = [
  [
    'a role with everything',
    'blanket-admin',
    () => 'root',
    (p, k) => {
      const actions = [...['read', 'create', 'approve', 'export'].map((a) => `${k}.${a}`), 'report.read'];
      return add({ ...p, roles: [...p.roles, 'root'] }, { id: 'root', roles: ['root'], actions });
    },
  ],
  [
    'a role with everything, by conditions that are always true',
    'blanket-admin',
    () => 'root',
    (p, k) => {
      const actions = ['read', 'create', 'approve', 'export'].map((a) => `${k}.${a}`);
      const of: ConditionNode[] = (['timeWindow', 'outsideTimeWindow'] as const).map((op) => ({
        op,
        from: 5,
      }));
      return add(
        { ...p, roles: [...p.roles, 'root'] },
        { id: 'root', roles: ['root'], actions: [...actions, 'report.read'], when: { op: 'any', of } },
      );
    },
  ],
  [
    'a condition that contradicts itself',
    'dead-grant',
    () => 'dead',
    (p, k) =>
      add(p, {
        id: 'dead',
        roles: ['reader'],
        actions: [`${k}.create`],
        when: { op: 'all', of: [is('status', 'draft'), is('status', 'open')] },
      }),
  ],
  [
    'an empty range',
    'dead-grant',
    () => 'dead',
    (p, k) =>
      add(p, {
        id: 'dead',
        roles: ['reader'],
        actions: [`${k}.create`],
        when: {
          op: 'all',
          of: [
            { op: 'lessThan', left: at('amount'), right: 5 },
            { op: 'moreThan', left: at('amount'), right: 3 },
            { op: 'notEquals', left: at('amount'), right: 4 },
          ],
        },
      }),
  ],
  [
    'a grant that a forbid always refuses',
    'dead-grant',
    () => 'dead',
    (p, k) => add(p, { id: 'dead', roles: ['checker'], actions: [`${k}.approve`], when: is('maker', me) }),
  ],
  [
    'a grant inside another',
    'shadowed-grant',
    () => 'twice',
    (p, k) => add(p, { id: 'twice', roles: ['reader'], actions: [`${k}.read`], when: is('maker', me) }),
  ],
  [
    'a range covered by two others',
    'shadowed-grant',
    () => 'middle',
    (p, k) => {
      const grant = (id: string, op: 'atLeast' | 'lessThan' | 'equals', right: number): GrantDocument => ({
        id,
        roles: ['reader'],
        actions: [`${k}.create`],
        when: { op, left: at('amount'), right } as ConditionNode,
      });
      return add(p, grant('low', 'lessThan', 5), grant('high', 'atLeast', 5), grant('middle', 'equals', 5));
    },
  ],
  ['a forbid of everything', 'total-forbid', () => 'new', (p, k) => forbid(p, {}, `${k}.read`)],
  [
    'a forbid that nothing lifts',
    'total-forbid',
    () => 'new',
    (p, k) =>
      forbid(p, { unless: { op: 'all', of: [is('status', 'open'), is('status', 'draft')] } }, `${k}.read`),
  ],
  [
    'a forbid that comes too late',
    'dead-forbid',
    () => 'new',
    (p, k) => forbid(p, { unless: { op: 'mfa' } }, `${k}.export`),
  ],
  ['a role without a grant', 'unused-role', () => 'ghost', (p) => ({ ...p, roles: [...p.roles, 'ghost'] })],
  [
    'an action nobody has',
    'unused-action',
    () => 'report.purge',
    (p) => ({
      ...p,
      resources: { ...p.resources, report: { actions: ['read', 'purge'], attributes: { author: 'string' } } },
    }),
  ],
  [
    'maker and checker in one',
    'duty-conflict',
    (k) => `${k}.create + ${k}.approve`,
    (p, k) =>
      add(p, { id: 'both', roles: ['checker'], actions: [`${k}.create`], when: is('status', 'draft') }),
  ],
  ['no forbid of self-approval', 'self-approval', (k) => `${k}.approve`, (p) => ({ ...p, forbids: [] })],
  [
    'a forbid of self-approval that a factor lifts',
    'self-approval',
    (k) => `${k}.approve`,
    (p) => ({
      ...p,
      forbids: p.forbids.map((each) => ({ ...each, unless: { op: 'mfa' } as const })),
    }),
  ],
  [
    'approval without a second factor',
    'mfa-missing',
    (k) => `${k}.approve`,
    (p) => change(p, 'approve', undefined),
  ],
  [
    'a second factor in one branch only',
    'mfa-missing',
    (k) => `${k}.export`,
    (p) => change(p, 'export', { op: 'any', of: [{ op: 'mfa' }, { op: 'acrAtLeast', acr: 'high' }] }),
  ],
];

describe('findings', () => {
  test.each(BASES)('none on the clean policy of %s', (kind, when) => {
    expect(analyze(policyFromJSON(base(kind, when)), declared(kind))).toEqual([]);
  });

  const seeded = BASES.flatMap(([kind, when]) =>
    FAULTS.map((fault) => [fault[0], kind, when, fault] as const),
  );
  test.each(seeded)('%s is found in %s', (_, kind, when, [, id, subject, spoil]) => {
    const policy = policyFromJSON(spoil(base(kind, when), kind));
    const found = analyze(policy, declared(kind));
    const hit = found.find((each) => each.id === id && each.subject === subject(kind));
    expect(hit, JSON.stringify(found.map((each) => [each.id, each.subject]))).toBeDefined();
    for (const { witness } of found) if (witness !== undefined) expect(effect(policy, witness)).toBe('allow');
  });

  test('there are at least forty seeded faults', () => expect(seeded.length).toBeGreaterThanOrEqual(40));

  test('of declared checks name every role they hold for, not one of each kind', () => {
    const policy = base('entry', { op: 'atMost', left: at('amount'), right: 9 });
    const twins = {
      ...policy,
      roles: [...policy.roles, 'auditor', 'controller'],
      grants: [
        ...policy.grants,
        {
          id: 'open',
          roles: ['auditor', 'controller', 'maker'],
          actions: ['entry.approve', 'entry.create'],
        },
      ],
      forbids: [],
    };
    const found = analyze(policyFromJSON(twins), declared('entry'));
    const all = ['auditor', 'controller', 'maker'];
    expect(found.flatMap(({ id, roles }) => (roles === undefined ? [] : [[id, roles]]))).toEqual([
      ['duty-conflict', all],
      ['self-approval', ['auditor', 'checker', 'controller', 'maker']],
      ['mfa-missing', all],
    ]);
  });

  test('of roles that one member may hold together: what neither does alone, and both do', () => {
    const clean = base('entry', { op: 'atMost', left: at('amount'), right: 9 });
    const duties = [{ actions: ['entry.create', 'entry.approve'] as const }];
    const conflicts = (document: PolicyDocument, options: AnalysisOptions) =>
      analyze(policyFromJSON(document), { duties, ...options }).flatMap(({ id, roles, witness }) => {
        if (id !== 'duty-conflict' || witness === undefined) return [];
        expect(effect(policyFromJSON(document), witness)).toBe('allow');
        expect(witness.principal?.roles).toEqual([...(roles ?? [])]);
        return [roles];
      });
    for (const options of [{}, { combinations: [] }, { combinations: [['maker'], ['checker', 'reader']] }]) {
      expect(conflicts(clean, options)).toEqual([]);
    }
    const both = [['maker', 'checker']];
    for (const combinations of [
      'any',
      [['reader', 'checker', 'maker']],
      [['reader'], ['checker', 'maker']],
    ] as const) {
      expect(conflicts(clean, { combinations })).toEqual(both);
    }
    const apart = [
      forbid(clean, { roles: ['maker'] }, 'entry.approve'),
      forbid(clean, { roles: ['checker'] }, 'entry.create'),
    ];
    for (const document of apart) expect(conflicts(document, { combinations: 'any' })).toEqual([]);
    const own = [{ actions: ['entry.create', 'entry.approve'] as const, owner: 'maker' }];
    expect(conflicts(clean, { combinations: 'any', duties: own })).toEqual([]);
    const alone = add(clean, { id: 'both', roles: ['checker'], actions: ['entry.create'] });
    expect(conflicts(alone, { combinations: 'any' })).toEqual([['checker']]);
    expect(() => conflicts(clean, { combinations: [['maker', 'cheker']] })).toThrow('"cheker" is not a role');
  });

  test('a declared action or attribute that does not exist is refused, not passed over', () => {
    const policy = policyFromJSON(base('entry', { op: 'mfa' }));
    expect(() => analyze(policy, { sensitive: ['entry.aprove'] })).toThrow('unknown action "entry.aprove"');
    expect(() => analyze(policy, { approvals: [{ action: 'entry.approve', owner: 'author' }] })).toThrow(
      'no attribute',
    );
  });
});

function effect(policy: Policy, inputs: Parameters<typeof factsOf>[1]): string | undefined {
  return LEVELS[evaluate(factsOf(indexOf(policy), inputs)).level];
}

describe('the semantic difference', () => {
  test('of random policies: each change replays, and equal effects have no change', () => {
    fc.assert(
      fc.property(policyDocument, policyDocument, fc.boolean(), (one, two, drop) => {
        const before = policyFromJSON(one);
        const after = policyFromJSON(drop ? { ...one, grants: one.grants.slice(1) } : two);
        expect(diff(before, before)).toEqual([]);
        for (const { before: was, after: is_, witness } of diff(before, after)) {
          expect(effect(before, witness)).toBe(was);
          expect(effect(after, witness)).toBe(is_);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('is empty for equal policies written differently', () => {
    const policy = base('entry', { op: 'atMost', left: at('amount'), right: 9 });
    const split = add(
      { ...policy, grants: policy.grants.filter(({ id }) => id !== 'read') },
      ...policy.roles.map((role) => ({ id: `read-${role}`, roles: [role], actions: ['entry.read'] })),
    );
    const other = change(split, 'approve', {
      op: 'all',
      of: [{ op: 'mfa' }, { op: 'any', of: [{ op: 'lessThan', left: at('amount'), right: 10 }] }],
    });
    expect(diff(policyFromJSON(policy), policyFromJSON(other))).toEqual([]);
  });

  test('names everybody who sees a change, and two roles together only where neither sees it alone', () => {
    const policy = base('entry', { op: 'mfa' });
    const three = { ...policy, roles: [...policy.roles, 'second', 'third'] };
    const wider = add(three, { id: 'w', roles: ['second', 'third'], actions: ['entry.export'] });
    const opened = diff(policyFromJSON(three), policyFromJSON(wider));
    expect(opened.map(({ action, roles }) => [action, roles])).toEqual([
      ['entry.export', [['second'], ['third']]],
    ]);
    const barred = {
      ...wider,
      forbids: [
        ...wider.forbids,
        { id: 'b', roles: ['reader', 'maker'], actions: ['entry.export'], reason: 'no' },
      ],
    };
    const closed = diff(policyFromJSON(wider), policyFromJSON(barred));
    const sets = closed
      .find(({ before }) => before === 'allow')
      ?.roles.map((roles) => [...roles].sort().join('+'));
    expect(sets?.sort()).toEqual(
      ['checker', 'second', 'third']
        .flatMap((a) =>
          [
            [a, 'maker'],
            [a, 'reader'],
          ].map((pair) => pair.sort().join('+')),
        )
        .sort(),
    );
  });

  test('says what a dropped second factor newly allows', () => {
    const policy = base('entry', { op: 'atMost', left: at('amount'), right: 9 });
    const changes = diff(
      policyFromJSON(policy),
      policyFromJSON(change(policy, 'approve', { op: 'atMost', left: at('amount'), right: 9 })),
    );
    expect(changes.map(({ kind, action, roles, before }) => ({ kind, action, roles, before }))).toEqual([
      { kind: 'newly_allowed', action: 'entry.approve', roles: [['checker']], before: 'step_up' },
    ]);
  });
});
