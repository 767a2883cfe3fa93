/**
 * The shared pool in the form of a `pg.Pool` that belongs to one organisation. It is a `pg.Pool` by type and by
 * `instanceof`, because query builders choose their way by that; but the machinery it inherits makes no connection, and
 * every statement goes through the organisation's context. Invariant: neither the shared pool nor a client of it is
 * reachable from here.
 */
import pg, { type ClientBase, type Pool, type PoolClient, type PoolConfig, type QueryResult } from 'pg';
import { fromDatabaseError } from '../errors.ts';
import type { OrgConnection } from '../org-connection.ts';
import type { OrgId } from '../org-id.ts';
import { OrgClient } from './org-client.ts';
import { type PgQuery, queryResult, queryStatement } from './query-statement.ts';
import { transactionStatement } from './transaction-statement.ts';

/**
 * A pool bound to one organisation. `query` costs one round trip, context included; a transaction of n statements on the
 * client of `connect()` n + 1. Callbacks, streams, cursors, COPY and LISTEN are refused with a `TypeError`. `end()` closes
 * this handle and leaves the shared pool open. It emits no events.
 */
export interface OrgPool extends Pool {
  /** The organisation whose rows this pool sees. */
  readonly org: OrgId;
}

/** The inherited constructor without the inherited signatures, which promise callbacks and streams. */
const PgPool: new (config: PoolConfig) => { readonly ending: boolean } = pg.Pool;

/** What the inherited machinery would connect with, if something reached it. */
function noClient(): never {
  throw new TypeError('the pool of an organisation makes no connections of its own');
}

class OrgPoolOverTenancy extends PgPool {
  /** Drizzle tells a pool from a client by `Pool` in this name; as a field it survives a minifier. */
  static override readonly name = 'OrgPool';
  readonly org: OrgId;
  readonly #take: () => Promise<OrgConnection>;

  constructor(org: OrgId, take: () => Promise<OrgConnection>) {
    super({ Client: noClient as unknown as new () => ClientBase });
    this.org = org;
    this.#take = take;
  }

  async query(
    query: string | PgQuery,
    values?: readonly unknown[],
    callback?: unknown,
  ): Promise<QueryResult<Record<string, unknown>>> {
    const statement = queryStatement(query, values, callback);
    if (transactionStatement(statement.sql) !== undefined) {
      throw new TypeError('a transaction needs one connection: use the client of connect()');
    }
    const connection = await this.#connection();
    try {
      return queryResult(await connection.execute(statement));
    } finally {
      connection.release();
    }
  }

  async connect(callback?: unknown): Promise<PoolClient> {
    if (callback !== undefined) throw new TypeError('connect: callbacks are not supported');
    return new OrgClient(await this.#connection()) as unknown as PoolClient;
  }

  async #connection(): Promise<OrgConnection> {
    if (this.ending) throw new TypeError('this handle was closed with end()');
    try {
      return await this.#take();
    } catch (error) {
      throw fromDatabaseError(error);
    }
  }
}

/** Makes the pool of one organisation over connections that carry its context. */
export function orgPool(org: OrgId, take: () => Promise<OrgConnection>): OrgPool {
  return new OrgPoolOverTenancy(org, take) as unknown as OrgPool;
}
