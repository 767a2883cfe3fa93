/**
 * The attacks on one org-owned table and its partitions, as the app role in the context of the first organisation; the rows
 * of the second one are the prey. Each is undone before the next.
 */
import type { AttackedKey, AttackedTable } from './attacked-table.ts';
import { CONTEXT, type Step } from './probe-session.ts';
import { quoted } from './sample-values.ts';
import { ORG_COLUMN } from './seed-order.ts';
import { column, insertOf, insertOfNone, quotedName, type Row } from './statements.ts';
import { type Write, writeAttack } from './trigger-controls.ts';
import {
  type Attack,
  expired,
  type Judge,
  noCascade,
  noContext,
  noOwnership,
  noRows,
  noTruncate,
  ownRows,
  refused,
  sameRefusal,
} from './verdict.ts';
import { ownerlessAttacks, writeAttacks } from './write-attacks.ts';

/** Begins the question whether the app role is a member of a role: the same for all tables of one owner. */
export const MEMBERSHIP = 'select where pg_catalog.pg_has_role(current_user, ';

/**
 * All attacks on a table. Reading the own rows, those of the other organisation, with a stale plan, and under a context that has
 * to be refused share one prepared statement, as they do in an app. Its plan is always made under the own context: what a plan
 * had folded in would still be there when the context is missing or forged.
 */
export function tableAttacks(table: AttackedTable): Attack[] {
  const [own, foreign] = table.orgs.map((org) => quoted(org)) as [string, string];
  const one = (attack: Attack['attack'], judge: Judge, ...steps: Step[]): Attack => ({
    relation: table.name,
    attack,
    lists: [steps],
    judge: ([result]) => judge(result as never),
  });
  const t = quotedName(table.name);
  const as = (statement: string): Step => [CONTEXT.own, statement];
  const key = table.primaryKey.filter((name) => name !== ORG_COLUMN);
  const u = column(table.updatable);
  const write = (rest: Omit<Write, 'relation'>): Attack =>
    writeAttack({ relation: table.name, ...rest }, table.triggers, table.orgs[1]);
  const onKey = `on conflict (${table.primaryKey.map(column).join(', ')})`;
  const inserts = (attack: Attack['attack'], what: string, conflict: string): Attack =>
    write({
      attack,
      judge: refused(what),
      step: as(`${insertOf(table.name, table.foreign)} ${conflict}`),
      own: `${insertOf(table.name, table.own)} ${conflict}`,
      nothing: `${insertOfNone(table.name, table.foreign)} ${conflict}`,
      lands: insertOf(table.name, table.foreignSpare),
    });
  return [
    one(
      'own rows',
      ownRows(table.ownRows, table.privileges.includes('select')),
      as(`prepare ringfence_probe(uuid) as select from ${t} where ${ORG_COLUMN} = $1`),
      as(`execute ringfence_probe(${own})`),
    ),
    one('read by organisation', noRows, as(`execute ringfence_probe(${foreign})`)),
    readAll(table, table.name, one),
    ...(key.length === 0
      ? []
      : [
          one(
            'read by key',
            noRows,
            as(
              `select from ${t} where ${equal(table.foreign, key)} and ${ORG_COLUMN} is distinct from ${own}`,
            ),
          ),
        ]),
    one('lock', noRows, [CONTEXT.empty, `select from ${t} for update`]),
    ...writes(table, table.name),
    // without WHERE: with it, the policies for SELECT would check the new row too
    write({
      attack: 'move',
      judge: noRows,
      step: as(`update ${t} set ${ORG_COLUMN} = ${foreign}`),
      own: `update ${t} set ${ORG_COLUMN} = ${own}`,
      nothing: `update ${t} set ${ORG_COLUMN} = ${foreign} where false`,
    }),
    ...(table.primaryKey.length === 0
      ? []
      : [
          inserts(
            'upsert',
            'changes a row of another organisation',
            `${onKey} do update set ${u} = excluded.${u}`,
          ),
        ]),
    inserts('insert or ignore', 'learns that a row of another organisation exists', 'on conflict do nothing'),
    one('become owner', noOwnership, as(`${MEMBERSHIP}${quoted(table.owner)}, 'MEMBER')`)),
    one('no context', noContext, [CONTEXT.none, `execute ringfence_probe(${own})`]),
    one('forged context', noRows, [CONTEXT.forged, `execute ringfence_probe(${foreign})`]),
    ...(table.signed
      ? [one('expired context', expired, [CONTEXT.expired, `execute ringfence_probe(${own})`])]
      : []),
    one('stale plan', noRows, as(`execute ringfence_probe(${own})`), [
      CONTEXT.foreign,
      `execute ringfence_probe(${own})`,
    ]),
    ...(table.writesAlike ? [] : writeAttacks(table)),
    ...(table.ownerless ? ownerlessAttacks(table) : []),
    ...table.foreignKeys.flatMap((foreignKey) => keyAttacks(table, foreignKey)),
    ...table.partitions.flatMap((partition) => {
      const part = (attack: Attack['attack'], judge: Judge, ...steps: Step[]): Attack => ({
        ...one(attack, judge, ...steps),
        relation: partition,
      });
      const byOrganisation = as(`select from ${quotedName(partition)} where ${ORG_COLUMN} = ${foreign}`);
      return [
        part('read by organisation', noRows, byOrganisation),
        readAll(table, partition, part),
        ...writes(table, partition),
        ...(table.reached.has(partition) ? contexts(table, partition) : []),
      ];
    }),
  ];
}

/** A partition that the app role reaches is judged by policies of its own, under each context that has to be refused. */
function contexts(table: AttackedTable, partition: string): Attack[] {
  const t = quotedName(partition);
  const read = (attack: Attack['attack'], judge: Judge, context: number, of: number): Attack => ({
    relation: partition,
    attack,
    lists: [[[context, `select from ${t} where ${ORG_COLUMN} = ${quoted(table.orgs[of] ?? '')}`]]],
    judge: ([result]) => judge(result as never),
  });
  return [
    read('no context', noContext, CONTEXT.none, 0),
    read('forged context', noRows, CONTEXT.forged, 1),
    ...(table.signed ? [read('expired context', expired, CONTEXT.expired, 0)] : []),
    ...writeAttacks({ ...table, name: partition }),
  ];
}

type Make = (attack: Attack['attack'], judge: Judge, ...steps: Step[]) => Attack;

function readAll({ orgs: [own], readable }: AttackedTable, relation: string, make: Make): Attack {
  // With a right on other columns only, every statement that names org_id is refused for that: this one names none.
  if (!readable) return make('read all', noRows, [CONTEXT.empty, `select from ${quotedName(relation)}`]);
  return make('read all', noRows, [
    CONTEXT.own,
    `select from (select ${ORG_COLUMN} from ${quotedName(relation)} offset 0) r where ${ORG_COLUMN} is distinct from ${quoted(own)}`,
  ]);
}

/**
 * UPDATE and DELETE run as an organisation without rows and read no column: a WHERE clause would put the policies for SELECT
 * in front, and what they hide could still be written to.
 */
function writes(
  { orgs, spare, foreignSpare, updatable, triggers }: AttackedTable,
  relation: string,
): Attack[] {
  const t = quotedName(relation);
  const value = updatable === ORG_COLUMN ? quoted(orgs[2]) : 'default';
  const update = `update ${t} set ${column(updatable)} = ${value}`;
  const remove = `delete from ${t}`;
  const write = (rest: Omit<Write, 'relation'>) => writeAttack({ relation, ...rest }, triggers, orgs[1]);
  return [
    write({
      attack: 'insert',
      judge: refused('writes a row into another organisation'),
      step: [CONTEXT.own, insertOf(relation, foreignSpare)],
      own: insertOf(relation, spare),
      nothing: insertOfNone(relation, foreignSpare),
    }),
    write({
      attack: 'update',
      judge: noRows,
      step: [CONTEXT.empty, update],
      nothing: `${update} where false`,
    }),
    write({
      attack: 'delete',
      judge: noRows,
      step: [CONTEXT.empty, remove],
      nothing: `${remove} where false`,
    }),
    {
      relation,
      attack: 'truncate',
      lists: [[[CONTEXT.own, `truncate ${t}`]]],
      judge: ([result]) => noTruncate(result as never),
    },
  ];
}

function equal(row: Row, columns: readonly string[]): string {
  return columns.map((name) => `${column(name)} = ${row.get(name)}`).join(' and ');
}

function keyAttacks(table: AttackedTable, { key, foreign, missing, own }: AttackedKey): Attack[] {
  const columns = key.columns.filter((name) => name !== ORG_COLUMN);
  const about = { relation: table.name, object: key.name };
  if (foreign === undefined || own === undefined) {
    const judge = (): { outcome: 'inconclusive'; evidence: string } => ({
      outcome: 'inconclusive',
      evidence: `${key.table} has too few rows: each organisation needs one whose key the other does not have`,
    });
    return [{ ...about, attack: 'foreign key', lists: [], judge }];
  }
  const refer = (to: Row): Row =>
    new Map(columns.map((name) => [name, to.get(key.referenced[key.columns.indexOf(name)] ?? '') ?? 'null']));
  const now: Step[] = key.deferrable
    ? [
        [
          CONTEXT.own,
          `set constraints ${column(table.name.slice(0, table.name.indexOf('.')))}.${column(key.name)} immediate`,
        ],
      ]
    : [];
  const insert = (row: Row, values: Row) => insertOf(table.name, new Map([...row, ...values]));
  const parameters: Row = new Map(columns.map((name, index) => [name, `$${index + 1}`]));
  const set = [...parameters].map(([name, value]) => `${column(name)} = ${value}`).join(', ');
  const update = `update ${quotedName(table.name)} set ${set} where ${equal(table.own, table.primaryKey.length === 0 ? [ORG_COLUMN] : table.primaryKey)}`;
  // The foreign and the missing key go through one plan: what differs between their answers is the key alone.
  const lists = [insert(table.spare, parameters), update].flatMap((statement): Step[][] => {
    const execute = (to: Row): Step => [
      CONTEXT.own,
      `execute ringfence_probe(${[...refer(to).values()].join(', ')})`,
    ];
    const prepare: Step = [CONTEXT.own, `prepare ringfence_probe as ${statement}`];
    return [
      [prepare, ...now, execute(foreign)],
      [...now, execute(missing)],
    ];
  });
  const attacks: Attack[] = [{ ...about, attack: 'foreign key', lists, judge: sameRefusal(key.name) }];
  if (key.actsOnDelete) {
    const remove = `delete from ${quotedName(key.table)} where ${ORG_COLUMN} = ${quoted(table.orgs[0])} and ${[
      ...key.referenced,
    ]
      .filter((name) => name !== ORG_COLUMN)
      .map((name) => `${column(name)} = ${own.get(name)}`)
      .join(' and ')}`;
    const judge = noCascade(key.name);
    attacks.push({
      ...about,
      attack: 'cascade',
      lists: [[[CONTEXT.foreign, insert(table.foreignSpare, refer(own))], ...now, [CONTEXT.own, remove]]],
      judge: ([result]) => judge(result as never),
    });
  }
  return attacks;
}
