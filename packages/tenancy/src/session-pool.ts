/**
 * The shared `pg` pool and what is known of each of its physical connections.
 * The pool is never handed out again: whoever holds it can run statements without a context.
 */
import { randomBytes } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { requestCancel } from './cancel-request.ts';
import { namedStatements, type PreparedStatements, unnamedStatements } from './prepared-statements.ts';

/** What is known of a connection's session in the server, whoever checks the connection out. */
export interface ServerSession {
  /** True once `tenancy.assert_app_role()` has passed on it. */
  checked: boolean;
  /** True once the connection has failed. */
  lost: boolean;
  /** True while the whole check is due at the next checkout: the connection is new, or more than plain queries ran on it. */
  suspect: boolean;
  /** True when the database has a function that runs dynamic SQL, whoever may call it: a check is due at every checkout. */
  dynamicSql: boolean;
  /** Time of the last whole check, ms since epoch. */
  checkedAtMs: number;
}

/**
 * Where a client carries it: two tenancies over one pool lend the same sessions, so what a borrower of one has done must be
 * known to the other. A global symbol, because an application may hold two copies of this package.
 */
const SERVER_SESSION: unique symbol = Symbol.for('ringfence.tenancy.server_session');

type KnownClient = PoolClient & { [SERVER_SESSION]?: ServerSession };

/** What is known of one physical connection, across checkouts. */
export interface Session {
  /** The driver's client. */
  readonly client: PoolClient;
  /** Its prepared statements. */
  readonly prepared: PreparedStatements;
  /**
   * True behind a pooler in transaction mode: each flight may run in another session of the server, so nothing that was
   * seen in one holds for the next. Only the login role is the same in all of them.
   */
  readonly pooled: boolean;
  /** Cancels what it runs now, or by the time the request arrives: the connection must not be lent again. */
  readonly cancel: () => Promise<void>;
  /** Its session in the server. */
  readonly server: ServerSession;
}

/** How statements are prepared on each connection. */
export type PreparedStatementMode =
  | {
      /** Prepared statements kept per connection; the least recently used is closed. */
      readonly limit: number;
    }
  /** Behind a pooler in transaction mode: no names, and the session is taken back as a whole at every checkout. */
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
      session = {
        client,
        prepared: this.#statements(),
        pooled: this.#mode === 'unnamed',
        cancel: () => requestCancel(this.#pool.options, client),
        server: serverSessionOf(client),
      };
      this.#sessions.set(client, session);
    }
    return session;
  }

  #statements(): PreparedStatements {
    return this.#mode === 'unnamed' ? unnamedStatements : namedStatements(this.#prefix, this.#mode.limit);
  }
}

function serverSessionOf(client: KnownClient): ServerSession {
  const known = client[SERVER_SESSION];
  if (known !== undefined) return known;
  const made: ServerSession = {
    checked: false,
    lost: false,
    suspect: true,
    dynamicSql: true,
    checkedAtMs: 0,
  };
  // The pool listens only while a connection is idle. The flight under way, or the next one, reports the loss.
  client.on('error', () => {
    made.lost = true;
  });
  client[SERVER_SESSION] = made;
  return made;
}
