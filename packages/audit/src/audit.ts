/**
 * The entry point: prepare an event, run it inside the business transaction, wait until it is sealed.
 *
 *     prepare            validate and encode; no I/O
 *     receipt.query      the app runs it as the last statement of its transaction, in the flight of COMMIT
 *     sealed             COMMIT is through: the event's place in the chain, from the same transaction or by group sealing
 *
 * Invariant: nothing a caller passes decides organisation, actor, request id or time; they come from the database.
 */
import { CompiledQuery, type QueryResult } from 'kysely';
import { type ChainPosition, type FateRow, positionOf } from './append-result.ts';
import { BatchAppend } from './batch-append.ts';
import { BodyTemplates } from './body-template.ts';
import { type DatabaseReport, type VerifyOptions, verifyInDatabase } from './database-verification.ts';
import { fromDatabaseError, fromRecordingError } from './errors.ts';
import { encodeEventBody } from './event-body.ts';
import { checkCatalogue, type EventCatalogue, type EventInput, type EventName } from './event-catalogue.ts';
import { newEventId, platformRandom, type RandomBytes } from './event-id.ts';
import type { ContextExecutor, QueryExecutor } from './executor.ts';
import { type KeepSealedOptions, keepSealed, type Unsealed } from './keep-sealed.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import { Sealer } from './sealer.ts';

/** Settings of `createAudit`. */
export interface AuditOptions<E extends EventCatalogue> {
  /** What may be recorded; see `defineEvents`. */
  readonly events: E;
  /**
   * A Kysely of the app role, without an organisation's context, on a pool of its own: it seals, appends what is recorded
   * together, and verifies by default.
   */
  readonly db: QueryExecutor;
  /**
   * Whether an event may be sealed in its own transaction when its organisation is idle and this process is not sealing
   * others together when it is prepared; its chain is then held until COMMIT. Set it to false where receipts are not the
   * last statement before COMMIT. Default true.
   */
  readonly sealInTransaction?: boolean;
  /** How long `sealed` waits for another transaction that holds the organisation's chain, ms. Default 10 000. */
  readonly sealTimeoutMs?: number;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
  /** Source of random bytes for event ids. Default: the platform's. */
  readonly random?: RandomBytes;
}

/** An event ready to be appended, once. */
export interface Receipt {
  /** Id of the event, UUIDv7. */
  readonly id: string;
  /** Name of the event. */
  readonly type: string;
  /** The statement to run as the last one of the business transaction. */
  readonly query: CompiledQuery;
}

/** Where an event went. */
export interface SealedEvent extends ChainPosition {
  /** Id of the event. */
  readonly id: string;
}

/** State of sealing. */
export interface AuditStats extends Unsealed {
  /** Sealing calls of this process so far. */
  readonly sealCalls: number;
}

/** An audit log over one catalogue. */
export interface Audit<E extends EventCatalogue> {
  /**
   * Validates and encodes an event and makes its id; does no I/O.
   *
   * @throws RingfenceAuditError `audit.invalid_event`, `audit.not_canonical` or `audit.event_too_large`.
   */
  prepare<N extends EventName<E>>(type: N, event: EventInput<E[N]>): Receipt;
  /**
   * Waits until a committed event is sealed. Call it after COMMIT, with the result of `receipt.query`: when the event was
   * sealed in its own transaction, no statement is needed. Without the result the event is looked up in every chain.
   *
   * @throws RingfenceAuditError `audit.not_sealed` when the transaction did not commit or the chain is held for too long,
   * `audit.unavailable` when the database fails; the event, if committed, is sealed by a later call.
   */
  sealed(receipt: Receipt, result?: QueryResult<unknown>): Promise<SealedEvent>;
  /**
   * Records an event without a business change; resolves when it is sealed. Through a handle that gives its
   * `contextSettings`, as tenancy's do, events that come while a statement is under way share the next one and its flush,
   * whosever they are; they run on `db`, and those of one organisation are sealed in the order of the calls. Through any
   * other executor that carries a context, the event is a statement of its own.
   *
   * @throws TypeError when the executor is a transaction: use `prepare` there; or when its `contextSettings` are none.
   * @throws RingfenceAuditError as `prepare` and `sealed`; `audit.context_refused` when the context was forged or expired
   * while the event waited; `audit.outcome_unknown` when the connection fails before the answer. Of events that share a
   * statement, only the one concerned.
   * @example
   * ```ts
   * await Promise.all(lines.map((line) => audit.record(db, 'line.imported', { target: line.id, outcome: 'success' })));
   * ```
   */
  record<N extends EventName<E>>(
    executor: ContextExecutor,
    type: N,
    event: EventInput<E[N]>,
  ): Promise<SealedEvent>;
  /**
   * Seals what is queued, e.g. by a process that died between COMMIT and sealing.
   *
   * @throws RingfenceAuditError `audit.sealer_isolation`, or the driver's error.
   */
  sealPending(): Promise<void>;
  /**
   * Seals what is queued at once and then on a timer, until the signal, and raises the alarm when an event stays unsealed.
   * Start it once per process; it never rejects.
   *
   * @example
   * ```ts
   * void audit.keepSealed({ signal, onError: log, onUnsealed: ({ pending, oldestPendingAgeMs }) => page('unsealed', pending) });
   * ```
   */
  keepSealed(options: KeepSealedOptions): Promise<void>;
  /** How much is committed but not sealed, and for how long. */
  stats(): Promise<AuditStats>;
  /**
   * Verifies an organisation's chain through an executor that sees its rows (its own handle, or an auditor's connection), and that every personal value its records committed to is there, or its
   * subject was erased.
   *
   * What the log holds never makes it throw: bad rows are findings.
   *
   * @throws RingfenceAuditError `audit.other_org` when the executor sees another organisation, `audit.no_context` when it sees none
   * (or the error of the context function in use).
   * @throws TypeError when the session's client_encoding is not UTF8.
   */
  verify(executor: QueryExecutor, org: OrgId, options?: VerifyOptions): Promise<DatabaseReport>;
}

const PENDING = 'select events, oldest_ms as oldest from audit.pending()';

/**
 * Makes the audit log of one application.
 *
 * @throws TypeError when a name of the catalogue is malformed.
 * @example
 * ```ts
 * const audit = createAudit({ events, db });
 * const receipt = audit.prepare('entry.approved', { target: entry.id, outcome: 'success', reason: 'matches invoice' });
 * const appended = await inTransaction(async (trx) => {
 *   await trx.updateTable('ledger.entry').set({ status: 'approved' }).where('id', '=', entry.id).execute();
 *   return await trx.executeQuery(receipt.query);
 * });
 * const { orgSeq, hash } = await audit.sealed(receipt, appended);
 * ```
 */
export function createAudit<const E extends EventCatalogue>(options: AuditOptions<E>): Audit<E> {
  const { db, now = Date.now, random = platformRandom } = options;
  const { sealInTransaction = true, sealTimeoutMs = 10_000 } = options;
  const events = checkCatalogue(options.events);
  const sealer = new Sealer(db, now, sealTimeoutMs);
  const batches = new BatchAppend(db, sealInTransaction);

  const encode = (type: string, event: unknown): { readonly id: string; readonly body: string } => {
    const body = encodeEventBody(events, type, event);
    return { id: newEventId(now(), random), body };
  };

  const templates = new BodyTemplates();

  const receiptOf = (type: string, id: string, body: string): Receipt => ({
    id,
    type,
    query: templates.statement(
      id,
      body,
      events[type]?.target !== undefined,
      sealInTransaction && !sealer.busy,
    ),
  });

  const prepare = (type: string, event: unknown): Receipt => {
    const { id, body } = encode(type, event);
    return receiptOf(type, id, body);
  };

  const sealed = ({ id, query }: Receipt, result?: QueryResult<unknown>): Promise<SealedEvent> => {
    const row = result?.rows[0] as FateRow | undefined;
    templates.learn(query, row);
    return placeOf(id, row);
  };

  const placeOf = async (id: string, row: FateRow | undefined): Promise<SealedEvent> => {
    const position = row === undefined ? undefined : positionOf(row);
    if (position !== undefined) return { id, ...position };
    const org = typeof row?.org === 'string' ? row.org : null;
    return { id, ...(await sealer.wait(id, org)) };
  };

  const sealPending = (): Promise<void> =>
    sealer.sealAll().catch((error: unknown) => {
      throw fromDatabaseError(error);
    });

  const stats = async (): Promise<AuditStats> => {
    const query = CompiledQuery.raw(PENDING) as CompiledQuery<{ events: unknown; oldest: unknown }>;
    const { rows } = await db.executeQuery(query);
    return {
      pending: Number(rows[0]?.events ?? 0),
      oldestPendingAgeMs: Number(rows[0]?.oldest ?? 0),
      sealCalls: sealer.calls,
    };
  };

  return {
    prepare,
    sealed,
    record: async (executor, type, event) => {
      if (executor.isTransaction) {
        throw new TypeError('record seals at once, so it needs COMMIT: inside a transaction use prepare');
      }
      const { id, body } = encode(type, event);
      const settings = executor.contextSettings?.();
      if (settings !== undefined && Object.keys(settings).length === 0) {
        throw new TypeError('contextSettings gave no settings: an event without context cannot be recorded');
      }
      if (settings !== undefined) {
        return await placeOf(id, await batches.append({ id, body, settings, org: executor.org }));
      }
      const receipt = receiptOf(type, id, body);
      const result = await executor.executeQuery(receipt.query).catch((error: unknown) => {
        throw fromRecordingError(error);
      });
      return await sealed(receipt, result);
    },
    sealPending,
    keepSealed: (keepOptions) => keepSealed(keepOptions, stats, sealPending),
    stats,
    // A method that fails by rejecting, also where the id is none.
    verify: async (executor, org, verifyOptions = {}) =>
      await verifyInDatabase(executor, parseOrgId(org), verifyOptions),
  };
}
