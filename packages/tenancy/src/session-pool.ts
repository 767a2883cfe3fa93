/**
 * The shared `pg` pool and what is known of each of its physical connections.
 * The pool is never handed out again: whoever holds it can run statements without a context.
 */
import { randomBytes } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { namedStatements, type PreparedStatements, unnamedStatements } from './prepared-statements.ts';

/** What is known of one physical connection, across checkouts. */
export interface Session {
  /** The driver's client. */
  readonly client: PoolClient;
  /** Its prepared statements. */
  readonly prepared: PreparedStatements;
  /** True once `tenancy.assert_app_role()` has passed on it. */
  checked: boolean;
  /** True once the connection has failed. */
  lost: boolean;
}

/** How statements are prepared on each connection. */
export type PreparedStatementMode =
  | {
      /** Prepared statements kept per connection; the least recently used is closed. */
      readonly limit: number;
    }
  | 'unnamed';

/** Hands out sessions of a `pg` pool. */
export class SessionPool {
  readonly #pool: Pool;
  readonly #mode: PreparedStatementMode;
  readonly #prefix = `rf_${randomBytes(4).toString('hex')}`;
  readonly #sessions = new WeakMap<PoolClient, Session>();

  constructor(pool: Pool, mode: PreparedStatementMode) {
    this.#pool = pool;
    this.#mode = mode;
    this.#statements(); // refuses a bad limit now, not at the first statement
  }

  /** Takes a connection; the caller releases it through its client. */
  async take(): Promise<Session> {
    const client = await this.#pool.connect();
    let session = this.#sessions.get(client);
    if (session === undefined) {
      const made: Session = { client, prepared: this.#statements(), checked: false, lost: false };
      // The pool listens only while a connection is idle. The flight under way, or the next one, reports the loss.
      client.on('error', () => {
        made.lost = true;
      });
      session = made;
      this.#sessions.set(client, session);
    }
    return session;
  }

  #statements(): PreparedStatements {
    return this.#mode === 'unnamed' ? unnamedStatements : namedStatements(this.#prefix, this.#mode.limit);
  }
}
