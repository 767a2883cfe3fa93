/**
 * The rows that the structure is put together from: one short list per system catalog, by object id and number of column.
 */
import type { ColumnStructure, TableStructure, TypeStructure } from './structure.ts';

/** Object id. */
type Oid = number;

/** Rows as the statement gives them. */
export interface StructureRows {
  readonly relations: readonly (readonly [oid: Oid, name: string, forced: boolean])[];
  /** In order of relation and column. */
  readonly columns: readonly (readonly [
    relation: Oid,
    number: number,
    name: string,
    type: string,
    typeOid: string,
    notNull: boolean,
    generated: boolean,
    expression: string | null,
  ])[];
  readonly checks: readonly (readonly [
    relation: Oid,
    columns: readonly number[] | null,
    expression: string,
  ])[];
  /**
   * `expressed`: columns inside expressions and predicates; number 0 in `keys` is an expression. `operators`: those of an
   * exclusion constraint, where the keys of any other index are compared for equality.
   */
  readonly uniques: readonly (readonly [
    relation: Oid,
    name: string,
    primary: boolean,
    keys: readonly number[],
    expressed: readonly number[] | null,
    expressions: string | null,
    alone: boolean,
    deferrable: boolean,
    operators: readonly string[] | null,
  ])[];
  readonly foreignKeys: readonly (readonly [
    relation: Oid,
    name: string,
    columns: readonly number[],
    table: Oid,
    referenced: readonly number[],
    deferrable: boolean,
    actsOnDelete: boolean,
  ])[];
  readonly partitioned: readonly (readonly [
    relation: Oid,
    partitions: readonly string[],
    bound: string | null,
    keys: readonly string[] | null,
  ])[];
  readonly types: readonly TypeStructure[];
}

/** One table while it is put together. */
interface Part {
  readonly name: string;
  readonly forced: boolean;
  readonly columns: ColumnStructure[];
  readonly names: Map<number, string>;
  readonly checks: TableStructure['checks'][number][];
  readonly uniques: TableStructure['uniques'][number][];
  readonly foreignKeys: TableStructure['foreignKeys'][number][];
  partitions: readonly string[];
}

/** Tables by `schema.name`. */
export function tablesOf(rows: StructureRows): Map<string, TableStructure> {
  const parts = new Map<Oid, Part>();
  for (const [oid, name, forced] of rows.relations) {
    const names = new Map<number, string>();
    parts.set(oid, {
      name,
      forced,
      columns: [],
      names,
      checks: [],
      uniques: [],
      foreignKeys: [],
      partitions: [],
    });
  }
  for (const [relation, number, name, type, typeOid, notNull, generated, expression] of rows.columns) {
    const part = parts.get(relation);
    part?.names.set(number, name);
    part?.columns.push({ name, type, typeOid, notNull, generated, default: expression });
  }
  for (const [relation, columns, expression] of rows.checks) {
    const part = parts.get(relation);
    part?.checks.push({ columns: namesOf(part, columns ?? []), expression });
  }
  for (const [
    relation,
    name,
    primary,
    keys,
    expressed,
    expressions,
    alone,
    deferrable,
    operators,
  ] of rows.uniques) {
    const part = parts.get(relation);
    const columns = namesOf(
      part,
      [...new Set([...keys, ...(expressed ?? [])])].sort((a, b) => a - b),
    );
    const exact = keys.filter((_, index) => operators === null || operators[index] === '=');
    part?.uniques.push({
      name,
      primary,
      columns,
      exact: namesOf(part, exact),
      expressions,
      alone,
      deferrable,
    });
  }
  for (const [relation, name, columns, table, referenced, deferrable, actsOnDelete] of rows.foreignKeys) {
    const [part, target] = [parts.get(relation), parts.get(table)];
    if (part === undefined || target === undefined) continue;
    const names = { columns: namesOf(part, columns), referenced: namesOf(target, referenced) };
    part.foreignKeys.push({ name, ...names, table: target.name, deferrable, actsOnDelete });
  }
  for (const [relation, partitions, bound, keys] of rows.partitioned) {
    const part = parts.get(relation);
    if (part === undefined) continue;
    part.partitions = partitions;
    if (bound !== null) part.checks.push({ expression: `(${bound})`, columns: keys ?? [] });
  }
  for (const { uniques, foreignKeys } of parts.values()) {
    uniques.sort(byName);
    foreignKeys.sort(byName);
  }
  return new Map([...parts.values()].map(({ names, ...table }) => [table.name, table]));
}

function namesOf(part: Part | undefined, numbers: readonly number[]): string[] {
  return numbers.flatMap((number) => part?.names.get(number) ?? []);
}

function byName({ name: a }: { name: string }, { name: b }: { name: string }): number {
  return a < b ? -1 : Number(a > b);
}
