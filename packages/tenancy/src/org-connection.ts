/**
 * One checked-out connection on behalf of one organisation. Decides what travels in which flight:
 *
 *   statement outside a transaction   [context, statement]                  one round trip, one implicit transaction
 *   first statement of a transaction  [BEGIN, context, statement]           BEGIN never travels alone
 *   later statement                   [statement]
 *   COMMIT                            [statements queued for commit, COMMIT]
 *
 * Invariants: no statement leaves without the context in force; the context the server echoes is the one that was sent;
 * a connection in an unknown state is destroyed, never returned to the pool.
 */
import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import type { PoolClient } from 'pg';
import type { ContextMint } from './context.ts';
import { fromDatabaseError, RingfenceTenancyError } from './errors.ts';
import { fly, type Statement, type StatementResult } from './flight.ts';
import type { PreparedStatements } from './prepared-statements.ts';

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

type TransactionState = 'none' | 'pending' | 'open';

/** A statement queued for the flight of COMMIT. */
interface AtCommit {
  readonly query: CompiledQuery;
  readonly resolve: (result: QueryResult<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

const SET_CONTEXT = `select pg_catalog.set_config('ringfence.context', $1, true) as context`;
const ASSERT_APP_ROLE = 'select tenancy.assert_app_role()';

/** A connection that carries the context of one organisation. */
export class OrgConnection implements DatabaseConnection {
  readonly #session: Session;
  readonly #mint: ContextMint;
  readonly #now: () => number;
  #state: TransactionState = 'none';
  #begin = 'begin';
  #renewAtMs = 0;
  #atCommit: AtCommit[] = [];
  #broken = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(session: Session, mint: ContextMint, now: () => number) {
    this.#session = session;
    this.#mint = mint;
    this.#now = now;
  }

  /** Runs one statement under the organisation's context. */
  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const [result] = await this.#inTurn(() => this.#guarded([statementOf(query)]));
    return toQueryResult<R>(result);
  }

  /** Runs several statements in one flight: atomically, and in one round trip when outside a transaction. */
  async executeBatch(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]> {
    if (queries.length === 0) return [];
    const results = await this.#inTurn(() => this.#guarded(queries.map(statementOf)));
    return results.map((result) => toQueryResult(result));
  }

  /** Queues a statement for the flight of COMMIT. Resolves after COMMIT; rejects when the transaction does not commit. */
  queueAtCommit(query: CompiledQuery): Promise<QueryResult<unknown>> {
    if (this.#state === 'none') throw new TypeError('atCommit needs an open transaction');
    const queued = new Promise<QueryResult<unknown>>((resolve, reject) => {
      this.#atCommit.push({ query, resolve, reject });
    });
    queued.catch(() => {}); // the transaction itself reports the failure; the receipt may be dropped
    return queued;
  }

  /** Streams a SELECT through a cursor; opens a transaction of its own when none is open. */
  async *streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    const own = this.#state === 'none';
    if (own) this.begin('begin');
    let done = false;
    try {
      const declare = {
        ...statementOf(query),
        sql: `declare ringfence_stream no scroll cursor for ${query.sql}`,
      };
      await this.#inTurn(() => this.#guarded([{ ...declare, prepare: false }]));
      const fetch = plain(`fetch ${Math.max(1, Math.trunc(chunkSize))} from ringfence_stream`);
      for (;;) {
        const [chunk] = await this.#inTurn(() => this.#guarded([fetch]));
        if (chunk === undefined || chunk.rows.length === 0) break;
        yield { rows: chunk.rows as R[] };
      }
      await this.#inTurn(() => this.#guarded([plain('close ringfence_stream')]));
      done = true;
    } finally {
      if (own) await (done ? this.commit() : this.rollback());
    }
  }

  /** Marks the beginning of a transaction; `sql` travels with the first statement. */
  begin(sql: string): void {
    this.#state = 'pending';
    this.#begin = sql;
  }

  /** Sends what was queued together with COMMIT; an empty transaction sends nothing. */
  async commit(): Promise<void> {
    const queued = this.#atCommit;
    this.#atCommit = [];
    if (this.#state === 'pending' && queued.length === 0) {
      this.#state = 'none';
      return;
    }
    try {
      const results = await this.#inTurn(() =>
        this.#guarded([...queued.map(({ query }) => statementOf(query)), plain('commit')]),
      );
      // PostgreSQL answers COMMIT with the tag ROLLBACK when an earlier statement had failed.
      if (results.at(-1)?.command !== 'COMMIT') {
        throw new RingfenceTenancyError(
          'tenancy.transaction_aborted',
          'the transaction was rolled back: a statement in it had failed and the failure was not passed on',
        );
      }
      this.#state = 'none';
      for (const [index, { resolve }] of queued.entries()) resolve(toQueryResult(results[index]));
    } catch (error) {
      for (const { reject } of queued) reject(error);
      throw error;
    }
  }

  /** Ends the transaction without effect. Never throws: a connection that cannot roll back is destroyed on release. */
  async rollback(): Promise<void> {
    const queued = this.#atCommit;
    this.#atCommit = [];
    const aborted = new RingfenceTenancyError(
      'tenancy.transaction_aborted',
      'the transaction was rolled back',
    );
    for (const { reject } of queued) reject(aborted);
    if (this.#state === 'open' && !this.#broken) {
      await this.#inTurn(() => this.#fly([plain('rollback')])).catch(() => {
        this.#broken = true;
      });
    }
    this.#state = 'none';
  }

  /** Runs a transaction-control statement (SAVEPOINT …) inside the open transaction. */
  async control(sql: string): Promise<void> {
    await this.#inTurn(() => this.#guarded([plain(sql)]));
  }

  /** Gives the connection back, or destroys it when its state is not known to be clean. */
  release(): void {
    const clean =
      !this.#broken && this.#state === 'none' && this.#session.client.getTransactionStatus() === 'I';
    this.#session.client.release(!clean);
  }

  /** One flight at a time, in call order: BEGIN travels with the statement that was issued first. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Puts BEGIN, the role check and the context in front where they are due, and checks the echo. */
  async #guarded(statements: readonly Statement[]): Promise<StatementResult[]> {
    if (this.#broken) {
      throw new RingfenceTenancyError(
        'tenancy.connection_lost',
        'the connection was lost earlier in this transaction',
      );
    }
    const before: Statement[] = [];
    const nowMs = this.#now();
    const opening = this.#state === 'pending';
    if (opening) before.push(plain(this.#begin));
    if (!this.#session.checked) before.push({ sql: ASSERT_APP_ROLE, parameters: [], prepare: false });
    const contextDue = this.#state !== 'open' || nowMs >= this.#renewAtMs;
    const context = this.#mint.at(nowMs);
    if (contextDue) before.push({ sql: SET_CONTEXT, parameters: [context.value], prepare: true });
    if (opening) this.#state = 'open';
    const results = await this.#fly([...before, ...statements]);
    this.#session.checked = true;
    if (contextDue) {
      this.#checkEcho(results[before.length - 1], context.value);
      this.#renewAtMs = context.renewAtMs;
    }
    return before.length === 0 ? results : results.slice(before.length);
  }

  #checkEcho(echo: StatementResult | undefined, sent: string): void {
    if (echo?.rows[0]?.['context'] === sent) return;
    this.#broken = true;
    throw new RingfenceTenancyError(
      'tenancy.context_mismatch',
      'PostgreSQL answered with another context than was sent: the connection is destroyed, its answer discarded',
    );
  }

  async #fly(statements: readonly Statement[]): Promise<StatementResult[]> {
    const { client, prepared } = this.#session;
    try {
      return await fly(client, prepared, statements);
    } catch (error) {
      const mapped = fromDatabaseError(error);
      if (mapped instanceof RingfenceTenancyError && endsConnection(mapped)) this.#broken = true;
      throw mapped;
    }
  }
}

function endsConnection(error: RingfenceTenancyError): boolean {
  return error.code === 'tenancy.connection_lost' || error.code === 'tenancy.unsafe_role';
}

function statementOf(query: CompiledQuery): Statement {
  return { sql: query.sql, parameters: query.parameters, prepare: true };
}

function plain(sql: string): Statement {
  return { sql, parameters: [], prepare: false };
}

const COUNTED = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

function toQueryResult<R>(result: StatementResult | undefined): QueryResult<R> {
  const rows = (result?.rows ?? []) as R[];
  if (result?.rowCount === undefined || !COUNTED.has(result.command)) return { rows };
  return { rows, numAffectedRows: BigInt(result.rowCount) };
}
