/**
 * Which tables a query can name where, and which sealed column a reference means.
 * Invariant: when a name could mean a sealed column it is taken to mean it; a table that could be a declared one under
 * another spelling is refused.
 */
import { AliasNode, type OperationNode, type ReferenceNode } from 'kysely';
import { refused } from './column-errors.ts';
import type { DeclaredColumn, DeclaredTable } from './declaration.ts';
import { aliasName, columnName, plainTable, type TableName, tableName } from './query-nodes.ts';

/** A sealed column that a CTE passes on as one of its outputs, with the row ids it belongs to beside it. */
export interface PassedColumn {
  /** Table whose rows the values belong to. */
  readonly table: DeclaredTable;
  /** Column they are sealed for; without its blind index, which the CTE does not pass on. */
  readonly column: DeclaredColumn;
  /** Outputs of the CTE that hold the row id, in the order of the declaration. */
  readonly rowColumns: readonly string[];
}

/** One table expression of a query. */
export interface Source {
  /** Its own name where it has no alias. */
  readonly table: TableName | undefined;
  /** Alias, if it has one. */
  readonly alias: string | undefined;
  /** Declaration, if it is a declared table. */
  readonly declared: DeclaredTable | undefined;
  /** Sealed columns it passes on, by output, if it is a CTE that does. */
  readonly passed: ReadonlyMap<string, PassedColumn> | undefined;
  /** True for a real table or view, false for a subquery, CTE, function or raw SQL. */
  readonly stored: boolean;
}

/** Tables of a database that have sealed columns. */
export type DeclaredTables = ReadonlyMap<string, DeclaredTable>;

/** Declared table that a table name means. */
export function declaredTable(
  tables: DeclaredTables,
  { schema, name }: TableName,
): DeclaredTable | undefined {
  const exact = tables.get(schema === undefined ? name : `${schema}.${name}`);
  if (exact !== undefined) return exact;
  for (const table of tables.values()) {
    const mayBeSame = table.identifier === name && (schema === undefined || table.schema === undefined);
    if (mayBeSame)
      throw refused(`"${name}" may be the encrypted table ${table.name}: write it as it is declared`, {
        table: table.name,
      });
  }
  return undefined;
}

/** Names visible in one query. */
export class QueryScope {
  readonly sources: Source[] = [];
  readonly parent: QueryScope | undefined;
  readonly #tables: DeclaredTables;
  readonly #withs: Map<string, Source['passed']>;

  constructor(tables: DeclaredTables, parent: QueryScope | undefined) {
    this.#tables = tables;
    this.parent = parent;
    this.#withs = new Map(parent === undefined ? [] : parent.#withs);
  }

  /** Makes a CTE visible. */
  addWith(name: string): void {
    for (const table of this.#tables.values()) {
      if (table.identifier === name)
        throw refused(`a CTE must not have the name of the encrypted table ${table.name}`, {
          table: table.name,
        });
    }
    this.#withs.set(name, undefined);
  }

  /** Makes known which sealed columns a visible CTE passes on. */
  passWith(name: string, passed: ReadonlyMap<string, PassedColumn>): void {
    if (passed.size > 0) this.#withs.set(name, passed);
  }

  /** Makes a table expression visible. */
  add(node: OperationNode): Source {
    const plain = plainTable(node);
    const isWith = plain?.table.schema === undefined && this.#withs.has(plain?.table.name ?? '');
    const stored = plain !== undefined && !isWith;
    const source: Source = {
      table: plain?.table,
      alias: plain === undefined && AliasNode.is(node) ? aliasName(node) : plain?.alias,
      declared: stored ? declaredTable(this.#tables, plain.table) : undefined,
      passed: isWith ? this.#withs.get(plain?.table.name ?? '') : undefined,
      stored,
    };
    this.sources.push(source);
    return source;
  }

  /** Source a qualifier names, looking outwards. */
  find(qualifier: TableName): Source | undefined {
    for (let scope: QueryScope | undefined = this; scope !== undefined; scope = scope.parent) {
      const found = scope.sources.find((source) => isNamed(source, qualifier));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Sealed columns visible here, own and outer, by the names they have here. */
  *sealed(): Generator<readonly [string, DeclaredColumn]> {
    for (let scope: QueryScope | undefined = this; scope !== undefined; scope = scope.parent)
      for (const source of scope.sources) yield* sealedOf(source);
  }

  /** Sealed column that a reference means or may mean. */
  sealedColumn(
    node: ReferenceNode,
  ): { readonly source: Source | undefined; readonly column: DeclaredColumn } | undefined {
    const name = columnName(node);
    if (name === undefined) return undefined;
    if (node.table !== undefined) {
      const source = this.find(tableName(node.table));
      if (source !== undefined) {
        const column = sealedNamed(source, name);
        return column && { source, column };
      }
      // `excluded`, `old`, `new` or an unknown name: may be any declared table in sight.
      for (const [named, column] of this.sealed()) if (named === name) return { source: undefined, column };
      return undefined;
    }
    for (let scope: QueryScope | undefined = this; scope !== undefined; scope = scope.parent) {
      const found: readonly Source[] = scope.sources.filter((one) => sealedNamed(one, name) !== undefined);
      const source: Source | undefined = found[0];
      const column = source && sealedNamed(source, name);
      if (column !== undefined) return { source: found.length === 1 ? source : undefined, column };
    }
    return undefined;
  }

  /** True when a name without qualifier is a whole row with sealed columns. */
  isWholeRow(name: string): boolean {
    const source = this.find({ schema: undefined, name });
    return source !== undefined && hasSealed(source);
  }
}

/** Sealed columns of a source by the names they have in it. */
export function* sealedOf({ declared, passed }: Source): Generator<readonly [string, DeclaredColumn]> {
  if (declared !== undefined) yield* declared.sealed;
  for (const [name, { column }] of passed ?? []) yield [name, column];
}

/** Sealed column that a source has under a name. */
export function sealedNamed({ declared, passed }: Source, name: string): DeclaredColumn | undefined {
  return declared?.sealed.get(name) ?? passed?.get(name)?.column;
}

/** True when a whole row of the source would take sealed columns along. */
export function hasSealed({ declared, passed }: Source): boolean {
  return declared !== undefined || passed !== undefined;
}

function isNamed({ table, alias }: Source, { schema, name }: TableName): boolean {
  if (alias !== undefined) return schema === undefined && alias === name;
  return table !== undefined && table.name === name && (schema === undefined || schema === table.schema);
}
