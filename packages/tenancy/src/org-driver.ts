/**
 * The Kysely dialect of one organisation, over a pool shared by all. The driver, not a plugin, holds the organisation:
 * raw SQL, pre-compiled queries and `withoutPlugins()` pass through it all the same.
 */
import {
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type TransactionSettings,
} from 'kysely';
import type { ContextMint } from './context.ts';
import { fromDatabaseError } from './errors.ts';
import { OrgConnection } from './org-connection.ts';
import type { SessionPool } from './session-pool.ts';

/** Dialect whose every connection carries the context of one organisation. */
export class OrgDialect implements Dialect {
  readonly #sessions: SessionPool;
  readonly #mint: ContextMint;
  readonly #now: () => number;

  constructor(sessions: SessionPool, mint: ContextMint, now: () => number) {
    this.#sessions = sessions;
    this.#mint = mint;
    this.#now = now;
  }

  /** Makes the driver. */
  createDriver(): Driver {
    return new OrgDriver(this.#sessions, this.#mint, this.#now);
  }

  /** Kysely's own PostgreSQL compiler. */
  createQueryCompiler(): QueryCompiler {
    return new PostgresQueryCompiler();
  }

  /** Kysely's own PostgreSQL adapter. */
  createAdapter(): DialectAdapter {
    return new PostgresAdapter();
  }

  /** Kysely's own PostgreSQL introspector. */
  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new PostgresIntrospector(db);
  }
}

class OrgDriver implements Driver {
  readonly #sessions: SessionPool;
  readonly #mint: ContextMint;
  readonly #now: () => number;

  constructor(sessions: SessionPool, mint: ContextMint, now: () => number) {
    this.#sessions = sessions;
    this.#mint = mint;
    this.#now = now;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    try {
      const take = () => this.#sessions.take();
      return new OrgConnection(await take(), take, this.#mint, this.#now);
    } catch (error) {
      throw fromDatabaseError(error);
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
  async destroy(): Promise<void> {}
}

/** The connection as this package made it; a foreign one is a programmer's mistake. */
export function ours(connection: DatabaseConnection): OrgConnection {
  if (connection instanceof OrgConnection) return connection;
  throw new TypeError('not a connection of tenancy.forOrg(orgId)');
}
