/**
 * Which tables are seeded, in which order: referenced ones first. A cycle of foreign keys is opened at a nullable one, which
 * stays null, or at a deferrable one, which is checked later. A cycle with neither cannot be seeded, and is reported.
 */
import { column } from './statements.ts';
import type { ForeignKey, Structure, TableStructure } from './structure.ts';

/** One table to seed. */
export interface SeedTable {
  readonly structure: TableStructure;
  /** True when its rows belong to organisations; false for one that theirs refer to, such as a global table. */
  readonly org: boolean;
  /** Column of a table that lists the organisations themselves: one that `org_id` refers to, of a table that is not org-owned. */
  readonly lists: string | undefined;
  /** True when an organisation has at most one row. */
  readonly single: boolean;
  /** Foreign keys that are filled. */
  readonly filled: readonly ForeignKey[];
}

/** Tables by level: those of one level refer only to those of levels before it. */
export interface SeedOrder {
  readonly levels: readonly (readonly SeedTable[])[];
  /** Constraints to defer, quoted. */
  readonly deferred: readonly string[];
}

/** The column that leads every key of an org-owned table. */
export const ORG_COLUMN = 'org_id';

/** Orders the org-owned tables and what they refer to. */
export function seedOrder(structure: Structure, orgTables: ReadonlySet<string>): SeedOrder {
  const pending = new Map<string, TableStructure>();
  const visit = (name: string): void => {
    const table = structure.tables.get(name);
    if (table === undefined || pending.has(name)) return;
    pending.set(name, table);
    for (const key of table.foreignKeys) visit(key.table);
  };
  for (const name of orgTables) visit(name);

  const listing = new Map<string, string>();
  for (const name of orgTables)
    for (const { columns, table, referenced } of structure.tables.get(name)?.foreignKeys ?? []) {
      const named = referenced[columns.indexOf(ORG_COLUMN)];
      if (named !== undefined) listing.set(table, named);
    }
  const open = new Map(
    [...pending].map(([name, table]) => [
      name,
      new Set(table.foreignKeys.filter((key) => canFill(table, key))),
    ]),
  );
  const levels: SeedTable[][] = [];
  const deferred: string[] = [];
  while (pending.size > 0) {
    const ready = [...pending.values()].filter((table) =>
      [...(open.get(table.name) ?? [])].every(
        (key) =>
          key.table === table.name ||
          !pending.has(key.table) ||
          deferred.includes(constraintName(table, key)),
      ),
    );
    if (ready.length === 0) {
      breakCycle(pending, open, deferred);
      continue;
    }
    levels.push(
      ready.map((table) => ({
        structure: table,
        org: orgTables.has(table.name),
        lists: orgTables.has(table.name) ? undefined : listing.get(table.name),
        single: table.uniques.some(({ columns }) => columns.length === 1 && columns[0] === ORG_COLUMN),
        filled: [...(open.get(table.name) ?? [])],
      })),
    );
    for (const { name } of ready) pending.delete(name);
  }
  return { levels, deferred };
}

/** A nullable key to the table itself stays null: a first row has no row to refer to. */
function canFill(table: TableStructure, key: ForeignKey): boolean {
  return key.table !== table.name || !isNullable(table, key);
}

function isNullable(table: TableStructure, key: ForeignKey): boolean {
  return key.columns.some((name) => table.columns.some((each) => each.name === name && !each.notNull));
}

/** Name of a constraint, quoted, as SET CONSTRAINTS takes it. */
export function constraintName(table: TableStructure, key: { readonly name: string }): string {
  const [schema = ''] = table.name.split('.');
  return `${column(schema)}.${column(key.name)}`;
}

function breakCycle(
  pending: ReadonlyMap<string, TableStructure>,
  open: ReadonlyMap<string, Set<ForeignKey>>,
  deferred: string[],
): void {
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean => {
    if (from === to) return true;
    if (seen.has(from) || !pending.has(from)) return false;
    seen.add(from);
    return [...(open.get(from) ?? [])].some((key) => reaches(key.table, to, seen));
  };
  const inCycle = [...pending.values()].flatMap((table) =>
    [...(open.get(table.name) ?? [])]
      .filter(
        (key) =>
          key.table !== table.name &&
          pending.has(key.table) &&
          !deferred.includes(constraintName(table, key)) &&
          reaches(key.table, table.name),
      )
      .map((key) => ({ table, key })),
  );
  const nullable = inCycle.find(({ table, key }) => isNullable(table, key));
  if (nullable !== undefined) {
    open.get(nullable.table.name)?.delete(nullable.key);
    return;
  }
  const next = inCycle.find(({ key }) => key.deferrable) ?? inCycle[0];
  if (next === undefined) throw new TypeError('foreign keys: a cycle that is none');
  if (next.key.deferrable) deferred.push(constraintName(next.table, next.key));
  else open.get(next.table.name)?.delete(next.key); // its insert fails, and the table is reported
}
