/**
 * The Kysely dialect of one organisation, over a pool shared by all. The driver, not a plugin, holds the organisation:
 * raw SQL, pre-compiled queries and `withoutPlugins()` pass through it all the same.
 */
import {
  type AbortableOperationOptions,
  type DatabaseConnection,
  type DatabaseIntrospector,
  DefaultConnectionProvider,
  DefaultQueryExecutor,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  type KyselyProps,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type TransactionSettings,
} from 'kysely';
import type { ContextMint } from './context.ts';
import { fromDatabaseError } from './errors.ts';
import { OrgConnection } from './org-connection.ts';
import type { Session, SessionPool } from './session-pool.ts';

/** What the handles of one tenancy have in common: making these for every request costs more than a point read's SQL. */
export interface SharedParts {
  /** The app role's connections. */
  readonly sessions: SessionPool;
  /** Clock, ms since epoch. */
  readonly now: () => number;
  /** Kysely's own PostgreSQL compiler. */
  readonly compiler: QueryCompiler;
  /** Kysely's own PostgreSQL adapter. */
  readonly adapter: DialectAdapter;
}

/** The parts of one tenancy. */
export function sharedParts(sessions: SessionPool, now: () => number): SharedParts {
  return { sessions, now, compiler: new PostgresQueryCompiler(), adapter: new PostgresAdapter() };
}

/** Dialect whose every connection carries the context of one organisation. */
export class OrgDialect implements Dialect {
  readonly #parts: SharedParts;
  readonly #mint: ContextMint;

  constructor(parts: SharedParts, mint: ContextMint) {
    this.#parts = parts;
    this.#mint = mint;
  }

  /** The setting that every statement runs under, as it would be sent now. */
  contextSettings(): Readonly<Record<string, string>> {
    return { 'ringfence.context': this.#mint.at(this.#parts.now()).value };
  }

  /** Makes the driver. */
  createDriver(): Driver {
    return new OrgDriver(this.#parts, this.#mint);
  }

  /** Kysely's own PostgreSQL compiler. */
  createQueryCompiler(): QueryCompiler {
    return this.#parts.compiler;
  }

  /** Kysely's own PostgreSQL adapter. */
  createAdapter(): DialectAdapter {
    return this.#parts.adapter;
  }

  /** Kysely's own PostgreSQL introspector. */
  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new PostgresIntrospector(db);
  }

  /** A Kysely's parts, without the wrapper that would log and initialise: there is nothing to log or to initialise. */
  kyselyProps(): KyselyProps {
    const driver = this.createDriver();
    const provider = new DefaultConnectionProvider(driver);
    const executor = new DefaultQueryExecutor(this.#parts.compiler, this.#parts.adapter, provider);
    return { config: { dialect: this }, dialect: this, driver, executor };
  }
}

class OrgDriver implements Driver {
  readonly #parts: SharedParts;
  readonly #mint: ContextMint;
  #destroyed = false;

  constructor(parts: SharedParts, mint: ContextMint) {
    this.#parts = parts;
    this.#mint = mint;
  }

  async init(): Promise<void> {}

  async acquireConnection(options?: AbortableOperationOptions): Promise<DatabaseConnection> {
    if (this.#destroyed)
      throw new TypeError('this handle was destroyed: make another with tenancy.forOrg(orgId)');
    const { sessions, now } = this.#parts;
    const take = () => sessions.take();
    try {
      const session =
        options?.signal === undefined ? await take() : await unlessAborted(take, options.signal);
      return new OrgConnection(session, take, this.#mint, now);
    } catch (error) {
      throw options?.signal?.aborted === true ? options.signal.reason : fromDatabaseError(error);
    }
  }

  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    let begin = settings.isolationLevel ? `begin isolation level ${settings.isolationLevel}` : 'begin';
    if (settings.accessMode) begin += ` ${settings.accessMode}`;
    ours(connection).begin(begin);
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await ours(connection).commit();
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await ours(connection).rollback();
  }

  async savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await ours(connection).savepoint(name);
  }

  async rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await ours(connection).rollbackToSavepoint(name);
  }

  async releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await ours(connection).releaseSavepoint(name);
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    ours(connection).release();
  }

  /** The pool belongs to the application: destroying one organisation's handle must not end it. */
  async destroy(): Promise<void> {
    this.#destroyed = true;
  }
}

/** Waits for a connection until the signal says otherwise; one that comes later goes back unused. */
async function unlessAborted(take: () => Promise<Session>, signal: AbortSignal): Promise<Session> {
  signal.throwIfAborted();
  const taken = take();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([taken, aborted]);
  } catch (error) {
    if (signal.aborted) taken.then(({ client }) => client.release()).catch(() => {}); // its failure concerns nobody now
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** The connection as this package made it; a foreign one is a programmer's mistake. */
export function ours(connection: DatabaseConnection): OrgConnection {
  if (connection instanceof OrgConnection) return connection;
  throw new TypeError('not a connection of tenancy.forOrg(orgId)');
}
