/**
 * Which tables a query can name where, and which sealed column a reference means.
 * Invariant: when a name could mean a sealed column it is taken to mean it; a table that could be a declared one under
 * another spelling is refused.
 */
import { AliasNode, type OperationNode, type ReferenceNode } from 'kysely';
import { refused } from './column-errors.ts';
import type { DeclaredColumn, DeclaredTable } from './declaration.ts';
import { aliasName, columnName, plainTable, type TableName, tableName } from './query-nodes.ts';

/** One table expression of a query. */
export interface Source {
  /** Its own name where it has no alias. */
  readonly table: TableName | undefined;
  /** Alias, if it has one. */
  readonly alias: string | undefined;
  /** Declaration, if it is a declared table. */
  readonly declared: DeclaredTable | undefined;
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
  readonly #withNames: Set<string>;

  constructor(tables: DeclaredTables, parent: QueryScope | undefined) {
    this.#tables = tables;
    this.parent = parent;
    this.#withNames = new Set(parent === undefined ? [] : parent.#withNames);
  }

  /** Makes a CTE visible. */
  addWith(name: string): void {
    for (const table of this.#tables.values()) {
      if (table.identifier === name)
        throw refused(`a CTE must not have the name of the encrypted table ${table.name}`, {
          table: table.name,
        });
    }
    this.#withNames.add(name);
  }

  /** Makes a table expression visible. */
  add(node: OperationNode): Source {
    const plain = plainTable(node);
    const isWith = plain?.table.schema === undefined && this.#withNames.has(plain?.table.name ?? '');
    const stored = plain !== undefined && !isWith;
    const source: Source = {
      table: plain?.table,
      alias: plain === undefined && AliasNode.is(node) ? aliasName(node) : plain?.alias,
      declared: stored ? declaredTable(this.#tables, plain.table) : undefined,
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

  /** Declared tables visible here, own and outer. */
  *declared(): Generator<DeclaredTable> {
    for (let scope: QueryScope | undefined = this; scope !== undefined; scope = scope.parent)
      for (const source of scope.sources) if (source.declared !== undefined) yield source.declared;
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
        const column = source.declared?.sealed.get(name);
        return column && { source, column };
      }
      // `excluded`, `old`, `new` or an unknown name: may be any declared table in sight.
      return this.#anySealed(name);
    }
    for (let scope: QueryScope | undefined = this; scope !== undefined; scope = scope.parent) {
      const found: readonly Source[] = scope.sources.filter((one) => one.declared?.sealed.has(name) === true);
      const source: Source | undefined = found[0];
      const column = source?.declared?.sealed.get(name);
      if (column !== undefined) return { source: found.length === 1 ? source : undefined, column };
    }
    return undefined;
  }

  /** True when a name without qualifier is a whole row of a declared table. */
  isWholeRow(name: string): boolean {
    const source = this.find({ schema: undefined, name });
    return source?.declared !== undefined;
  }

  #anySealed(name: string): { readonly source: undefined; readonly column: DeclaredColumn } | undefined {
    for (const table of this.declared()) {
      const column = table.sealed.get(name);
      if (column !== undefined) return { source: undefined, column };
    }
    return undefined;
  }
}

function isNamed({ table, alias }: Source, { schema, name }: TableName): boolean {
  if (alias !== undefined) return schema === undefined && alias === name;
  return table !== undefined && table.name === name && (schema === undefined || schema === table.schema);
}
