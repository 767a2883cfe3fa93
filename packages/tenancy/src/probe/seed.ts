/**
 * Puts two rows of each synthetic organisation into every table. The second organisation first gets the values of the first
 * one again: a unique index that refuses them tells one organisation what another one holds. Then it gets rows of its own.
 */
import { sql } from 'kysely';
import { CONTEXT, type Orgs, type ProbeSession, type Step, type StepResult } from './probe-session.ts';
import type { AttackResult, Unprobed } from './report.ts';
import { quoted, Sampler } from './sample-values.ts';
import { constraintName, ORG_COLUMN, type SeedTable, seedOrder } from './seed-order.ts';
import { type RowValues, rowFor, SeedPlan } from './seed-values.ts';
import { column, insertOf, quotedName } from './statements.ts';
import type { Structure } from './structure.ts';
import { uniqueValues } from './unique-values.ts';
import { describeFailure } from './verdict.ts';

/** Which rows of a table exist. */
export interface Seeded {
  readonly table: SeedTable;
  /** Rows of the first organisation. */
  readonly ownRows: number;
  /** Whether the second organisation has a row with values of its own. */
  readonly distinct: boolean;
  /** Row of the second organisation that attacks go for: 2, or 0 for the values of the first one's. */
  readonly prey: number;
}

/** The seeding of a probe, in two halves: what is read between them must not change. */
export interface Seeding {
  readonly plan: SeedPlan;
  readonly unprobed: readonly Unprobed[];
  /** Seeds the second organisation. */
  second(): Promise<{
    readonly seeded: readonly Seeded[];
    readonly unprobed: readonly Unprobed[];
    readonly uniques: readonly AttackResult[];
  }>;
}

/** Plans all rows and seeds the first organisation. */
export async function seedFirst(
  session: ProbeSession,
  structure: Structure,
  names: ReadonlySet<string>,
  orgs: Orgs,
  salt: string,
  overrides: Readonly<Record<string, RowValues>>,
): Promise<Seeding> {
  const order = seedOrder(structure, names);
  const tables = order.levels.flat();
  const plan = new SeedPlan(tables, new Sampler(structure, salt), orgs, overrides);
  const unsolved = new Map<string, string>();
  const present = new Set<string>();
  for (const level of order.levels) await planLevel(session, plan, level, unsolved, present);
  await constraints(session, order.deferred, 'deferred');
  // What is refused at the end is refused for all tables at once: the clone of a row has to meet it by itself.
  const checkedLater = tables.flatMap(({ structure: table }) =>
    table.uniques.filter(({ deferrable }) => deferrable).map((index) => constraintName(table, index)),
  );
  await constraints(session, checkedLater, 'immediate');

  const insert = ({ structure: { name } }: SeedTable, of: 0 | 1, rows: readonly number[]): Step[] => [
    [
      of === 0 ? CONTEXT.own : CONTEXT.foreign,
      insertOf(name, ...rows.map((row) => rowFor(plan.row(name, row), orgs[of]))),
    ],
  ];
  const seedAll = async (
    wanted: readonly SeedTable[],
    stepsOf: (table: SeedTable) => Step[],
  ): Promise<[table: string, result: StepResult][]> => {
    const results = await session.seed(wanted.map(stepsOf));
    return wanted.map(({ structure: { name } }, index) => [name, results[index] as StepResult]);
  };
  /** Two rows of each org-owned table, of one organisation: in one statement, and one by one where that is refused. */
  const seedBoth = async (
    wanted: readonly SeedTable[],
    of: 0 | 1,
    rows: readonly [number, number],
  ): Promise<[first: Map<string, StepResult>, second: Map<string, StepResult>]> => {
    const both = await seedAll(wanted, (table) =>
      table.lists === undefined
        ? insert(table, of, table.org ? rows : [rows[0]])
        : [...insert(table, 0, [0]), ...insert(table, 1, [2])],
    );
    const apart = wanted.filter(({ org }, index) => org && both[index]?.[1].state !== '00000');
    const first = await seedAll(apart, (table) => insert(table, of, [rows[0]]));
    const second = await seedAll(apart, (table) => insert(table, of, [rows[1]]));
    return [new Map([...both, ...first]), new Map([...both, ...second])];
  };
  const shared = tables.filter(({ org, structure: { name } }) => !org && !present.has(name));
  const owned = tables.filter(({ org }) => org);
  const [first, more] = await seedBoth(
    [...shared, ...owned].sort((a, b) => tables.indexOf(a) - tables.indexOf(b)),
    0,
    [0, 1],
  );
  const made = await madeByTriggers(0, first);
  const alive = owned.filter(
    (table) => first.get(table.structure.name)?.state === '00000' || made.has(table),
  );
  const unprobed = owned
    .filter((table) => !alive.includes(table))
    .map(({ structure: { name } }) => ({
      relation: name,
      reason: reasonOf(first.get(name), unsolved.get(name)),
    }));
  return { plan, unprobed, second };

  /** Tables of which a trigger of another one has made the one row of an organisation; it takes the place of the planned one. */
  async function madeByTriggers(
    of: 0 | 1,
    results: ReadonlyMap<string, StepResult>,
  ): Promise<ReadonlySet<SeedTable>> {
    const taken = owned.filter(
      ({ single, structure: { name } }) => single && results.get(name)?.state === '23505',
    );
    const columns = taken.map(({ structure }) =>
      structure.columns.filter(({ name, generated }) => name !== ORG_COLUMN && !generated),
    );
    const rows = await session.choose(
      taken.map(({ structure }, index) => [
        `select array[${(columns[index] ?? []).map(({ name }) => `${column(name)}::text`).join(', ')}]::text[] from ${quotedName(structure.name)} where ${ORG_COLUMN} = ${quoted(orgs[of])}`,
      ]),
    );
    const made = taken.filter((_, index) => rows[index]);
    for (const table of made) {
      const index = taken.indexOf(table);
      const choice = { table: table.structure.name, row: of === 0 ? 0 : 2, statements: [], repeatable: true };
      plan.choose({ ...choice, columns: columns[index] ?? [] }, rows[index] ?? []);
    }
    return new Set(made);
  }

  async function second(): ReturnType<Seeding['second']> {
    const [clones, distinct] = await seedBoth(alive, 1, [0, 2]);
    const made = await madeByTriggers(1, clones);
    const seeded: Seeded[] = [];
    const late: Unprobed[] = [];
    const uniques: AttackResult[] = [];
    for (const table of alive) {
      const { name } = table.structure;
      const [clone, own] = [clones.get(name), distinct.get(name)] as [StepResult, StepResult];
      uniques.push(...uniqueValues(table.structure, structure, clone));
      const hasOwn = own.state === '00000' || made.has(table);
      if (!hasOwn && clone.state !== '00000')
        late.push({ relation: name, reason: reasonOf(own, unsolved.get(name)) });
      else
        seeded.push({
          table,
          ownRows: more.get(name)?.state === '00000' ? 2 : 1,
          distinct: hasOwn,
          prey: hasOwn ? 2 : 0,
        });
    }
    return { seeded, unprobed: late, uniques };
  }
}

async function constraints(
  { db }: ProbeSession,
  names: readonly string[],
  when: 'deferred' | 'immediate',
): Promise<void> {
  if (names.length > 0) await sql.raw(`set constraints ${names.join(', ')} ${when}`).execute(db);
}

async function planLevel(
  session: ProbeSession,
  plan: SeedPlan,
  level: readonly SeedTable[],
  unsolved: Map<string, string>,
  present: Set<string>,
): Promise<void> {
  // A table that lists the organisations gets the synthetic ones; of any other one row is enough, and there may be one.
  const shared = level.filter(({ org, lists }) => !org && lists === undefined);
  const rows = await session.choose(
    shared.map(({ structure }) => [
      `select array[${structure.columns.map(({ name }) => `${column(name)}::text`).join(', ')}] from ${quotedName(structure.name)} limit 1`,
    ]),
  );
  const choices = level.flatMap((table) => {
    const row = rows[shared.indexOf(table)];
    const planned = plan.plan(table);
    if (row === undefined || row === null)
      return table.org
        ? planned
        : planned.filter((choice) => choice.row === 0 || (table.lists !== undefined && choice.row === 2));
    present.add(table.structure.name);
    plan.choose(
      {
        table: table.structure.name,
        row: 0,
        columns: table.structure.columns,
        statements: [],
        repeatable: true,
      },
      row,
    );
    return [];
  });
  // Tables whose columns and checks read the same ask the same: one answer serves them all.
  const keys = choices.map(({ statements, repeatable }, index) =>
    repeatable ? statements.join(';') : index,
  );
  const questions = new Map(choices.map(({ statements }, index) => [keys[index], statements]));
  const given = await session.choose([...questions.values()]);
  const answers = new Map([...questions.keys()].map((key, index) => [key, given[index]]));
  for (const [index, choice] of choices.entries()) {
    const answer = answers.get(keys[index]);
    if (answer !== undefined && answer !== null) plan.choose(choice, answer);
    else unsolved.set(choice.table, choice.columns.map(({ name }) => name).join(', '));
  }
}

function reasonOf(result: StepResult | undefined, unsolved: string | undefined): string {
  const why = unsolved === undefined ? '' : `no values pass the CHECK constraints of ${unsolved}; `;
  return `${why}no row could be inserted (${result === undefined ? 'it is not in the database' : describeFailure(result)}): supply its values in \`rows\``;
}
