/**
 * Column types for the `Database` interface of Kysely: sealed columns read and write their plain type, but no plain value
 * can be compared with them, since equal contents have different ciphertexts.
 * Invariant: the brands exist in types only; they mark what `encryptedColumns` has to declare.
 */
import type { ColumnType, SelectType } from 'kysely';

/** Mark of a sealed column's value; exists in types only. */
export interface SealedMark {
  /** Never there at run time. */
  readonly '~ringfence.sealed': true;
}

/** Mark of a blind index value; exists in types only. */
export interface BlindIndexMark<Column extends string> {
  /** Never there at run time. */
  readonly '~ringfence.blindIndex': Column;
}

/** What a sealed column yields when it is read: the plain value, branded so that a comparison does not compile. */
export type Opened<T> = T extends null ? null : T & SealedMark;

/**
 * Type of a sealed column. Selects give the plain value, inserts and updates take it, a comparison with a plain value
 * does not compile.
 *
 * @example
 * ```ts
 * interface EntryTable {
 *   id: string;
 *   memo: Sealed<string | null>;
 *   bank_reference: Sealed<string>;
 *   bank_reference_idx: BlindIndex<'bank_reference'>;
 *   scan: Sealed<Uint8Array | null>;
 * }
 * ```
 */
export type Sealed<T extends string | Uint8Array | null> = ColumnType<Opened<T>, T, T>;

/** Value of a blind index column: opaque text that belongs to one sealed column. */
export type BlindIndexValue<Column extends string> = string & BlindIndexMark<Column>;

/** Type of the blind index column of the sealed column `Column`. It is written with the sealed column, never by hand. */
export type BlindIndex<Column extends string> = ColumnType<BlindIndexValue<Column> | null, never, never>;

/** Names of the sealed columns of a table's interface. */
export type SealedColumnsOf<Row> = {
  [C in keyof Row & string]: Extract<SelectType<Row[C]>, SealedMark> extends never ? never : C;
}[keyof Row & string];

/** Name of the blind index column that a table's interface has for the sealed column `C`, or never. */
export type BlindIndexColumnOf<Row, C extends string> = {
  [I in keyof Row & string]: [Extract<SelectType<Row[I]>, BlindIndexValue<C>>] extends [never] ? never : I;
}[keyof Row & string];

/** Names of the sealed columns of a table's interface that have a blind index. */
export type SearchableColumnsOf<Row> = {
  [C in SealedColumnsOf<Row>]: [BlindIndexColumnOf<Row, C>] extends [never] ? never : C;
}[SealedColumnsOf<Row>];

/** `bytes` for a sealed `Uint8Array`, `text` for a sealed string. */
export type SealedTypeOf<Row, C extends keyof Row> =
  Uint8Array extends NonNullable<Row[C] extends ColumnType<infer _S, infer I, infer _U> ? I : never>
    ? 'bytes'
    : 'text';

/** Names of the tables of a database interface that have a sealed column. */
export type SealedTablesOf<DB> = {
  [T in keyof DB & string]: [SealedColumnsOf<DB[T]>] extends [never] ? never : T;
}[keyof DB & string];

/** Names of all sealed columns of a database interface, as `table.column`. */
export type SealedColumnNames<DB> = {
  [T in SealedTablesOf<DB>]: `${T}.${SealedColumnsOf<DB[T]>}`;
}[SealedTablesOf<DB>];
