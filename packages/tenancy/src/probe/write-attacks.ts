/**
 * The attacks on writes that reads do not stand for: policies differ by command, or check a new row by another expression, or the
 * app role may not read. Then each command has to refuse a missing, a forged and an expired context, and a stale plan, by itself.
 */
import type { AttackedTable } from './attacked-table.ts';
import { CONTEXT, type Step } from './probe-session.ts';
import { quoted } from './sample-values.ts';
import { ORG_COLUMN } from './seed-order.ts';
import { column, insertOf, quotedName } from './statements.ts';
import { type Attack, expired, type Judge, noContext, noRows, refused } from './verdict.ts';

/** EXECUTE counts no rows that it writes. This names no column, so that it asks for no right, and no policy, to read. */
const FAILS_ON_A_ROW = '1 / pg_catalog.floor(pg_catalog.random())::int = 1';

const reachesNoRow: Judge = (result) =>
  result.state === '22012'
    ? { outcome: 'crossed', evidence: 'a plan made under another context still reaches its rows' }
    : noRows(result);

/** INSERT, UPDATE and DELETE under each context that has to be refused, and by a plan made under another context. */
export function writeAttacks(table: AttackedTable): Attack[] {
  const { name, signed, spare, foreignSpare } = table;
  const [own, foreign] = table.orgs.map((org) => quoted(org)) as [string, string];
  const t = quotedName(name);
  const update = (org: string) =>
    `update ${t} set ${column(table.updatable)} = ${table.updatable === ORG_COLUMN ? org : 'default'}`;
  const remove = `delete from ${t}`;
  const inserts = refused('writes a row');
  const make = (attack: Attack['attack'], object: string, judge: Judge, ...steps: Step[]): Attack => ({
    relation: name,
    attack,
    object,
    lists: [steps],
    judge: ([result]) => judge(result as never),
  });
  const under = (attack: Attack['attack'], context: number, org: string, judge: Judge): Attack[] => [
    make(attack, 'insert', inserts, [context, insertOf(name, org === own ? spare : foreignSpare)]),
    make(attack, 'update', judge, [context, update(org)]),
    make(attack, 'delete', judge, [context, remove]),
  ];
  // EXPLAIN makes the plan under the own context, and writes nothing that the statement under the other one could meet.
  const stale = (object: string, judge: Judge, statement: string, context: number): Attack =>
    make(
      'stale plan',
      object,
      judge,
      [CONTEXT.own, `prepare ringfence_probe as ${statement}`],
      [CONTEXT.own, 'explain execute ringfence_probe'],
      [context, 'execute ringfence_probe'],
    );
  return [
    ...under('no context', CONTEXT.none, own, noContext),
    ...under('forged context', CONTEXT.forged, foreign, noRows),
    ...(signed ? under('expired context', CONTEXT.expired, own, expired) : []),
    stale('insert', inserts, insertOf(name, spare), CONTEXT.foreign),
    stale('update', reachesNoRow, `${update(own)} where ${FAILS_ON_A_ROW}`, CONTEXT.empty),
    stale('delete', reachesNoRow, `${remove} where ${FAILS_ON_A_ROW}`, CONTEXT.empty),
  ];
}

/** A row of no organisation is one that all may see, or none. */
export function ownerlessAttacks({ name, spare }: AttackedTable): Attack[] {
  const statements = {
    insert: insertOf(name, new Map([...spare, [ORG_COLUMN, 'null']])),
    move: `update ${quotedName(name)} set ${ORG_COLUMN} = null`,
  };
  return Object.entries(statements).map(([attack, statement]) => ({
    relation: name,
    attack: attack as keyof typeof statements,
    object: 'null',
    lists: [[[CONTEXT.own, statement]]],
    judge: ([result]) => refused('writes a row of no organisation')(result as never),
  }));
}
