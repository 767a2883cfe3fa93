import { describe, expect, test } from 'vitest';
import { Evidence } from '../src/analyze/evidence.ts';
import { diff, type RecordedDecision, type ShrinkOptions, shrink } from '../src/analyze/index.ts';
import { prove } from '../src/analyze/shrink.ts';
import { indexOf } from '../src/implication.ts';
import {
  any,
  decisionInputs,
  decisionRecord,
  definePolicy,
  equals,
  type Policy,
  policyFromJSON,
  principal,
  resource,
} from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { NOW, ORG } from './model.ts';

const policy = definePolicy({
  resources: {
    entry: {
      actions: ['read', 'post', 'remove'],
      attributes: { status: ['draft', 'posted', 'closed'], createdBy: 'string' },
    },
  },
  roles: ['bookkeeper', 'controller', 'owner'],
  grants: [
    { id: 'reads', roles: ['bookkeeper', 'controller', 'owner'], actions: ['entry.read'] },
    {
      id: 'works',
      roles: ['bookkeeper', 'controller'],
      actions: ['entry.post', 'entry.remove'],
      when: any(equals(resource('createdBy'), principal('id')), equals(resource('status'), 'draft')),
    },
    { id: 'removes', roles: ['owner'], actions: ['entry.remove'] },
  ],
  forbids: [
    { id: 'closed', actions: ['entry.post'], when: equals(resource('status'), 'closed'), reason: 'closed' },
  ],
});
const anyPolicy = policy as unknown as Policy;
type Role = 'bookkeeper' | 'controller' | 'owner';
type Action = 'entry.read' | 'entry.post' | 'entry.remove';

interface Asked {
  readonly status?: 'draft' | 'posted' | 'closed';
  readonly createdBy?: string;
  readonly mfa?: boolean;
}

function decided(
  roles: Role[],
  action: Action,
  { mfa = false, ...attributes }: Asked = {},
): RecordedDecision {
  const session = unsafeSessionFacts({ mfa });
  const context = { principal: { id: 'user:ada', org: ORG, roles }, now: NOW, session };
  const decision = policy.authorize(context, action, { org: ORG, id: 'entry:1', ...attributes });
  return { record: decisionRecord(decision), inputs: decisionInputs(decision) };
}

const bare = ({ record }: RecordedDecision): RecordedDecision => ({ record });

async function* stream(...records: readonly unknown[]): AsyncGenerator<RecordedDecision> {
  for (const record of records) yield record as RecordedDecision;
}

const shrunk = (records: readonly unknown[], options: ShrinkOptions = { narrowFrom: 1 }) =>
  shrink(anyPolicy, stream(...records), options);

async function refusal(...records: readonly unknown[]): Promise<string> {
  const error: unknown = await shrunk(records).catch((thrown: unknown) => thrown);
  return `${(error as { code?: string }).code}: ${(error as Error).message}`;
}

describe('shrink', () => {
  test('takes away grants, actions and roles nobody used, and proves it', async () => {
    const records = [
      decided(['bookkeeper'], 'entry.read'),
      decided(['bookkeeper', 'owner'], 'entry.read'),
      decided(['controller'], 'entry.post', { status: 'draft', createdBy: 'user:bob' }),
      decided(['controller'], 'entry.post', { status: 'posted', createdBy: 'user:ada' }),
      decided(['owner'], 'entry.post'),
    ];
    const { policy: smaller, counts, proof } = await shrunk(records);
    expect(smaller.toJSON().grants).toMatchObject([
      { id: 'reads', roles: ['bookkeeper'], actions: ['entry.read'] },
      { id: 'works', roles: ['controller'], actions: ['entry.post'] },
    ]);
    expect(smaller.toJSON().forbids).toEqual(anyPolicy.toJSON().forbids);
    expect(counts).toEqual({ total: 5, allows: 4, refusals: 1, otherPolicy: 0 });
    expect(proof).toEqual({
      replayed: 4,
      kept: 0,
      lost: [],
      unproven: 0,
      implication: { implied: true },
      holds: true,
    });
    expect(diff(anyPolicy, smaller).every(({ after }) => after === 'deny')).toBe(true);
  });

  test('narrows to what every allow satisfied: an alternative, a listed value, a second factor', async () => {
    const mine = { status: 'posted', createdBy: 'user:ada', mfa: true } as const;
    const { policy: smaller, changes, proof } = await shrunk([decided(['bookkeeper'], 'entry.post', mine)]);
    const left = (attribute: string) => ({ ref: 'resource', attribute });
    const when = {
      op: 'all',
      of: [
        { op: 'equals', left: left('createdBy'), right: { ref: 'principal', attribute: 'id' } },
        { op: 'equals', left: left('status'), right: 'posted' },
        { op: 'mfa' },
      ],
    };
    expect(smaller.toJSON().grants).toEqual([
      { id: 'works', roles: ['bookkeeper'], actions: ['entry.post'], when },
    ]);
    expect(changes.find(({ action, grant }) => grant === 'works' && action === 'entry.post')).toMatchObject({
      allows: 1,
      removedRoles: ['controller'],
    });
    expect(proof.holds).toBe(true);
  });

  test('narrows nothing from fewer allows than asked for, and none by default from a handful', async () => {
    const record = decided(['bookkeeper'], 'entry.post', { status: 'draft', createdBy: 'user:ada' });
    const { policy: kept } = await shrunk([record], {});
    expect(kept.toJSON().grants).toEqual([{ ...anyPolicy.toJSON().grants[2], actions: ['entry.post'] }]);
  });

  test('an action whose part is narrower gets a grant of its own with an id that was free', async () => {
    const { policy: split, proof } = await shrunk([
      decided(['bookkeeper'], 'entry.remove', { status: 'draft' }),
      decided(['controller'], 'entry.post', { status: 'draft' }),
    ]);
    expect(split.toJSON().grants.map(({ id, actions }) => [id, actions])).toEqual([
      ['works', ['entry.post']],
      ['works-2', ['entry.remove']],
    ]);
    expect(proof.holds).toBe(true);
  });

  test('without inputs a used grant keeps roles and condition, for the used action alone', async () => {
    const record = decided(['bookkeeper'], 'entry.post', { status: 'draft' });
    const { policy: smaller, proof } = await shrunk([bare(record), record]);
    expect(smaller.toJSON().grants).toEqual([{ ...anyPolicy.toJSON().grants[2], actions: ['entry.post'] }]);
    expect(proof).toMatchObject({ kept: 1, replayed: 1, unproven: 0, holds: true });
  });

  test('counts records of other policies apart, and refuses a log without an allow of this one', async () => {
    const record = decided(['owner'], 'entry.read');
    const other = { record: { ...record.record, policy: '0'.repeat(64) } };
    const { counts } = await shrunk([record, other]);
    expect(counts).toMatchObject({ total: 2, allows: 1, otherPolicy: 1 });
    expect(await refusal(other)).toMatch(/^authz.invalid_record: none of 1 records is an allow of policy /);
    expect(await refusal()).toMatch(/^authz.invalid_record: none of 0 records/);
  });

  const good = decided(['bookkeeper'], 'entry.post', { status: 'draft' });
  const changed = (part: object) => [good, { record: { ...good.record, ...part } }];
  test.each<[string, readonly unknown[], RegExp]>([
    ['nothing', [good, null], /^authz.invalid_record: record 2 is not an object/],
    ['no record', [good, {}], /record 2 has no record/],
    ['another version', changed({ version: 2 }), /record 2 is not of version 1/],
    ['no policy', changed({ policy: 'x' }), /record 2 names no policy/],
    ['an unknown effect', changed({ effect: 'Allow' }), /record 2 has no known effect/],
    ['no hash of inputs', changed({ inputs: 'aa' }), /record 2 has no hash/],
    ['a hash in capitals', changed({ inputs: 'A'.repeat(64) }), /record 2 has no hash/],
    ['a hash with a g', changed({ inputs: `${'a'.repeat(63)}g` }), /record 2 has no hash/],
    ['a hash with a colon', changed({ inputs: `${'0'.repeat(63)}:` }), /record 2 has no hash/],
    ['an unknown grant', changed({ grant: 'toString' }), /record 2 is an allow that no grant/],
    ['no grant', changed({ grant: undefined }), /record 2 is an allow that no grant/],
    ['a grant without the action', changed({ grant: 'reads' }), /record 2 is an allow that no grant/],
    ['an unknown action', changed({ action: '__proto__' }), /record 2 is an allow that no grant/],
    ['an allow with a forbid', changed({ forbid: 'closed' }), /record 2 is an allow that no grant/],
    ['a refusal without an action', changed({ effect: 'deny', action: 7 }), /record 2 names no action/],
    [
      'inputs of another record',
      [{ ...good, inputs: decided(['owner'], 'entry.read').inputs }],
      /^authz.replay_mismatch/,
    ],
    ['malformed inputs', [{ ...good, inputs: { action: 1 } }], /^authz.invalid_request/],
    [
      'a deny that says it is an allow',
      [
        (() => {
          const denied = decided(['owner'], 'entry.post');
          return {
            ...denied,
            record: { ...denied.record, effect: 'allow', grant: 'works', forbid: undefined },
          };
        })(),
      ],
      /record 1 is not how the policy decides/,
    ],
    [
      'a deny by a forbid that says it is an allow of the grant it overrides',
      [
        (() => {
          const denied = decided(['bookkeeper'], 'entry.post', { status: 'closed', createdBy: 'user:ada' });
          expect(denied.record).toMatchObject({ effect: 'deny', grant: 'works', forbid: 'closed' });
          return { ...denied, record: { ...denied.record, effect: 'allow', forbid: undefined } };
        })(),
      ],
      /record 1 is not how the policy decides/,
    ],
    [
      'an allow that names another grant of the action',
      [
        (() => {
          const allowed = decided(['owner'], 'entry.remove');
          return { ...allowed, record: { ...allowed.record, grant: 'works' } };
        })(),
      ],
      /record 1 is not how the policy decides/,
    ],
    [
      'an action other than that of its inputs',
      [{ ...good, record: { ...good.record, action: 'entry.remove' } }],
      /record 1 has inputs of another action/,
    ],
  ])('refuses %s', async (_, records, message) => {
    expect(await refusal(...records)).toMatch(message);
  });
});

describe('the proof', () => {
  const evidence = new Evidence(indexOf(anyPolicy));
  const mine = decided(['bookkeeper'], 'entry.post', { status: 'posted', createdBy: 'user:ada' });
  for (const record of [mine, bare(decided(['owner'], 'entry.read'))]) evidence.add(record);
  const document = anyPolicy.toJSON();
  const [reads, , works] = document.grants;
  if (reads === undefined || works === undefined) throw new Error('the policy changed');
  const proofOf = (part: object) => prove(anyPolicy, policyFromJSON({ ...document, ...part }), evidence.uses);

  test('holds for the policy itself', () => expect(proofOf({}).holds).toBe(true));

  test('fails when an allow is lost', () => {
    const when = { op: 'equals', left: { ref: 'resource', attribute: 'status' }, right: 'draft' };
    const { holds, lost } = proofOf({ grants: [reads, { ...works, when }] });
    expect([holds, lost]).toEqual([false, [mine.inputs]]);
  });

  test('fails when something is new', () => {
    const { holds, implication } = proofOf({
      grants: [reads, { id: 'works', roles: works.roles, actions: works.actions }],
    });
    expect([holds, implication.implied, implication.witness?.action]).toEqual([false, false, 'entry.post']);
  });

  test.each<[string, object]>([
    ['the grant of an allow without inputs lost a role', { grants: [works, { ...reads, roles: ['owner'] }] }],
    ['it got a condition', { grants: [works, { ...reads, when: { op: 'mfa' } }] }],
    ['a forbid came', { forbids: [...document.forbids, { id: 'f', actions: ['entry.read'], reason: 'no' }] }],
  ])('fails when %s', (_, part) => {
    expect(proofOf(part)).toMatchObject({ holds: false, unproven: 1, lost: [] });
  });
});

test('every random log is replayed by the result without a loss', async () => {
  const roles = [['bookkeeper'], ['controller'], ['owner'], ['bookkeeper', 'controller']] as Role[][];
  const actions = ['entry.read', 'entry.post', 'entry.remove'] as const;
  for (let seed = 1; seed <= 60; seed += 1) {
    let state = seed;
    const next = (n: number): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state % n;
    };
    const records = Array.from({ length: 1 + next(12) }, () =>
      decided(roles[next(4)] as Role[], actions[next(3)] as Action, {
        ...(next(4) === 0 ? {} : { status: (['draft', 'posted', 'closed'] as const)[next(3)] as 'draft' }),
        ...(next(4) === 0 ? {} : { createdBy: ['user:ada', 'user:bob'][next(2)] as string }),
        mfa: next(2) === 0,
      }),
    );
    const allows = records.filter(({ record }) => record.effect === 'allow');
    if (allows.length === 0) continue;
    const { policy: smaller, proof } = await shrunk(records);
    expect(proof).toMatchObject({ holds: true, replayed: allows.length });
    for (const { inputs } of allows) {
      const {
        principal: who,
        resource: what,
        session,
        action,
      } = inputs as never as ReturnType<typeof decisionInputs>;
      const context = {
        principal: { ...who, org: ORG },
        now: NOW,
        session: unsafeSessionFacts(session ?? { mfa: false }),
      };
      const again = smaller.authorize(
        context as never,
        action as never,
        { ...what?.attributes, org: ORG, id: 'entry:1' } as never,
      );
      expect(again.effect).toBe('allow');
    }
  }
});
