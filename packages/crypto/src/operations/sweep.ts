/**
 * The sweep: re-seals the rows of a column that are not under the active version, in batches by row id.
 * Invariant: a row is replaced only while its sealed value is the one that was opened, so a write by the application is
 * never undone; a value that does not open is left as it is and counted.
 */
import { type Kysely, sql } from 'kysely';
import { RingfenceCryptoError } from '../errors.ts';
import type { OrgKeys } from '../org-keys.ts';
import { CallPace } from './call-pace.ts';
import { type AnyDatabase, columnTypes, sealedForm } from './column-catalog.ts';
import { timerWait, type Wait } from './operation-context.ts';
import { Resealer } from './resealing.ts';
import { namesKeyId } from './sealed-sql.ts';

/** What to sweep. */
export interface SweepOptions<DB> {
  /** Handle that sees and may update the organisation's rows, without the encryption plugin. */
  readonly db: Kysely<DB>;
  /** Table as it stands in the cells: `schema.table` or `table`. */
  readonly table: string;
  /** Sealed column, text or bytea. */
  readonly column: string;
  /** Column of the row id, or columns in the order in which they enter the cell; their text is the cell's row. */
  readonly rowColumn: string | readonly string[];
  /** Column of the organisation's id: sweeps rows of `keys.org` only. Needed where `db` sees other organisations. */
  readonly orgColumn?: string;
  /** Leased keys, asked again for each row, so that no lease is outlived: `() => keyring.org(org)`. */
  readonly keys: () => Promise<OrgKeys>;
  /** Whether messages are single fields, or whole rows sealed by `sealRow`. Default `field`. */
  readonly sealed?: 'field' | 'row';
  /** Purpose in the cells, if there is one. */
  readonly purpose?: string;
  /** Rows per batch. Default 500. */
  readonly batch?: number;
  /** Rows per second. No limit unless given. */
  readonly ratePerSecond?: number;
  /** Stops after the batch in hand. */
  readonly signal?: AbortSignal;
  /** Called after each batch. */
  readonly onProgress?: (progress: SweepProgress) => void;
  /** Begins after this row id; from the progress of a sweep that ended early. */
  readonly after?: readonly string[];
  /** Monotonic clock in ms; `performance.now` unless given. */
  readonly monotonicNow?: () => number;
  /** Waits; a timer unless given. */
  readonly wait?: Wait;
}

/** Counts of a sweep so far. */
export interface SweepProgress {
  /** Rows met that were not under the active version. */
  readonly rows: number;
  /** Rows re-sealed. */
  readonly resealed: number;
  /** Rows that changed or vanished between reading and writing; what was written then stays. */
  readonly changedMeanwhile: number;
  /** Rows whose value did not open; left as they are. */
  readonly failed: number;
  /** Row id of the last row met. */
  readonly after?: readonly string[];
}

/** A row whose value did not open. */
export interface SweepFailure {
  /** Row id as it stands in the cell. */
  readonly row: string;
  /** Code of the error. */
  readonly code: string;
}

/** Outcome of a sweep. */
export interface SweepReport extends SweepProgress {
  /** The first 100 rows that did not open, with the code of the error. */
  readonly failures: readonly SweepFailure[];
  /** True when the signal ended the sweep early. */
  readonly aborted: boolean;
}

interface SweptRow {
  readonly id: readonly string[];
  readonly sealed: string | Uint8Array;
}

const MOST_FAILURES = 100;

/**
 * Sweeps one column for one organisation. Run it again, or resume it, at any time: rows under the active version are not
 * touched. Blind indexes are swept by the encrypted-columns plugin, not here.
 *
 * @throws RingfenceCryptoError what `keys` throws: a lease that can't be had ends the sweep.
 * @throws TypeError when a column does not exist or `db` is a transaction.
 * @example
 * ```ts
 * await sweepColumn({
 *   db, table: 'ledger.entry', column: 'memo', rowColumn: 'id', orgColumn: 'org_id',
 *   keys: () => keyring.org(org),
 * });
 * ```
 */
export async function sweepColumn<DB>(options: SweepOptions<DB>): Promise<SweepReport> {
  const sweep = new ColumnSweep(options);
  await sweep.prepare();
  return sweep.run();
}

class ColumnSweep<DB> {
  readonly #options: SweepOptions<DB>;
  readonly #db: AnyDatabase;
  readonly #idColumns: readonly string[];
  readonly #batch: number;
  readonly #pace: CallPace;
  readonly #counts = { rows: 0, resealed: 0, changedMeanwhile: 0, failed: 0 };
  readonly #failures: SweepFailure[] = [];
  #idTypes: readonly string[] = [];
  #form: 'text' | 'bytes' = 'text';
  #after: readonly string[] | undefined;

  constructor(options: SweepOptions<DB>) {
    if (options.db.isTransaction)
      throw new TypeError('a sweep commits row by row: give it a handle outside a transaction');
    this.#options = options;
    // Kysely is invariant in its database type; the table is named at run time.
    this.#db = options.db as unknown as AnyDatabase;
    this.#idColumns = typeof options.rowColumn === 'string' ? [options.rowColumn] : options.rowColumn;
    this.#batch = options.batch ?? 500;
    if (!Number.isSafeInteger(this.#batch) || this.#batch < 1)
      throw new TypeError('batch must be at least 1');
    if (options.after !== undefined && options.after.length !== this.#idColumns.length) {
      throw new TypeError('after must name as many values as rowColumn names columns');
    }
    this.#after = options.after;
    const now = options.monotonicNow ?? (() => performance.now());
    this.#pace = new CallPace(options.ratePerSecond, now, options.wait ?? timerWait);
  }

  async prepare(): Promise<void> {
    const { table, column } = this.#options;
    this.#form = await sealedForm(this.#db, table, column);
    this.#idTypes = await columnTypes(this.#db, table, this.#idColumns);
  }

  async run(): Promise<SweepReport> {
    const { signal, onProgress } = this.#options;
    for (let more = true; more && signal?.aborted !== true; ) {
      more = await this.#sweepBatch();
      onProgress?.(this.#progress());
    }
    return { ...this.#progress(), failures: this.#failures, aborted: signal?.aborted === true };
  }

  /** True when there may be more. */
  async #sweepBatch(): Promise<boolean> {
    const keys = await this.#options.keys();
    const rows = await this.#select(keys);
    for (const row of rows) {
      await this.#pace.slot(this.#options.signal);
      if (this.#options.signal?.aborted === true) return false;
      await this.#reseal(row);
      this.#after = row.id;
    }
    return rows.length === this.#batch;
  }

  async #select(keys: OrgKeys): Promise<SweptRow[]> {
    const { table, column, orgColumn } = this.#options;
    const after = this.#after;
    const ids = this.#idColumns.map((id) => sql.ref(id));
    const beyond =
      after === undefined
        ? sql`true`
        : sql`(${sql.join(ids)}) > (${sql.join(after.map((value, i) => this.#idValue(value, i)))})`;
    const ofOrg = orgColumn === undefined ? sql`true` : sql`${sql.ref(orgColumn)}::text = ${keys.org}`;
    const { rows } = await sql<{ id: string[]; sealed: string | Uint8Array }>`
      select array[${sql.join(ids.map((id) => sql`${id}::text`))}] as id, ${sql.ref(column)} as sealed
      from ${sql.table(table)}
      where ${sql.ref(column)} is not null and not ${namesKeyId(column, this.#form, keys.activeKeyId)}
        and ${ofOrg} and ${beyond}
      order by ${sql.join(ids)} limit ${this.#batch}`.execute(this.#db);
    return rows;
  }

  async #reseal(row: SweptRow): Promise<void> {
    const { table, column, purpose, orgColumn, sealed: kind } = this.#options;
    this.#counts.rows += 1;
    const cellRow = row.id.length === 1 ? (row.id[0] as string) : JSON.stringify(row.id);
    const cell = { table, column, row: cellRow, ...(purpose !== undefined && { purpose }) };
    const keys = await this.#options.keys();
    let fresh: string | Uint8Array;
    try {
      fresh = new Resealer(keys, kind ?? 'field').reseal(cell, row.sealed);
    } catch (error) {
      // A lease that ended says nothing about the row; the sweep is resumed with another.
      if (!(error instanceof RingfenceCryptoError) || error.code.startsWith('crypto.lease_')) throw error;
      this.#counts.failed += 1;
      if (this.#failures.length < MOST_FAILURES) this.#failures.push({ row: cellRow, code: error.code });
      return;
    }
    const target = typeof fresh === 'string' ? sql`${fresh}` : sql`${Buffer.from(fresh)}::bytea`;
    const former =
      typeof row.sealed === 'string' ? sql`${row.sealed}` : sql`${Buffer.from(row.sealed)}::bytea`;
    const ids = sql.join(
      this.#idColumns.map((id, i) => sql`${sql.ref(id)} = ${this.#idValue(row.id[i] as string, i)}`),
      sql` and `,
    );
    const ofOrg = orgColumn === undefined ? sql`true` : sql`${sql.ref(orgColumn)}::text = ${keys.org}`;
    const { numAffectedRows } = await sql`
      update ${sql.table(table)} set ${sql.ref(column)} = ${target}
      where ${ids} and ${ofOrg} and ${sql.ref(column)} = ${former}`.execute(this.#db);
    if (numAffectedRows === 1n) this.#counts.resealed += 1;
    else this.#counts.changedMeanwhile += 1;
  }

  #idValue(value: string, i: number): ReturnType<typeof sql> {
    return sql`cast(${value}::text as ${sql.raw(this.#idTypes[i] as string)})`;
  }

  #progress(): SweepProgress {
    return { ...this.#counts, ...(this.#after !== undefined && { after: this.#after }) };
  }
}
