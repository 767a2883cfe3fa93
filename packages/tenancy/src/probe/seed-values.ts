/**
 * Plans the rows: which columns are filled, from which foreign key, override or sample, and what the server has to choose
 * because a CHECK constraint decides. All values are SQL expressions, so that every type travels as PostgreSQL prints it.
 */
import type { OrgId } from '../org-id.ts';
import type { Orgs } from './probe-session.ts';
import { type Hints, hintsOf, quoted, type Sampler } from './sample-values.ts';
import { ORG_COLUMN, type SeedTable } from './seed-order.ts';
import { column as quotedColumn } from './statements.ts';
import type { ColumnStructure } from './structure.ts';

/** A value of a row that the caller supplies. */
export type ProbeValue = string | number | bigint | boolean | null | Date | Uint8Array | object;

/** Values of one table: called with the organisation and the number of the row, from 0 to 4; columns left out are generated. */
export type RowValues = (org: OrgId, row: number) => Readonly<Record<string, ProbeValue>>;

/** The rows of a plan: 0 and 1 of the first organisation, 2 of the second, 3 held back for attacks. */
const ROWS = [0, 1, 2, 3] as const;
/** The row held back. */
export const SPARE = 3;
/** One more that does not exist, for a table that refers to itself. */
const MISSING = 4;

/** The row that a key of `from` to `to` can name although it does not exist. */
export function missingRow(from: string, to: string): number {
  return from === to ? MISSING : SPARE;
}

/** Stands for the organisation in a planned value. */
const ORG_TOKEN = '\u0000org\u0000';

/** SQL expressions by column, without `org_id`. */
export type PlannedRow = ReadonlyMap<string, string>;

/** A question to the server: the first of these statements that gives a row names the values of the columns. */
export interface Choice {
  readonly table: string;
  readonly row: number;
  readonly columns: readonly ColumnStructure[];
  readonly statements: readonly string[];
  /** True when the statements give the same answer each time: nothing in them comes from the schema but the checks. */
  readonly repeatable: boolean;
}

/** Planned rows by table. */
export class SeedPlan {
  readonly rows: Map<string, Map<string, string>[]> = new Map();
  readonly #tables: ReadonlyMap<string, SeedTable>;
  readonly #sampler: Sampler;
  readonly #overrides: Readonly<Record<string, RowValues>>;
  readonly #orgs: Orgs;

  constructor(
    tables: readonly SeedTable[],
    sampler: Sampler,
    orgs: Orgs,
    overrides: Readonly<Record<string, RowValues>>,
  ) {
    this.#tables = new Map(tables.map((table) => [table.structure.name, table]));
    this.#sampler = sampler;
    this.#orgs = orgs;
    this.#overrides = overrides;
  }

  /** Plans a table whose referenced tables are planned; returns what the server has to choose. */
  plan(table: SeedTable): Choice[] {
    const refersToItself = table.structure.foreignKeys.some((key) => key.table === table.structure.name);
    const numbers = refersToItself ? [...ROWS, MISSING] : ROWS;
    const rows = numbers.map(() => new Map<string, string>());
    this.rows.set(table.structure.name, rows);
    const columns = table.structure.columns.filter(({ generated }) => !generated);
    const groups = checkGroups(columns, table.structure.checks, this.#sampler);
    return numbers.flatMap((row) =>
      this.#planRow(table, columns, groups, row, rows[row] as Map<string, string>),
    );
  }

  /** Takes an answer of the server. */
  choose({ table, row, columns }: Choice, answer: readonly (string | null)[]): void {
    for (const [index, { name, type }] of columns.entries()) {
      const text = answer[index] ?? null;
      this.rows.get(table)?.[row]?.set(name, text === null ? `null::${type}` : `${quoted(text)}::${type}`);
    }
  }

  /** The planned row. */
  row(table: string, row: number): PlannedRow {
    return this.rows.get(table)?.[row] ?? new Map();
  }

  #planRow(
    { structure, org, lists, filled }: SeedTable,
    columns: readonly ColumnStructure[],
    groups: readonly CheckGroup[],
    row: number,
    values: Map<string, string>,
  ): Choice[] {
    const override = this.#overrides[structure.name]?.(this.#orgs[row === 2 ? 1 : 0], row) ?? {};
    const keyed = new Set(structure.uniques.flatMap(({ columns }) => columns));
    for (const { name, type } of columns) {
      const own = override[name];
      if (own !== undefined) values.set(name, literal(own, type));
      else if (name === (org ? ORG_COLUMN : lists)) values.set(name, ORG_TOKEN);
    }
    for (const key of filled) {
      for (const [index, name] of key.columns.entries()) {
        const column = columns.find((candidate) => candidate.name === name);
        if (column === undefined || values.has(name)) continue;
        const value = this.#referenced(key.table, key.referenced[index] ?? '', row, structure.name);
        if (value !== undefined) values.set(name, value === ORG_TOKEN ? value : `(${value})::${column.type}`);
      }
    }
    const unreferenced = new Set(
      structure.foreignKeys.filter((key) => !filled.includes(key)).flatMap((key) => key.columns),
    );
    const wanted = (column: ColumnStructure) =>
      !values.has(column.name) &&
      ((column.notNull && column.default === null) ||
        (keyed.has(column.name) && !(unreferenced.has(column.name) && !column.notNull)));
    const choices: Choice[] = [];
    const grouped = new Set<string>();
    for (const group of groups) {
      // Of several columns that may stay empty, a check may want one: the server says which.
      const together =
        group.columns.length > 1 &&
        (group.columns.some(({ name }) => values.has(name)) ||
          group.columns.every((column) => !column.notNull && column.default === null));
      if (!(together || group.columns.some(wanted))) continue;
      for (const { name } of group.columns) grouped.add(name);
      choices.push({
        table: structure.name,
        row,
        columns: group.columns,
        ...this.#choice(group, row, values, wanted),
      });
    }
    for (const column of columns) {
      if (!wanted(column) || grouped.has(column.name)) continue;
      const candidates = this.#sampler.candidates(column.typeOid, column.type, row);
      const [first, ...others] = candidates;
      if (first === undefined) continue;
      values.set(column.name, first);
      if (others.length > 0 && this.#sampler.isGuess(column))
        choices.push({
          table: structure.name,
          row,
          columns: [column],
          statements: candidates.map((value) => `select array[(${value})::text]`),
          repeatable: true,
        });
    }
    return choices;
  }

  /** Value of a referenced column: row by row, and the first row of an organisation that has only one. */
  #referenced(table: string, column: string, row: number, from: string): string | undefined {
    const parent = this.#tables.get(table);
    if (parent === undefined) return undefined;
    if (!parent.org) return this.row(table, 0).get(column);
    const last = row === SPARE && table !== from ? 1 : row;
    return this.row(table, parent.single && last === 1 ? 0 : last).get(column);
  }

  #choice(
    { columns, checks, hints }: CheckGroup,
    row: number,
    values: Map<string, string>,
    wanted: (column: ColumnStructure) => boolean,
  ): Pick<Choice, 'statements' | 'repeatable'> {
    let repeatable = true;
    const most = Math.max(3, Math.floor(MOST_COMBINATIONS ** (1 / columns.length)));
    const lists = columns.map((column) => {
      const base = this.#sampler.base(column);
      const fixed = values.get(column.name);
      if (fixed !== undefined)
        return [
          fixed === ORG_TOKEN ? `${quoted(this.#orgs[row === 2 ? 1 : 0])}::uuid` : `(${fixed})::${base.type}`,
        ];
      const samples = this.#sampler.candidates(base.oid, base.type, row, hints);
      const usual: string[] = [];
      if (!wanted(column)) {
        if (column.default !== null && !/^identity$|nextval\(/.test(column.default)) {
          usual.push(`(${column.default})::${base.type}`);
          repeatable = false;
        } else if (!column.notNull) usual.push(`null::${base.type}`);
      }
      const list = [...usual, ...samples];
      return column.notNull ? list.slice(0, most) : [...list.slice(0, most - 1), `null::${base.type}`];
    });
    const from = lists.map((list, index) => {
      const items = list.map((value, rank) => `(${rank}, ${value})`).join(', ');
      return `(values ${items}) ringfence_${index}(ringfence_rank_${index}, ${quotedColumn(columns[index]?.name ?? '')})`;
    });
    const rank = lists.map((_, index) => `ringfence_rank_${index}`).join(' + ');
    const answer = columns.map(({ name }) => `${quotedColumn(name)}::text`).join(', ');
    const where = checks.map((check) => `(${check}) is not false`).join(' and ');
    const tables = from.join(' cross join ');
    const statement = `select array[${answer}] from ${tables} where ${where} order by ${rank} limit 1`;
    return { statements: [statement], repeatable };
  }
}

/** Most combinations of candidates the server tries for one row. */
const MOST_COMBINATIONS = 4_000;

interface CheckGroup {
  readonly columns: ColumnStructure[];
  readonly checks: string[];
  readonly hints: Hints;
}

/** Columns that have to be chosen together, because checks mention them together. */
function checkGroups(
  columns: readonly ColumnStructure[],
  checks: readonly { columns: readonly string[]; expression: string }[],
  sampler: Sampler,
): CheckGroup[] {
  const groups: { names: Set<string>; checks: string[] }[] = [];
  const add = (names: readonly string[], check: string) => {
    const touched = groups.filter((group) => names.some((name) => group.names.has(name)));
    const merged = { names: new Set(names), checks: [check] };
    for (const group of touched) {
      for (const name of group.names) merged.names.add(name);
      merged.checks.push(...group.checks);
      groups.splice(groups.indexOf(group), 1);
    }
    groups.push(merged);
  };
  const known = new Set(columns.map(({ name }) => name));
  for (const check of checks) {
    if (check.columns.length > 0 && check.columns.every((name) => known.has(name)))
      add(check.columns, check.expression);
  }
  for (const column of columns) {
    for (const check of sampler.base(column).checks)
      add(
        [column.name],
        check.replaceAll(/\bVALUE\b/g, () => quotedColumn(column.name)),
      );
  }
  return groups.map((group) => ({
    columns: columns.filter(({ name }) => group.names.has(name)),
    checks: group.checks,
    hints: hintsOf(group.checks),
  }));
}

/** A planned row as the columns and values of one organisation. */
export function rowFor(row: PlannedRow, org: OrgId): ReadonlyMap<string, string> {
  return new Map(
    [...row].map(([name, value]) => [
      name,
      value === ORG_TOKEN ? `${quoted(org)}::uuid` : value.replaceAll(ORG_TOKEN, `${quoted(org)}::uuid`),
    ]),
  );
}

function literal(value: ProbeValue, type: string): string {
  if (value === null) return `null::${type}`;
  if (value instanceof Uint8Array) return `'\\x${Buffer.from(value).toString('hex')}'::${type}`;
  if (value instanceof Date) return `${quoted(value.toISOString())}::${type}`;
  if (Array.isArray(value) && type.endsWith('[]'))
    return `array[${value.map((item) => quoted(String(item))).join(', ')}]::${type}`;
  return `${quoted(typeof value === 'object' ? JSON.stringify(value) : String(value))}::${type}`;
}
