/** What a checkpointer needs of its Kysely: statements, and transactions in one snapshot. */
import { CompiledQuery } from 'kysely';
import type { QueryExecutor } from '../executor.ts';

/** A `Kysely<…>` of any schema. */
export interface CheckpointDatabase extends QueryExecutor {
  /** Begins a transaction. */
  transaction(): {
    /** Sets its isolation. */
    setIsolationLevel(level: 'repeatable read'): {
      /** Runs it. */
      execute<T>(run: (trx: QueryExecutor) => Promise<T>): Promise<T>;
    };
  };
}

/** The rows of one statement. */
export async function rowsOf<R>(
  db: QueryExecutor,
  statement: string,
  parameters: readonly unknown[],
): Promise<R[]> {
  return (await db.executeQuery(CompiledQuery.raw(statement, [...parameters]) as CompiledQuery<R>)).rows;
}

/** A count of PostgreSQL's bigint; more than a number holds is no size of a tree. */
export function sizeOf(value: unknown): number {
  const size = Number(value);
  if (!Number.isSafeInteger(size) || size < 0) throw new TypeError('a size is out of range');
  return size;
}

/** The deployment's own log has the nil UUID: no organisation may have it. */
export const DEPLOYMENT = '00000000-0000-0000-0000-000000000000';
