/**
 * Migration mode with an end: until a fixed date, plaintext found in the listed columns is read through and counted.
 * Writes seal from the first day. Invariant: only listed columns, only until the date, never uncounted, and never for a
 * value that has the form of a sealed one.
 */
import type { SealedColumnNames } from './column-types.ts';
import type { EncryptedColumns } from './declaration.ts';

/** Plaintext values met so far in one column. */
export interface PlaintextCount {
  /** `table.column`. */
  readonly column: string;
  /** Plaintext values read through since the migration object was made. */
  readonly plaintextReads: number;
}

/** Options of a migration. */
export interface ColumnMigrationOptions<DB> {
  /** Columns that may still hold plaintext, as `table.column`. */
  readonly columns: readonly SealedColumnNames<DB>[];
  /** End: from this instant on plaintext is an error in these columns too. */
  readonly until: Date;
  /** Called once per query that met plaintext, with the counts so far. Never gets content. */
  readonly onPlaintext?: (counts: readonly PlaintextCount[]) => void;
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now?: () => number;
}

/** A migration under way; one object per process, shared by all `withEncryption` calls. */
export interface ColumnMigration {
  /** Counts per listed column. */
  migrationReport(): readonly PlaintextCount[];
  /** True while plaintext of a column is read through. */
  admits(table: string, column: string): boolean;
  /** Counts one plaintext value. */
  count(table: string, column: string): void;
  /** Tells the listener, if anything was counted since it was last told. */
  notify(): void;
}

/**
 * Starts counting a migration to encrypted columns.
 *
 * @throws TypeError when a column is not declared or `until` is no date.
 * @example
 * ```ts
 * const migration = columnMigration(columns, {
 *   columns: ['ledger.entry.memo'],
 *   until: new Date('2027-01-31T00:00:00Z'),
 *   onPlaintext: (counts) => metrics.record(counts),
 * });
 * const db = withEncryption(kysely, keys, columns, { mode: 'migrating', migration });
 * ```
 */
export function columnMigration<DB>(
  columns: EncryptedColumns<DB>,
  options: ColumnMigrationOptions<DB>,
): ColumnMigration {
  return new CountingMigration(columns, options);
}

class CountingMigration<DB> implements ColumnMigration {
  readonly #counts = new Map<string, number>();
  readonly #until: number;
  readonly #now: () => number;
  readonly #onPlaintext: ((counts: readonly PlaintextCount[]) => void) | undefined;
  #untold = false;

  constructor({ tables }: EncryptedColumns<DB>, options: ColumnMigrationOptions<DB>) {
    const known = new Set(
      [...tables.values()].flatMap(({ name, sealed }) => [...sealed.keys()].map((c) => `${name}.${c}`)),
    );
    for (const column of options.columns) {
      if (!known.has(column)) throw new TypeError(`${column} is no declared sealed column`);
      this.#counts.set(column, 0);
    }
    this.#until = options.until.getTime();
    if (Number.isNaN(this.#until)) throw new TypeError('until must be a valid date: a migration has an end');
    this.#now = options.now ?? Date.now;
    this.#onPlaintext = options.onPlaintext;
  }

  migrationReport(): readonly PlaintextCount[] {
    return [...this.#counts].map(([column, plaintextReads]) => ({ column, plaintextReads }));
  }

  admits(table: string, column: string): boolean {
    return this.#counts.has(`${table}.${column}`) && this.#now() < this.#until;
  }

  count(table: string, column: string): void {
    const name = `${table}.${column}`;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    this.#untold = true;
  }

  notify(): void {
    if (!this.#untold) return;
    this.#untold = false;
    this.#onPlaintext?.(this.migrationReport());
  }
}
