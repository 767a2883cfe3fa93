/**
 * The entry point: one tenancy per pool, one handle per organisation and principal.
 * A handle is a Kysely whose every statement carries the organisation's context; nothing ambient decides who asks.
 */
import {
  type AbortableQueryOptions,
  type Compilable,
  type CompiledQuery,
  Kysely,
  type QueryResult,
  type Transaction,
} from 'kysely';
import type { Pool } from 'pg';
import { type ContextKey, ContextSigner, type Principal } from './context.ts';
import { OrgDialect, ours, sharedParts } from './org-driver.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import { type PreparedStatementMode, SessionPool } from './session-pool.ts';
import { batchOf } from './statement.ts';

/** Settings of `createTenancy`. */
export interface TenancyOptions {
  /** Pool of the app role: no superuser, no BYPASSRLS, member of no table owner. Checked on each connection's first use. */
  readonly pool: Pool;
  /** Key that signs the context. Required when the migration was made with `signedContext: true`. */
  readonly contextKey?: ContextKey;
  /** How long a signed context stays valid, ms; renewed at half its life. Default 60 000. */
  readonly contextLifetimeMs?: number;
  /**
   * Prepared statements kept per connection, or `'unnamed'` behind a pooler in transaction mode, whatever its version.
   * Default `{ limit: 500 }`.
   */
  readonly preparedStatements?: PreparedStatementMode;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Makes handles bound to one organisation. */
export interface Tenancy<DB> {
  /**
   * A handle for one organisation: cheap to make, one per request.
   *
   * @throws TypeError when `org` is not a lower-case UUID.
   * @throws RingfenceTenancyError `tenancy.invalid_context` when the principal has a character the format refuses.
   */
  forOrg(org: OrgId, principal: Principal): OrgDb<DB>;
}

/** The results of a batch, in the order of its statements. */
export type BatchResults<Q extends readonly Compilable<unknown>[]> = {
  -readonly [I in keyof Q]: Q[I] extends Compilable<infer R> ? QueryResult<R> : never;
};

/**
 * A Kysely bound to one organisation. Each statement costs one round trip, context included; a transaction of n
 * statements n + 1.
 */
export class OrgDb<DB> extends Kysely<DB> {
  /** The organisation whose rows this handle sees. */
  readonly org: OrgId;
  readonly #dialect: OrgDialect;

  constructor(org: OrgId, dialect: OrgDialect) {
    super(dialect.kyselyProps());
    this.org = org;
    this.#dialect = dialect;
  }

  /**
   * The settings that carry this handle's context, by name, for a function of the database that serves several handles in
   * one call. Whoever holds them can act as the handle until they expire, at most `contextLifetimeMs`: hand them to PostgreSQL
   * and to nothing else.
   */
  contextSettings(): Readonly<Record<string, string>> {
    return this.#dialect.contextSettings();
  }

  /**
   * Runs several statements atomically in one round trip. Statements cannot use each other's results. An abort signal
   * applies to the batch as a whole, as to a query of Kysely's.
   *
   * @example
   * ```ts
   * const [entries, lines] = await db.batch([
   *   db.selectFrom('ledger.entry').selectAll(),
   *   db.selectFrom('ledger.bank_line').selectAll(),
   * ]);
   * ```
   */
  async batch<const Q extends readonly Compilable<unknown>[]>(
    queries: Q,
    options?: AbortableQueryOptions,
  ): Promise<BatchResults<Q>> {
    const compiled: CompiledQuery[] = queries.map((query) => query.compile());
    const executor = this.getExecutor();
    const batch: CompiledQuery = batchOf(compiled);
    const { rows: raw } = await executor.withoutPlugins().executeQuery(batch, options);
    const results: QueryResult<unknown>[] = [];
    for (const [index, query] of compiled.entries()) {
      let result = raw[index] as QueryResult<Record<string, unknown>>;
      for (const plugin of executor.plugins) {
        result = await plugin.transformResult({ queryId: query.queryId, result });
      }
      results.push(result);
    }
    return results as BatchResults<Q>;
  }
}

/** A transaction made by a handle's `transaction()`. */
export type OrgTransaction<DB> = Transaction<DB>;

/** A statement queued for the flight of COMMIT. */
export interface QueuedStatement {
  /** Its result: resolves once COMMIT has answered, rejects when the transaction does not commit. May be dropped. */
  readonly result: Promise<QueryResult<unknown>>;
}

/**
 * Queues a statement for the flight of COMMIT: it runs last, costs no round trip of its own, and commits or fails with
 * the transaction. Await the call itself inside the transaction, and the result after it.
 *
 * @throws TypeError outside an open transaction of a handle.
 * @example
 * ```ts
 * const queued = await db.transaction().execute(async (trx) => {
 *   await trx.updateTable('ledger.entry').set({ status: 'approved' }).where('id', '=', id).execute();
 *   return await atCommit(trx, receipt.query);
 * });
 * const appended = await queued.result;
 * ```
 */
export function atCommit(
  trx: Pick<OrgTransaction<unknown>, 'getExecutor'>,
  query: CompiledQuery,
): Promise<QueuedStatement> {
  return trx.getExecutor().provideConnection(async (connection) => {
    const result = ours(connection).queueAtCommit(query);
    return { result };
  });
}

/**
 * Makes the tenancy of one pool. The pool must not be used elsewhere: a statement that does not pass through a handle
 * has no context and is refused by the policies.
 *
 * @throws TypeError when the context key is malformed.
 * @example
 * ```ts
 * const tenancy = createTenancy<Database>({ pool, contextKey });
 * const db = tenancy.forOrg(parseOrgId(session.org), { actor: `user:${session.user}` });
 * const mine = await db.selectFrom('ledger.entry').selectAll().execute();
 * ```
 */
export function createTenancy<DB>(options: TenancyOptions): Tenancy<DB> {
  const sessions = new SessionPool(options.pool, options.preparedStatements ?? { limit: 500 });
  const signer = new ContextSigner(options.contextKey, options.contextLifetimeMs ?? 60_000);
  const parts = sharedParts(sessions, options.now ?? Date.now);
  return {
    forOrg: (org, principal) => {
      const parsed = parseOrgId(org);
      return new OrgDb<DB>(parsed, new OrgDialect(parts, signer.mintFor(parsed, principal)));
    },
  };
}
