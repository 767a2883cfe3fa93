/**
 * Writes to a table with triggers. A trigger may refuse a row before the policy is asked, with any SQLSTATE, or put the row into
 * the own organisation: what that proves is told by the same statement with a row of its own, with no row at all, and by the rows
 * of the other organisation before and after. Without triggers a write needs none of these.
 */
import { CONTEXT, type Step, type StepResult } from './probe-session.ts';
import type { AttackName } from './report.ts';
import { quoted } from './sample-values.ts';
import { ORG_COLUMN } from './seed-order.ts';
import { quotedName } from './statements.ts';
import { type Attack, describeFailure, isConstraint, type Judge, type Verdict } from './verdict.ts';

/** A write to attack with. */
export interface Write {
  readonly relation: string;
  readonly attack: AttackName;
  readonly judge: Judge;
  readonly step: Step;
  /** The same with no row. */
  readonly nothing: string;
  /** The same with a row of its own; left out where the attacker has none, so that any row is a foreign one. */
  readonly own?: string;
  /** What shows where a new row ends, when the write itself may meet one that is there. Default: the write. */
  readonly lands?: string;
}

/** The attack of a write; with its controls where the table has triggers. */
export function writeAttack(write: Write, triggers: boolean, foreign: string): Attack {
  const { relation, attack, judge, step, nothing, own, lands = step[1] } = write;
  if (!triggers)
    return { relation, attack, lists: [[step]], judge: ([result]) => judge(result as StepResult) };
  const [context] = step;
  if (own === undefined)
    return {
      relation,
      attack,
      lists: [[step], [[context, nothing]]],
      judge: ([result, none]) => judgeForeign(judge, result as StepResult, none as StepResult),
    };
  // As the role of the connection: the app role does not see what it may have written.
  const asOwner: Step = [CONTEXT.foreign, 'set local role none'];
  const count: Step = [
    CONTEXT.foreign,
    `select from ${quotedName(relation)} where ${ORG_COLUMN} = ${quoted(foreign)}`,
  ];
  return {
    relation,
    attack,
    lists: [
      [step],
      [[context, nothing]],
      [[context, own]],
      [asOwner, count],
      [[context, lands], asOwner, count],
    ],
    judge: (results) => judgeOwn(judge, results as Results),
  };
}

type Results = readonly [
  result: StepResult,
  nothing: StepResult,
  own: StepResult,
  before: StepResult,
  after: StepResult,
];

/** A function of the user raised it. */
function isRaised({ state, place, constraint }: StepResult): boolean {
  return state !== '00000' && place !== '' && !constraint.startsWith('tenancy.');
}

function alike(a: StepResult, b: StepResult): boolean {
  return a.state === b.state && a.place === b.place;
}

function judgeForeign(judge: Judge, result: StepResult, nothing: StepResult): Verdict {
  return isRaised(result) && alike(result, nothing) ? refusedAlways(result) : judge(result);
}

function judgeOwn(judge: Judge, [result, nothing, own, before, after]: Results): Verdict {
  if (isRaised(result)) {
    if (alike(result, nothing)) return refusedAlways(result);
    return own.state === '00000' || isConstraint(own)
      ? {
          outcome: 'contained',
          evidence: `refused where a row of its own passes: ${describeFailure(result)}`,
        }
      : judge(result);
  }
  const verdict = judge(result);
  const stays = after.state === '00000' && before.rows > 0 && before.rows === after.rows;
  return verdict.outcome === 'crossed' && result.state === '00000' && stays
    ? { outcome: 'contained', evidence: 'a trigger keeps the row in the own organisation' }
    : verdict;
}

function refusedAlways(result: StepResult): Verdict {
  return { outcome: 'contained', evidence: `refused whatever the row: ${describeFailure(result)}` };
}
