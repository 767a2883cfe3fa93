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
import { type VerifyOptions, verifyInDatabase } from './database-verification.ts';
import { fromDatabaseError } from './errors.ts';
import { encodeEventBody } from './event-body.ts';
import { defineEvents, type EventCatalogue, type EventInput, type EventName } from './event-catalogue.ts';
import { newEventId, platformRandom, type RandomBytes } from './event-id.ts';
import type { QueryExecutor } from './executor.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import { Sealer } from './sealer.ts';
import type { ChainReport } from './verify/index.ts';

/** Settings of `createAudit`. */
export interface AuditOptions<E extends EventCatalogue> {
  /** What may be recorded; see `defineEvents`. */
  readonly events: E;
  /** A Kysely of the app role, without an organisation's context, on a pool of its own: it seals, and verifies by default. */
  readonly db: QueryExecutor;
  /**
   * Whether an event may be sealed in its own transaction when its organisation is idle; its chain is then held until
   * COMMIT. Set it to false where receipts are not the last statement before COMMIT. Default true.
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
export interface AuditStats {
  /** Events committed but not sealed, of all organisations and processes. */
  readonly pending: number;
  /** Age of the oldest of them, ms; 0 when there is none. Alarm on it. */
  readonly oldestPendingAgeMs: number;
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
   * Records an event without a business change, through an executor that carries the context but is no transaction.
   *
   * @throws TypeError when the executor is a transaction: use `prepare` there.
   * @throws RingfenceAuditError as `prepare` and `sealed`.
   */
  record<N extends EventName<E>>(
    executor: QueryExecutor,
    type: N,
    event: EventInput<E[N]>,
  ): Promise<SealedEvent>;
  /**
   * Seals what is queued, e.g. by a process that died between COMMIT and sealing. Call it at start and on a timer.
   *
   * @throws RingfenceAuditError `audit.sealer_isolation`, or the driver's error.
   */
  sealPending(): Promise<void>;
  /** How much is committed but not sealed, and for how long. */
  stats(): Promise<AuditStats>;
  /**
   * Verifies an organisation's chain in the database.
   *
   * What the log holds never makes it throw: bad rows are findings.
   *
   * @throws RingfenceAuditError `audit.other_org` when `db` sees another organisation, `audit.no_context` when it sees none
   * (or the error of the context function in use).
   */
  verify(org: OrgId, options?: VerifyOptions): Promise<ChainReport>;
}

const APPEND = 'select org, seq, hash from audit.append($1::uuid, $2::text, $3::boolean)';
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
  const events = defineEvents(options.events);
  const sealer = new Sealer(db, now, sealTimeoutMs);

  const prepare = (type: string, event: unknown): Receipt => {
    const body = encodeEventBody(events, type, event);
    const id = newEventId(now(), random);
    return { id, type, query: CompiledQuery.raw(APPEND, [id, body, sealInTransaction]) };
  };

  const sealed = async ({ id }: Receipt, result?: QueryResult<unknown>): Promise<SealedEvent> => {
    const row = result?.rows[0] as FateRow | undefined;
    const position = row === undefined ? undefined : positionOf(row);
    if (position !== undefined) return { id, ...position };
    const org = typeof row?.org === 'string' ? row.org : null;
    return { id, ...(await sealer.wait(id, org)) };
  };

  return {
    prepare,
    sealed,
    record: async (executor, type, event) => {
      if (executor.isTransaction) {
        throw new TypeError('record seals at once, so it needs COMMIT: inside a transaction use prepare');
      }
      const receipt = prepare(type, event);
      const result = await executor.executeQuery(receipt.query).catch((error: unknown) => {
        throw fromDatabaseError(error);
      });
      return await sealed(receipt, result);
    },
    sealPending: () =>
      sealer.sealAll().catch((error: unknown) => {
        throw fromDatabaseError(error);
      }),
    stats: async () => {
      const query = CompiledQuery.raw(PENDING) as CompiledQuery<{ events: unknown; oldest: unknown }>;
      const { rows } = await db.executeQuery(query);
      return {
        pending: Number(rows[0]?.events ?? 0),
        oldestPendingAgeMs: Number(rows[0]?.oldest ?? 0),
        sealCalls: sealer.calls,
      };
    },
    verify: async (org, verifyOptions = {}) => {
      const report = await verifyInDatabase(verifyOptions.db ?? db, parseOrgId(org), verifyOptions);
      return report;
    },
  };
}
