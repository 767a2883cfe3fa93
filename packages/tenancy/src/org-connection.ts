/**
 * One checked-out connection on behalf of one organisation. Decides what travels in which flight:
 *
 *   first flight of a checkout        [BEGIN?, session reset, session check, role check?, context, statement]
 *   later statement of a transaction  [statement]
 *   COMMIT                            [statements queued for commit, COMMIT]
 *
 * Invariants: no statement leaves without the context in force; nothing the former borrower left in the session reaches
 * this one; the context the server echoes is the one that was sent; a connection in an unknown state, or for which a
 * cancel request is under way, is destroyed, never returned to the pool; an object whose connection was given back does
 * nothing any more.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { AbortableOperationOptions, CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import type { ContextMint } from './context.ts';
import { enter } from './enter.ts';
import { endedByServer, fromDatabaseError, isUncleanSession, RingfenceTenancyError } from './errors.ts';
import { type FlightProgress, fly, RowParserError, type Statement, type StatementResult } from './flight.ts';
import { checkDue, checkPassed, leavesMore } from './session-check.ts';
import type { Session } from './session-pool.ts';
import { type BatchQuery, plain, statementOf, toQueryResult } from './statement.ts';
import { Turns } from './turns.ts';

type State = 'none' | 'transaction' | 'ending' | 'released';

/** A statement queued for the flight of COMMIT. */
interface AtCommit {
  readonly statement: Statement;
  readonly resolve: (result: QueryResult<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

const ASSERT_APP_ROLE = plain('select tenancy.assert_app_role()');
const SET_CONTEXT = `select pg_catalog.set_config('ringfence.context', $1, true) as context`;

/** Time after which a cancel request that had no effect is sent again, ms. */
const CANCEL_AGAIN_MS = 100;

/** Unclean connections in a row before giving up: one whole pool of them is an attack in progress. */
const MAX_REPLACED = 20;

/** A connection that carries the context of one organisation. */
export class OrgConnection implements DatabaseConnection {
  #session: Session;
  readonly #take: () => Promise<Session>;
  readonly #mint: ContextMint;
  readonly #now: () => number;
  #state: State = 'none';
  #begin = 'begin';
  /** True once this checkout's first flight has passed: the session is reset and checked. */
  #clean = false;
  /** True once BEGIN may have taken effect. */
  #begun = false;
  #renewAtMs = 0;
  #atCommit: AtCommit[] = [];
  /** By savepoint, how much was queued for COMMIT when it was set. */
  #savepoints: Map<string, number> | undefined;
  #streams = 0;
  #broken = false;
  /** Signal of the statement under way. */
  #running: AbortSignal | undefined;
  /** True once a cancel request may be under way: it could hit a later statement, so there is none. */
  #cancelled = false;
  /** False while an unclean session is given up and no other taken yet. */
  #held = true;
  /** BEGIN travels with the statement that was issued first. */
  readonly #turns = new Turns();

  constructor(session: Session, take: () => Promise<Session>, mint: ContextMint, now: () => number) {
    this.#session = session;
    this.#take = take;
    this.#mint = mint;
    this.#now = now;
  }

  /** Runs one statement, or those of a batch in one flight, under the organisation's context. */
  async executeQuery<R>(
    query: CompiledQuery | BatchQuery,
    options?: AbortableOperationOptions,
  ): Promise<QueryResult<R>> {
    if ('batch' in query) {
      if (query.batch.length === 0) return { rows: [] };
      const results = await this.#run(query.batch.map(statementOf), options?.signal);
      return { rows: results.map((result) => toQueryResult(result)) as R[] };
    }
    const [result] = await this.#run([statementOf(query)], options?.signal);
    return toQueryResult<R>(result);
  }

  /** Cancels the statement under way if it is the aborted one; one that still waits for its turn will not be sent. */
  async cancelQuery(): Promise<void> {
    if (this.#running?.aborted !== true) return;
    this.#cancelled = true;
    let running = true;
    const end = Promise.resolve(this.#turns.last).then(() => {
      running = false;
    });
    // PostgreSQL ignores a request that arrives between two messages of the flight, and says so to nobody.
    while (running && this.#held) {
      await this.#session.cancel();
      await Promise.race([end, delay(CANCEL_AGAIN_MS)]);
    }
  }

  /** Runs one statement that another driver's form was turned into. */
  async execute(statement: Statement): Promise<StatementResult> {
    const [result] = await this.#run([statement]);
    return result as StatementResult;
  }

  /** Queues a statement for the flight of COMMIT. Resolves after COMMIT; rejects when the transaction does not commit. */
  queueAtCommit(query: CompiledQuery): Promise<QueryResult<unknown>> {
    this.#refuseUnlessUsable();
    if (this.#state === 'none') throw new TypeError('atCommit needs an open transaction');
    const statement = statementOf(query);
    const queued = new Promise<QueryResult<unknown>>((resolve, reject) => {
      this.#atCommit.push({ statement, resolve, reject });
    });
    queued.catch(() => {}); // the transaction itself reports the failure; the receipt may be dropped
    return queued;
  }

  /** Streams a SELECT through a cursor; opens a transaction of its own when none is open. */
  async *streamQuery<R>(
    query: CompiledQuery,
    chunkSize: number,
    { signal }: AbortableOperationOptions = {},
  ): AsyncIterableIterator<QueryResult<R>> {
    this.#refuseUnlessUsable();
    const own = this.#state === 'none';
    if (own) this.begin('begin');
    const cursor = `ringfence_stream_${++this.#streams}`;
    let done = false;
    // Kysely cancels queries, not streams: without this, an abort would wait for the rows it no longer wants.
    const cancel = () => void this.cancelQuery().catch(() => {});
    signal?.addEventListener('abort', cancel);
    try {
      const statement = statementOf(query);
      const declare = `declare ${cursor} no scroll cursor for ${statement.sql}`;
      await this.#run([{ ...statement, sql: declare, prepare: false, own: true }], signal);
      const fetch = plain(`fetch ${Math.max(1, Math.trunc(chunkSize))} from ${cursor}`);
      for (;;) {
        const [chunk] = await this.#run([fetch], signal);
        if (chunk === undefined || chunk.rows.length === 0) break;
        yield { rows: chunk.rows as R[] };
      }
      done = true;
    } finally {
      signal?.removeEventListener('abort', cancel);
      if (own) await (done ? this.commit() : this.rollback());
      else if (this.#state === 'transaction' && !this.#broken)
        await this.#run([plain(`close ${cursor}`)]).catch(() => {});
    }
  }

  /** Marks the beginning of a transaction; `sql` travels with the first statement. */
  begin(sql: string): void {
    this.#refuseUnlessUsable();
    this.#state = 'transaction';
    this.#begun = false;
    this.#begin = sql;
  }

  /** Sends what was queued together with COMMIT; an empty transaction sends nothing. */
  async commit(): Promise<void> {
    const queued = this.#atCommit;
    this.#atCommit = [];
    this.#state = 'ending';
    try {
      await this.#turns.last; // statements issued and not awaited go before COMMIT
      if (!this.#begun && !this.#cancelled && queued.length === 0) {
        this.#state = 'none';
        return;
      }
      const statements = [...queued.map(({ statement }) => statement), plain('commit')];
      const results = await this.#turns.take(() => this.#guarded(statements));
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
      // Its statements ran and so did COMMIT, or the server would have said otherwise: only a row cannot be read.
      if (!(error instanceof RowParserError)) throw error;
      this.#state = 'none';
    }
  }

  /** Ends the transaction without effect. Never throws: a connection that cannot roll back is destroyed on release. */
  async rollback(): Promise<void> {
    const queued = this.#atCommit;
    this.#atCommit = [];
    this.#state = 'ending';
    const aborted = new RingfenceTenancyError(
      'tenancy.transaction_aborted',
      'the transaction was rolled back',
    );
    for (const { reject } of queued) reject(aborted);
    await this.#turns
      .take(async () => {
        if (this.#begun && !this.#broken && !this.#cancelled)
          await fly(this.#session.client, this.#session.prepared, [plain('rollback')]);
      })
      .catch(() => {
        this.#broken = true;
      });
    this.#clean = false; // the reset was part of what has been undone
    if (!this.#broken) this.#state = 'none';
  }

  /** Sets a savepoint, and remembers what is queued for COMMIT up to it. */
  async savepoint(name: string): Promise<void> {
    this.#savepoints ??= new Map();
    this.#savepoints.set(name, this.#atCommit.length);
    await this.#run([plain(`savepoint ${quoted(name)}`)]);
  }

  /** Undoes what came after a savepoint: statements, statements queued for COMMIT, and a context renewed since. */
  async rollbackToSavepoint(name: string): Promise<void> {
    const undone = this.#atCommit.splice(this.#savepoints?.get(name) ?? 0);
    const aborted = new RingfenceTenancyError(
      'tenancy.transaction_aborted',
      'rolled back to a savepoint before it',
    );
    for (const { reject } of undone) reject(aborted);
    await this.#run([plain(`rollback to ${quoted(name)}`)]);
    this.#renewAtMs = 0;
  }

  /** Forgets a savepoint. */
  async releaseSavepoint(name: string): Promise<void> {
    await this.#run([plain(`release ${quoted(name)}`)]);
  }

  /** Gives the connection back, or destroys it when its state is not known to be clean. */
  release(): void {
    if (this.#state === 'released') return;
    const idle = this.#state === 'none';
    this.#state = 'released';
    // What a statement under way leaves in the session is known when it is answered: it would meet the next borrower.
    if (idle && this.#turns.last !== undefined) void this.#turns.last.then(() => this.#giveBack(true));
    else this.#giveBack(idle);
  }

  #giveBack(idle: boolean): void {
    const { client, server } = this.#session;
    const known = idle && !this.#broken && !this.#cancelled && !server.lost;
    if (this.#held) client.release(!known || client.getTransactionStatus() !== 'I');
  }

  #run(statements: readonly Statement[], signal?: AbortSignal): Promise<StatementResult[]> {
    this.#refuseUnlessUsable();
    return this.#turns.take(() =>
      signal === undefined ? this.#guarded(statements) : this.#abortable(statements, signal),
    );
  }

  async #abortable(statements: readonly Statement[], signal: AbortSignal): Promise<StatementResult[]> {
    signal.throwIfAborted();
    this.#running = signal;
    try {
      return await this.#guarded(statements);
    } finally {
      this.#running = undefined;
    }
  }

  #refuseUnlessUsable(): void {
    if (this.#state === 'released') throw goneBack();
    if (this.#state === 'ending') {
      throw new TypeError('the transaction is ending: await every statement before its callback returns');
    }
  }

  /** Puts BEGIN, session reset, role check and context in front where they are due, and checks the echo. */
  async #guarded(statements: readonly Statement[]): Promise<StatementResult[]> {
    if (this.#state === 'released') throw goneBack();
    const inTransaction = this.#state !== 'none';
    const opening = inTransaction && !this.#begun;
    for (let replaced = 0; ; replaced++) {
      if (this.#broken) {
        throw new RingfenceTenancyError(
          'tenancy.connection_lost',
          'the connection was lost earlier in this transaction',
        );
      }
      if (this.#cancelled) {
        throw new RingfenceTenancyError(
          'tenancy.transaction_aborted',
          'a statement on this connection was cancelled: its transaction is rolled back',
        );
      }
      const session = this.#session;
      const before: Statement[] = [];
      const nowMs = this.#now();
      if (opening) before.push(plain(this.#begin));
      const entering = !this.#clean;
      const check = entering ? checkDue(session, nowMs) : [];
      const checkAt = before.length;
      before.push(...check);
      if (!session.server.checked) before.push(ASSERT_APP_ROLE);
      const contextDue = entering || !inTransaction || opening || nowMs >= this.#renewAtMs;
      const context = this.#mint.at(nowMs);
      if (contextDue) {
        before.push(
          entering
            ? enter(context.value, opening ? this.#begin : '')
            : { sql: SET_CONTEXT, parameters: [context.value], prepare: true, own: true },
        );
      }
      const progress: FlightProgress = { completed: 0 };
      try {
        const results = await fly(session.client, session.prepared, [...before, ...statements], progress);
        session.server.checked = true;
        checkPassed(session, check, results[checkAt], nowMs);
        if (contextDue) this.#checkEcho(results[before.length - 1], context.value);
        this.#renewAtMs = context.renewAtMs;
        this.#clean = true;
        this.#begun = inTransaction;
        const answers = before.length === 0 ? results : results.slice(before.length);
        if (leavesMore(statements, answers)) session.server.suspect = true;
        return answers;
      } catch (cause) {
        const error = this.#failed(cause);
        // Refused before the statement: nothing of the flight took effect, and a fresh connection takes its place.
        const early = progress.completed < before.length;
        const ended = early && endedByServer(error);
        const planted =
          ended || (early && (isUncleanSession(error) || (session.server.checked && !this.#broken)));
        const retry = entering && (opening || !inTransaction) && planted && !this.#cancelled;
        if (retry && replaced < MAX_REPLACED) {
          await this.#replaceSession();
          continue;
        }
        // BEGIN has taken effect although a statement behind it failed; or it has not, and nothing may run as if it had.
        if (opening) {
          this.#begun = progress.completed > 0;
          this.#clean = this.#begun;
          if (!this.#begun) this.#broken = true;
        }
        throw fromDatabaseError(error);
      }
    }
  }

  /** Destroys the session and takes another. Until it has one, this connection holds none and counts as broken. */
  async #replaceSession(): Promise<void> {
    this.#broken = true;
    this.#held = false;
    this.#session.client.release(true);
    try {
      this.#session = await this.#take();
    } catch (error) {
      throw fromDatabaseError(error);
    }
    this.#held = true;
    this.#broken = false;
  }

  #checkEcho(echo: StatementResult | undefined, sent: string): void {
    if (echo?.rows[0]?.['context'] === sent) return;
    this.#broken = true;
    throw new RingfenceTenancyError(
      'tenancy.context_mismatch',
      'PostgreSQL answered with another context than was sent: the connection is destroyed, its answer discarded',
    );
  }

  /** The error of a flight that failed, and what it says of the session. */
  #failed(error: unknown): unknown {
    this.#session.server.suspect = true; // a statement that failed is not told by its tag, and PREPARE is not rolled back
    const mapped = fromDatabaseError(error);
    if (mapped instanceof RingfenceTenancyError && ENDS_CONNECTION.has(mapped.code)) this.#broken = true;
    return isUncleanSession(error) ? error : mapped;
  }
}

const ENDS_CONNECTION: ReadonlySet<string> = new Set([
  'tenancy.connection_lost',
  'tenancy.unsafe_role',
  'tenancy.unsafe_server',
]);

function goneBack(): TypeError {
  return new TypeError(
    'this connection was given back: a statement or stream outlived the callback it belongs to',
  );
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
