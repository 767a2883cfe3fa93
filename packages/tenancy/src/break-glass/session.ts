/**
 * One break-glass session: three transactions on one connection, which is destroyed afterwards.
 *
 *     1  open_break_glass(token), audit `opened`      committed before anything can be read
 *     2  the callback                                 READ ONLY for a `read` token
 *     3  audit `closed`, close_break_glass()          for a `write` token inside 2, so that writes and record are one
 *
 * This order is convenience: the database shows no row before the commit of 1, whoever speaks to it.
 */
import {
  Kysely,
  PostgresDialect,
  type PostgresPoolClient,
  type QueryExecutorProvider,
  sql,
  type Transaction,
} from 'kysely';
import type { Pool, PoolClient, QueryConfig } from 'pg';
import { fromDatabaseError, RingfenceTenancyError } from '../errors.ts';
import { parseOrgId } from '../org-id.ts';
import type { BreakGlassAudit, BreakGlassClosed, BreakGlassGrant } from './audit-port.ts';
import { CallbackHandle } from './callback-handle.ts';
import type { BreakGlassMode } from './token.ts';

/** Settings of `breakGlass`. */
export interface BreakGlassOptions<DB> {
  /** Pool of the break-glass role, for sessions only. */
  readonly pool: Pool;
  /** The application's audit log. */
  readonly audit: BreakGlassAudit<DB>;
}

/** Runs break-glass sessions. */
export interface BreakGlass<DB> {
  /**
   * Opens a token, runs the callback in one transaction that sees the token's organisation, and closes it. A token opens once.
   *
   * @throws RingfenceTenancyError `tenancy.break_glass_forged`, `_invalid`, `_expired`, `_revoked` or `_used` when the token
   * does not open; `_closed`, `_expired`, `_revoked` or `_read_only` from a statement of the callback;
   * `tenancy.break_glass_close_failed` when the end could not be recorded; `tenancy.unsafe_role`.
   */
  session<R>(
    token: string,
    callback: (db: Transaction<DB>, grant: BreakGlassGrant) => Promise<R>,
  ): Promise<R>;
}

/** Sent so that PostgreSQL refuses several statements in one text; the published types lag behind the driver. */
type OneStatement = QueryConfig & { readonly queryMode: 'extended' };

/** What a callback did. */
type Tally = Pick<BreakGlassClosed, 'statements' | 'rows'>;

/**
 * Break-glass access through one pool.
 *
 * @example
 * ```ts
 * const emergency = breakGlass<Database>({ pool: breakGlassPool, audit });
 * const entries = await emergency.session(token, (db) => db.selectFrom('ledger.entry').selectAll().execute());
 * ```
 */
export function breakGlass<DB>({ pool, audit }: BreakGlassOptions<DB>): BreakGlass<DB> {
  return {
    session: async (token, callback) => {
      const client = await pool.connect();
      client.on('error', () => {}); // the statement under way, or the next one, reports the loss
      try {
        return await new Session(client, audit, token).run(callback);
      } finally {
        client.release(true); // nothing a session left, by whatever SQL, meets the next one
      }
    },
  };
}

class Session<DB> {
  readonly #audit: BreakGlassAudit<DB>;
  readonly #token: string;
  readonly #dialect: PostgresDialect;
  readonly #db: Kysely<DB>;
  #tally: Tally = { statements: 0, rows: 0 };

  constructor(client: PoolClient, audit: BreakGlassAudit<DB>, token: string) {
    this.#audit = audit;
    this.#token = token;
    const query = async (text: string, parameters: readonly unknown[]) => {
      const statement: OneStatement = { text, values: [...parameters], queryMode: 'extended' };
      // Counted before it runs: the error of one that fails can tell rows.
      this.#tally = { ...this.#tally, statements: this.#tally.statements + 1 };
      try {
        const result = await client.query(statement);
        this.#tally = { ...this.#tally, rows: this.#tally.rows + result.rows.length };
        return result;
      } catch (error) {
        throw fromDatabaseError(error);
      }
    };
    // Without a cursor class Kysely runs no other kind of query.
    const counted: PostgresPoolClient = {
      query: query as unknown as PostgresPoolClient['query'],
      release: () => {},
    };
    const pool = { connect: async () => counted, end: async () => {}, options: {} };
    this.#dialect = new PostgresDialect({ pool });
    this.#db = new Kysely<DB>({ dialect: this.#dialect });
  }

  async run<R>(callback: (db: Transaction<DB>, grant: BreakGlassGrant) => Promise<R>): Promise<R> {
    const grant = await this.#transaction('read write', async (trx) => {
      const opened = await open(trx, this.#token);
      await this.#audit.record(trx, { ...opened, event: 'opened' });
      return opened;
    });
    const writes = grant.mode === 'write';
    let done: Tally = { statements: 0, rows: 0 };
    let result: R;
    try {
      result = await this.#transaction(writes ? 'read write' : 'read only', async (trx) => {
        await this.#enter(trx);
        const before = this.#tally;
        const handle = new CallbackHandle(trx, this.#dialect);
        let returned: R;
        try {
          returned = await callback(handle.db, structuredClone(grant)); // the record is made from ours
        } finally {
          await handle.end();
          done = {
            statements: this.#tally.statements - before.statements,
            rows: this.#tally.rows - before.rows,
          };
        }
        if (writes) await this.#close(trx, { ...grant, ...done, event: 'closed', outcome: 'completed' });
        return returned;
      });
    } catch (error) {
      await this.#closeAfter({ ...grant, ...done, event: 'closed', outcome: 'failed' }, error);
      throw error;
    }
    if (!writes) await this.#closeAfter({ ...grant, ...done, event: 'closed', outcome: 'completed' });
    return result;
  }

  async #closeAfter(record: BreakGlassClosed, failure?: unknown): Promise<void> {
    try {
      await this.#transaction('read write', async (trx) => {
        await this.#enter(trx);
        await this.#close(trx, record);
      });
    } catch (error) {
      throw new RingfenceTenancyError(
        'tenancy.break_glass_close_failed',
        `the end of break-glass session ${record.tokenId} is not recorded: revoke the token, or it stays usable until it expires`,
        { cause: failure === undefined ? error : new AggregateError([failure, error]) },
      );
    }
  }

  async #close(trx: Transaction<DB>, record: BreakGlassClosed): Promise<void> {
    await this.#audit.record(trx, record);
    await sql`select tenancy.close_break_glass()`.execute(trx);
  }

  /** READ COMMITTED, whatever the default of the connection: only it sees a revocation in the next statement. */
  async #transaction<R>(
    mode: 'read only' | 'read write',
    run: (trx: Transaction<DB>) => Promise<R>,
  ): Promise<R> {
    const begin = this.#db.transaction().setIsolationLevel('read committed').setAccessMode(mode);
    return await begin.execute(run);
  }

  async #enter(trx: Transaction<DB>): Promise<void> {
    await sql`select pg_catalog.set_config('ringfence.break_glass', ${this.#token}, true)`.execute(trx);
  }
}

interface OpenedRow {
  readonly tokenId: string;
  readonly org: string;
  readonly mode: BreakGlassMode;
  readonly actor: string;
  readonly approvedBy: string | null;
  readonly ticket: string;
  readonly reason: string;
  readonly issuedAtMs: string;
  readonly expiresAtMs: string;
}

async function open(trx: QueryExecutorProvider, token: string): Promise<BreakGlassGrant> {
  const { rows } = await sql<OpenedRow>`
    select token_id::text as "tokenId", org_id::text as org, mode, actor, approved_by as "approvedBy", ticket, reason,
           extract(epoch from issued_at) * 1000 as "issuedAtMs", extract(epoch from expires_at) * 1000 as "expiresAtMs"
      from tenancy.open_break_glass(${token})`.execute(trx);
  const [row] = rows;
  if (row === undefined) throw new TypeError('tenancy.open_break_glass answered no row');
  const { org, issuedAtMs, expiresAtMs, ...rest } = row;
  return {
    ...rest,
    org: parseOrgId(org),
    issuedAt: new Date(Number(issuedAtMs)),
    expiresAt: new Date(Number(expiresAtMs)),
  };
}
