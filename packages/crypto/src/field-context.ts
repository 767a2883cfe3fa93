/**
 * The cell a message belongs to, and its encoding for the key derivation. Table, column and purpose repeat from message
 * to message, so their encoding is cached; the row is written per message.
 * Invariant: each coordinate is length-prefixed and well-formed Unicode, so two cells never share an encoding.
 */
import { encodePart, lengthPrefixed } from './length-prefix.ts';

/** Coordinates of an encrypted field. The organisation comes from the leased keys. */
export interface Cell {
  /** Table name, 1 to 1024 bytes of UTF-8. */
  readonly table: string;
  /** Column name, 1 to 1024 bytes of UTF-8. */
  readonly column: string;
  /** Row id, 1 to 1024 bytes of UTF-8. */
  readonly row: string;
  /** What the content is for, 1 to 1024 bytes of UTF-8; `field` unless given. */
  readonly purpose?: string;
}

/** Coordinates of a row sealed as one message. */
export interface RowCell {
  /** Table name, 1 to 1024 bytes of UTF-8. */
  readonly table: string;
  /** Row id, 1 to 1024 bytes of UTF-8. */
  readonly row: string;
  /** What the content is for, 1 to 1024 bytes of UTF-8; `field` unless given. */
  readonly purpose?: string;
}

/** Encoded coordinates that are the same for all rows. */
export interface ColumnContext {
  /** Table of the cell. */
  readonly table: string;
  /** Column of the cell; empty for a whole row, which no single field can name. */
  readonly column: string;
  /** Purpose as the caller gave it. */
  readonly purpose: string | undefined;
  /** Length-prefixed table and column. */
  readonly before: Uint8Array;
  /** Length-prefixed purpose and the counter byte 0x01 of HKDF-Expand. */
  readonly after: Uint8Array;
}

const DEFAULT_PURPOSE = 'field';
const MAX_CACHED = 1024;

/** Cache of encoded column contexts, bounded so that names made of input cannot grow it. */
export class ColumnContexts {
  #last: ColumnContext | undefined;
  #size = 0;
  readonly #byTable = new Map<string, Map<string, ColumnContext[]>>();

  /** Encoded context of a table, column and purpose; `column` is empty for a whole row. */
  get(table: string, column: string, purpose: string | undefined): ColumnContext {
    const last = this.#last;
    if (last !== undefined && last.column === column && last.table === table && last.purpose === purpose)
      return last;
    const known = this.#byTable.get(table)?.get(column);
    const hit = known?.find((context) => context.purpose === purpose);
    this.#last = hit ?? this.#add(table, column, purpose);
    return this.#last;
  }

  #add(table: string, column: string, purpose: string | undefined): ColumnContext {
    const columnBytes = column === '' ? new Uint8Array(0) : encodePart('column', column);
    const purposeBytes = encodePart('purpose', purpose === undefined ? DEFAULT_PURPOSE : purpose);
    const before = lengthPrefixed(encodePart('table', table), columnBytes);
    const after = new Uint8Array(purposeBytes.length + 3);
    after.set(lengthPrefixed(purposeBytes));
    after[after.length - 1] = 0x01;
    const context: ColumnContext = { table, column, purpose, before, after };
    if (this.#size >= MAX_CACHED) {
      this.#byTable.clear();
      this.#size = 0;
    }
    this.#size += 1;
    const columns = this.#byTable.get(table) ?? new Map<string, ColumnContext[]>();
    this.#byTable.set(table, columns);
    columns.set(column, [...(columns.get(column) ?? []), context]);
    return context;
  }
}
