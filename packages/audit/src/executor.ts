/** The one thing this package needs of a Kysely, so that every Kysely, transaction and organisation handle fits. */
import type { CompiledQuery, QueryResult } from 'kysely';

/** Runs compiled queries: a `Kysely<…>` of any schema, or what extends one. */
export interface QueryExecutor {
  /** True for a Kysely transaction. */
  readonly isTransaction: boolean;
  /** Runs one statement. */
  executeQuery<R>(query: CompiledQuery<R>): Promise<QueryResult<R>>;
}
