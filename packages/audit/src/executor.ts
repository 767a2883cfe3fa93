/** What this package needs of a Kysely, so that every Kysely, transaction and organisation handle fits. */
import type { CompiledQuery, QueryResult } from 'kysely';

/** Runs compiled queries: a `Kysely<…>` of any schema, or what extends one. */
export interface QueryExecutor {
  /** True for a Kysely transaction. */
  readonly isTransaction: boolean;
  /** Runs one statement. */
  executeQuery<R>(query: CompiledQuery<R>): Promise<QueryResult<R>>;
}

/** An executor that carries one organisation, actor and request, and may say by which settings, as a tenancy handle does. */
export interface ContextExecutor extends QueryExecutor {
  /**
   * The organisation of the context, where the executor tells it. It decides nothing but which events may be under way in two
   * statements at once: those of different organisations.
   */
  readonly org?: string;
  /** The settings, by name, as they are valid now; every name begins with `ringfence.`. */
  contextSettings?(): Readonly<Record<string, string>>;
}
