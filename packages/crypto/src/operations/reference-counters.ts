/**
 * Reference counters over PostgreSQL columns.
 * Invariant: a count sees all that was written by transactions that were running when it was called. It waits for those
 * to end first, because a row written but not yet committed is invisible to any count and would turn up afterwards.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { RingfenceCryptoError } from '../errors.ts';
import { type AnyDatabase, sealedForm } from './column-catalog.ts';
import { timerWait } from './operation-context.ts';
import type { ReferenceCounter } from './retirement.ts';
import { namesKeyId } from './sealed-sql.ts';

/** Settings of a counter. */
export interface ColumnCounterOptions {
  /** Longest wait for running transactions, ms. Default 30 000. */
  readonly settleMs?: number;
}

/**
 * Counts the rows of a sealed column, text or bytea, that name a version. `db` must see all rows of the organisation: a
 * row hidden by row-level security is not counted. Key ids are random, so no filter by organisation is needed.
 * An index for large tables: `create index on ledger.entry ((substring(memo from 8 for 21) collate "C"))`, and for bytea
 * `((substring(memo from 3 for 16)))`.
 *
 * @throws RingfenceCryptoError (when it counts) `crypto.retirement_too_early` (retryable) when a transaction runs longer
 * than `settleMs`.
 * @throws TypeError (when it counts) when there is no such column, it is neither text nor bytea, or `db` is a transaction.
 * @example
 * ```ts
 * await operations.retire(org, keyId, [sealedColumnCounter(db, 'ledger.entry', 'memo')]);
 * ```
 */
export function sealedColumnCounter<DB>(
  db: Kysely<DB>,
  table: string,
  column: string,
  options: ColumnCounterOptions = {},
): ReferenceCounter {
  return columnCounter(db, table, column, options, async (handle, keyId) =>
    namesKeyId(column, await sealedForm(handle, table, column), keyId),
  );
}

/**
 * Counts the rows of a blind index column whose value was made under a version. A version must not be retired while index
 * values name it: searches no longer ask for them.
 *
 * @throws RingfenceCryptoError and TypeError as `sealedColumnCounter`.
 */
export function blindIndexCounter<DB>(
  db: Kysely<DB>,
  table: string,
  column: string,
  options: ColumnCounterOptions = {},
): ReferenceCounter {
  return columnCounter(
    db,
    table,
    column,
    options,
    async (_, keyId) =>
      sql<boolean>`split_part(${sql.ref(column)}::text, '.', 2) = ${keyId.slice(0, 16)}::text collate "C"`,
  );
}

function columnCounter<DB>(
  db: Kysely<DB>,
  table: string,
  column: string,
  { settleMs = 30_000 }: ColumnCounterOptions,
  condition: (handle: AnyDatabase, keyId: string) => Promise<RawBuilder<boolean>>,
): ReferenceCounter {
  // Kysely is invariant in its database type; the table is named at run time.
  const handle = db as unknown as AnyDatabase;
  return {
    name: `${table}.${column}`,
    async count(org, keyId) {
      if (db.isTransaction) {
        throw new TypeError('a reference counter needs a handle outside a transaction: it waits for others');
      }
      const where = await condition(handle, keyId);
      if (!(await writersEnded(handle, settleMs))) {
        throw new RingfenceCryptoError(
          'crypto.retirement_too_early',
          `a transaction has been writing for more than ${settleMs} ms; what it wrote can't be counted before it ends`,
          { org, keyId },
          true,
        );
      }
      const { rows } = await sql<{ n: string }>`
        select count(*) as n from ${sql.table(table)} where ${where}`.execute(handle);
      return Number(rows[0]?.n);
    },
  };
}

/** Waits until every transaction that was writing has ended. Needs no privilege; readers are not waited for. */
async function writersEnded(db: AnyDatabase, withinMs: number): Promise<boolean> {
  const { rows } = await sql<{ xmax: string }>`
    select pg_snapshot_xmax(pg_current_snapshot())::text as xmax`.execute(db);
  const xmax = rows[0]?.xmax ?? '';
  const step = Math.max(1, Math.min(100, withinMs / 20));
  for (let waited = 0; ; waited += step) {
    const answer = await sql<{ ended: boolean }>`
      select pg_snapshot_xmin(pg_current_snapshot()) >= ${xmax}::xid8 as ended`.execute(db);
    if (answer.rows[0]?.ended === true) return true;
    if (waited >= withinMs) return false;
    await timerWait(step);
  }
}
