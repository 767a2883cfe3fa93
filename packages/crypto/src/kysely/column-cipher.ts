/**
 * Seals and opens single values of declared columns for their cell.
 * Invariant: null stays null; every other value leaves sealed and comes back only when it opens for exactly its cell, or
 * as counted plaintext of a migrating column.
 */
import { isSealedText } from '../field-format.ts';
import type { OrgKeys } from '../org-keys.ts';
import { atCell, EncryptedColumnError } from './column-errors.ts';
import type { ColumnMigration } from './column-migration.ts';
import type { DeclaredColumn } from './declaration.ts';
import { isSealedBytes, namesKey } from './sealed-form.ts';

/** Seals and opens for one organisation. */
export class ColumnCipher {
  readonly keys: OrgKeys;
  readonly #migration: ColumnMigration | undefined;

  constructor(keys: OrgKeys, migration: ColumnMigration | undefined) {
    this.keys = keys;
    this.#migration = migration;
  }

  /** Seals a value that is not null. */
  seal(column: DeclaredColumn, row: string, value: unknown): string | Uint8Array {
    const cell = { table: column.table, column: column.name, row };
    const fits = column.type === 'text' ? typeof value === 'string' : value instanceof Uint8Array;
    if (!fits) {
      throw new TypeError(
        `${column.table}.${column.name} takes a ${column.type === 'text' ? 'string' : 'Uint8Array'} or null`,
      );
    }
    // A value sealed before (a query transformed twice, or ciphertext copied by hand) would open to ciphertext.
    if (namesKey(value, this.keys.keyIds)) {
      throw new EncryptedColumnError(
        'crypto.query_refused',
        `${column.table}.${column.name}: the value is sealed already: write the plain value`,
        { org: this.keys.org, ...cell },
      );
    }
    return typeof value === 'string'
      ? this.keys.sealText(cell, value)
      : this.keys.seal(cell, value as Uint8Array);
  }

  /** Opens a stored value that is not null. */
  open(column: DeclaredColumn, row: string, value: unknown): string | Uint8Array {
    const cell = { table: column.table, column: column.name, row };
    if (column.type === 'text' ? typeof value !== 'string' : !(value instanceof Uint8Array)) {
      throw new EncryptedColumnError(
        'crypto.malformed_message',
        `${cell.table}.${cell.column} of row ${row}: the stored value is no ${column.type}: check the column's type and other Kysely plugins`,
        { org: this.keys.org, ...cell },
      );
    }
    const sealed = typeof value === 'string' ? isSealedText(value) : isSealedBytes(value as Uint8Array);
    if (!sealed) return this.#plaintext(cell, value as string | Uint8Array);
    try {
      return typeof value === 'string'
        ? this.keys.openText(cell, value)
        : this.keys.open(cell, value as Uint8Array);
    } catch (error) {
      throw atCell(error, cell);
    }
  }

  /** Lets the migration tell what it counted. */
  notify(): void {
    this.#migration?.notify();
  }

  #plaintext<T extends string | Uint8Array>(
    cell: { readonly table: string; readonly column: string; readonly row: string },
    value: T,
  ): T {
    if (this.#migration?.admits(cell.table, cell.column) !== true) {
      throw new EncryptedColumnError(
        'crypto.malformed_message',
        `${cell.table}.${cell.column} of row ${cell.row}: found plaintext where a sealed value is due`,
        { org: this.keys.org, ...cell },
      );
    }
    this.#migration.count(cell.table, cell.column);
    return value;
  }
}
