/**
 * Decision records read per CPU second by `shrink`, proof included: `ringfence` records as they stand in the log,
 * `with-inputs` records whose inputs are checked against their hash and decided again, one by one.
 */

import type { BenchCase, Subject } from '../../../tools/bench/suite.ts';
import { type RecordedDecision, shrink } from '../src/analyze/index.ts';
import { decisionInputs, decisionRecord, parseOrgId, policyFromJSON } from '../src/index.ts';
import { generator } from './model.ts';

/** The log is so many times the records in memory: the proof at the end costs the same for any number. */
const TIMES = 5;
const COUNT = 200_000;
const WITH_INPUTS = 10_000;
const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const ACTIONS = ['read', 'list', 'write', 'remove', 'approve'] as const;

/** Case `shrink`. */
export const shrinkCases: readonly BenchCase[] = [
  {
    id: 'shrink',
    unit: 'records/CPU-s',
    rounds: 5,
    prepare: async () => ({ subjects: subjects(), close: async () => {} }),
  },
];

/** Ten roles, sixty actions, one grant for each pair of them; records as they come from a parser, no string shared. */
function subjects(): Subject[] {
  const kinds = Array.from({ length: 12 }, (_, kind) => `res${kind}`);
  const roles = Array.from({ length: 10 }, (_, role) => `role${role}`);
  const actions = kinds.flatMap((kind) => ACTIONS.map((action) => `${kind}.${action}`));
  const owner = {
    op: 'equals',
    left: { ref: 'resource', attribute: 'owner' },
    right: { ref: 'principal', attribute: 'id' },
  };
  const policy = policyFromJSON({
    resources: Object.fromEntries(
      kinds.map((kind) => [
        kind,
        { actions: ACTIONS, attributes: { owner: 'string', status: ['draft', 'open'] } },
      ]),
    ),
    roles,
    grants: roles.flatMap((role) =>
      actions.map((action, k) => ({
        id: `${role}-${action.replace('.', '-')}`,
        roles: [role],
        actions: [action],
        ...(k % 2 === 0 ? { when: owner } : {}),
      })),
    ),
  });
  const next = generator(3);
  const make = (id: number): RecordedDecision => {
    const context = {
      principal: { id: 'user:1', org: ORG, roles: [roles[next(10)] as string] },
      now: 1_800_000_000_000 + id,
    };
    const action = actions[next(actions.length)] as (typeof policy.actions)[number];
    const decision = policy.authorize(context, action, {
      org: ORG,
      id: `res:${id}`,
      owner: 'user:1',
    } as never);
    return { record: decisionRecord(decision), inputs: decisionInputs(decision) };
  };
  const withInputs: RecordedDecision[] = JSON.parse(
    JSON.stringify(Array.from({ length: WITH_INPUTS }, (_, id) => make(id))),
  );
  const bare = Array.from({ length: COUNT / WITH_INPUTS }, () =>
    JSON.parse(JSON.stringify(withInputs.map(({ record }) => ({ record })))),
  ).flat() as RecordedDecision[];
  const subject = (name: string, records: readonly RecordedDecision[], times: number): Subject => ({
    name,
    measure: async () => {
      const start = process.cpuUsage();
      await shrink(policy, streamed(records, times));
      const { system, user } = process.cpuUsage(start);
      return ((records.length * times) / (user + system)) * 1_000_000;
    },
  });
  return [subject('ringfence', bare, TIMES), subject('with-inputs', withInputs, 10)];
}

async function* streamed(
  records: readonly RecordedDecision[],
  times: number,
): AsyncGenerator<RecordedDecision> {
  for (let time = 0; time < times; time += 1) for (const record of records) yield record;
}
