/**
 * The declaration of encrypted columns: written once per application, checked against the `Database` interface when it
 * compiles and for contradictions when it runs.
 * Invariant: every table with a sealed column is declared with all of them, so nothing sealed is unknown to the plugin.
 */

import { encodePart } from '../length-prefix.ts';
import type {
  BlindIndexColumnOf,
  SealedColumnsOf,
  SealedTablesOf,
  SealedTypeOf,
  SearchableColumnsOf,
} from './column-types.ts';
import { type Normaliser, normaliserFunction } from './normaliser.ts';
import type { RowIdColumns, RowIdType } from './row-identity.ts';

/** How one version of a blind index makes its values. */
export interface BlindIndexVersion {
  /** Version, from 1. */
  readonly version: number;
  /** What counts as equal; `exact` unless given. */
  readonly normalise?: Normaliser;
  /** Bits kept of the 256, 8 to 256; 256 unless given. Fewer bits hide which rows are equal and cost false hits. */
  readonly truncateBits?: number;
}

/** Declaration of a blind index: its column, its current version (1 unless given) and former versions still stored. */
export interface BlindIndexDeclaration<Column extends string> extends Partial<BlindIndexVersion> {
  /** Text column that holds the index. */
  readonly column: Column;
  /** Versions that rows may still carry: searches ask for them too, until the sweep counts none left. */
  readonly previous?: readonly BlindIndexVersion[];
}

/** Declaration of a sealed column that cannot be searched. */
export interface PlainColumnDeclaration<Type> {
  /** Sealed as text or as bytes. */
  readonly type: Type;
}

/** Declaration of a sealed column with a blind index. */
export interface SearchableColumnDeclaration<Type, Index extends string> {
  /** Sealed as text. */
  readonly type: Type;
  /** Index column (version 1, exact, 256 bits), or the index in full. */
  readonly blindIndex: Index | BlindIndexDeclaration<Index>;
}

/** Declaration of one sealed column: its type, and its blind index if the interface has a column for one. */
export type ColumnDeclaration<Row, C extends SealedColumnsOf<Row>> =
  C extends SearchableColumnsOf<Row>
    ? SearchableColumnDeclaration<SealedTypeOf<Row, C>, BlindIndexColumnOf<Row, C>>
    : SealedTypeOf<Row, C> | PlainColumnDeclaration<SealedTypeOf<Row, C>>;

/** Declaration of one table. */
export interface TableDeclaration<Row> {
  /** Column that identifies a row (a `uuid`), or columns with their types. They must never be updated. */
  readonly row: (keyof Row & string) | { readonly [C in keyof Row & string]?: RowIdType };
  /** Column that holds the organisation's id, if there is one: inserts are checked against it, sweeps filter by it. */
  readonly org?: keyof Row & string;
  /** All sealed columns of the table. */
  readonly columns: { readonly [C in SealedColumnsOf<Row>]: ColumnDeclaration<Row, C> };
}

/** Declaration of all tables of a database interface that have a sealed column. */
export type TableDeclarations<DB> = { readonly [T in SealedTablesOf<DB>]: TableDeclaration<DB[T]> };

/** A blind index version, ready for use. */
export interface IndexVersion {
  /** Version, from 1. */
  readonly version: number;
  /** Normaliser. */
  readonly normalise: (text: string) => string;
  /** Bits kept of the 256. */
  readonly bits: number;
}

/** A blind index, ready for use. */
export interface DeclaredIndex {
  /** Column that holds it. */
  readonly column: string;
  /** Version that is written. */
  readonly current: IndexVersion;
  /** All versions, the current one first. */
  readonly versions: readonly IndexVersion[];
}

/** A sealed column, ready for use. */
export interface DeclaredColumn {
  /** Table as declared. */
  readonly table: string;
  /** Column. */
  readonly name: string;
  /** Stored as text form or as bytes. */
  readonly type: 'text' | 'bytes';
  /** Blind index, if it has one. */
  readonly index: DeclaredIndex | undefined;
}

/** A table with sealed columns, ready for use. */
export interface DeclaredTable {
  /** Name as declared, `schema.table` or `table`. */
  readonly name: string;
  /** Schema, if the name has one. */
  readonly schema: string | undefined;
  /** Table without schema. */
  readonly identifier: string;
  /** Row-id columns. */
  readonly row: RowIdColumns;
  /** Column of the organisation's id. */
  readonly org: string | undefined;
  /** Sealed columns by name. */
  readonly sealed: ReadonlyMap<string, DeclaredColumn>;
  /** Sealed column of each blind index column. */
  readonly indexes: ReadonlyMap<string, DeclaredColumn>;
}

/** The checked declaration; `DB` is the interface it belongs to. */
export interface EncryptedColumns<DB> {
  /** Tables by declared name. */
  readonly tables: ReadonlyMap<string, DeclaredTable>;
  /** Ties the declaration to its interface; never set. */
  readonly '~database'?: (db: DB) => void;
}

/**
 * Declares the encrypted columns of a database. Every `Sealed` column of `DB` must be listed; unknown tables and columns
 * don't compile.
 *
 * @throws TypeError when the declaration contradicts itself (two columns share an index, a version occurs twice).
 * @example
 * ```ts
 * const columns = encryptedColumns<Database>({
 *   'ledger.entry': {
 *     row: 'id',
 *     org: 'org_id',
 *     columns: {
 *       memo: 'text',
 *       bank_reference: { type: 'text', blindIndex: { column: 'bank_reference_idx', normalise: 'lowercase-trim' } },
 *       scan: 'bytes',
 *     },
 *   },
 * });
 * ```
 */
export function encryptedColumns<DB>(tables: TableDeclarations<DB>): EncryptedColumns<DB> {
  const declared = new Map<string, DeclaredTable>();
  for (const [name, table] of Object.entries(tables as Record<string, LooseTable>)) {
    declared.set(name, declareTable(name, table));
  }
  return Object.freeze({ tables: declared });
}

interface LooseTable {
  readonly row: string | Readonly<Record<string, RowIdType>>;
  readonly org?: string;
  readonly columns: Readonly<Record<string, LooseColumn>>;
}
type LooseColumn =
  | 'text'
  | 'bytes'
  | { readonly type: 'text' | 'bytes'; readonly blindIndex?: string | BlindIndexDeclaration<string> };

function declareTable(name: string, table: LooseTable): DeclaredTable {
  encodePart('table', name);
  const parts = name.split('.');
  if (parts.length > 2 || parts.includes(''))
    throw new TypeError(`${name} is no table: use table or schema.table`);
  const row: RowIdColumns = typeof table.row === 'string' ? [[table.row, 'uuid']] : Object.entries(table.row);
  if (row.length === 0) throw new TypeError(`${name}: name at least one row-id column`);
  for (const [, type] of row)
    if (type !== 'uuid' && type !== 'integer' && type !== 'text')
      throw new TypeError(`${name}: a row-id column is a uuid, an integer or a text`);
  const sealed = new Map<string, DeclaredColumn>();
  const indexes = new Map<string, DeclaredColumn>();
  for (const [column, declaration] of Object.entries(table.columns)) {
    const one = declareColumn(name, column, declaration);
    sealed.set(column, one);
    if (one.index === undefined) continue;
    if (indexes.has(one.index.column))
      throw new TypeError(`${name}.${one.index.column} is the index of two columns`);
    indexes.set(one.index.column, one);
  }
  if (sealed.size === 0) throw new TypeError(`${name}: name at least one sealed column`);
  for (const column of [...row.map(([column]) => column), ...indexes.keys(), table.org ?? ''])
    if (sealed.has(column))
      throw new TypeError(`${name}.${column} cannot be sealed: it is row id, index or org`);
  const identifier = parts.at(-1) as string;
  return {
    name,
    schema: parts.length === 2 ? parts[0] : undefined,
    identifier,
    row,
    org: table.org,
    sealed,
    indexes,
  };
}

function declareColumn(table: string, name: string, declaration: LooseColumn): DeclaredColumn {
  encodePart('column', name);
  const { type, blindIndex } =
    typeof declaration === 'string' ? { type: declaration, blindIndex: undefined } : declaration;
  if (type !== 'text' && type !== 'bytes')
    throw new TypeError(`${table}.${name} is sealed as text or as bytes`);
  if (blindIndex === undefined) return { table, name, type, index: undefined };
  if (type !== 'text') throw new TypeError(`${table}.${name}: only a text can have a blind index`);
  const wanted: BlindIndexDeclaration<string> =
    typeof blindIndex === 'string' ? { column: blindIndex } : blindIndex;
  const current = declareVersion(`${table}.${name}`, { ...wanted, version: wanted.version ?? 1 });
  const versions = [
    current,
    ...(wanted.previous ?? []).map((one) => declareVersion(`${table}.${name}`, one)),
  ];
  if (new Set(versions.map(({ version }) => version)).size !== versions.length)
    throw new TypeError(`${table}.${name}: each version of the blind index occurs once`);
  return { table, name, type, index: { column: wanted.column, current, versions } };
}

function declareVersion(
  where: string,
  { version, normalise, truncateBits }: BlindIndexVersion,
): IndexVersion {
  if (!Number.isInteger(version) || version < 1 || version > 0xffff)
    throw new TypeError(`${where}: a blind index version is an integer from 1 to 65535`);
  const bits = truncateBits ?? 256;
  if (!Number.isInteger(bits) || bits < 8 || bits > 256)
    throw new TypeError(`${where}: truncateBits is an integer from 8 to 256`);
  return { version, normalise: normaliserFunction(normalise ?? 'exact'), bits };
}
