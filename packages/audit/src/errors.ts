/**
 * Every error of this package: one class, a closed union of stable codes, and the mapping from PostgreSQL's errors.
 * The database names its refusals by constraint (`audit.append_only`, …), so the mapping reads no message text of ours.
 * Invariant: no message carries event content, only names, ids and positions.
 */

/** The stable code of every error this package throws. */
export type AuditErrorCode =
  /** The event does not match its definition in the catalogue. Fix: correct the field named in the message. */
  | 'audit.invalid_event'
  /** A value has no canonical form: a float, a Date, a bigint, a lone surrogate, a NUL, nesting too deep. Fix: pass money as decimal strings and times as RFC 3339 text. */
  | 'audit.not_canonical'
  /** The canonical event is larger than 64 KiB, or a sealed personal value larger than 128 KiB. Fix: record ids and digests, not documents. */
  | 'audit.event_too_large'
  /** The transaction has no organisation or no actor. Fix: run the statement through a handle that carries the context. */
  | 'audit.no_context'
  /** The context of an event was refused by the function that verifies it: forged, of an unknown key, or expired while the event waited. The events that shared its statement are recorded. Fix: record it again through a fresh handle; a forged one is an attack. */
  | 'audit.context_refused'
  /** A log was to be verified through a handle of another organisation, which sees none of it. Fix: read through the organisation's own handle or as the auditor. */
  | 'audit.other_org'
  /** Something tried to change or remove what was recorded. Fix: append a correcting event instead; if it was not you, treat it as an attack. */
  | 'audit.append_only'
  /** The receipt was run twice: its event exists already. Fix: prepare a new event for each append. */
  | 'audit.duplicate_event'
  /** The event is not in the chain: its transaction did not commit, or another transaction of the organisation held the chain for too long. Fix: call sealed after COMMIT, and run the receipt as the last statement. */
  | 'audit.not_sealed'
  /** Sealing ran in REPEATABLE READ or SERIALIZABLE. Fix: give the sealing pool default_transaction_isolation = 'read committed'. */
  | 'audit.sealer_isolation'
  /** Sealing was called in a transaction that had written, and would have kept chains from moving until its COMMIT. Fix: give createAudit a `db` that is no transaction, and call sealed after COMMIT. */
  | 'audit.sealer_transaction'
  /** The database could not be reached, or refused, while sealing. The event is committed and will be sealed by the next call. Fix: see the cause. */
  | 'audit.unavailable'
  /** The connection failed between an event and its answer: it may be in the log, or not. Fix: look for it among the newest events before recording it again. */
  | 'audit.outcome_unknown'
  /** A change of a captured table cannot be recorded: TRUNCATE, a row without organisation or id, a row of another organisation than the context or that changes its organisation. Fix: DELETE instead of TRUNCATE, and run the change in the context of the row's organisation. */
  | 'audit.uncaptured'
  /** A name for generated SQL is not lower-case letters, digits and `_`, or a context expression is not `schema.function()`. Fix: rename it. */
  | 'audit.invalid_identifier'
  /** A pruning was asked for what must still be kept. Fix: ask for an earlier time; how long events are kept at the least is set in the migration. */
  | 'audit.not_prunable'
  /** Events were pruned while the log was being exported, so that what was written so far does not go with the rest. Fix: throw it away and export again. */
  | 'audit.pruned_meanwhile'
  /** The data subject was erased: nothing of it can be recorded or opened any more. Fix: use a new id for a person who comes back. */
  | 'audit.subject_erased'
  /** The organisation has no such event, or the event no such personal field. Fix: take the id and the field from a page of the query API. */
  | 'audit.no_personal_field'
  /** A personal value is missing without an erasure, or is not the one its event committed to. Fix: treat it as an attack; restore audit.personal from a backup. */
  | 'audit.personal_tampered'
  /** A filter or limit of a query is out of range. Fix: correct the one named in the message. */
  | 'audit.invalid_filter'
  /** The cursor is damaged, or belongs to another organisation or other filters. Fix: begin again without a cursor. */
  | 'audit.invalid_cursor'
  /** A stored record is not of the format. Fix: run verify, which says where the log was changed. */
  | 'audit.malformed_record'
  /** The chain, its tiles or the last checkpoint are not those that were signed: the database was set back or rewritten. Nothing is signed. Fix: stop writing, keep the database as it is, verify it against the checkpoints that customers and witnesses hold. */
  | 'audit.history_changed'
  /** A proof was asked for an event or a size that no stored checkpoint covers. Fix: make a checkpoint first, or ask for a size that has one. */
  | 'audit.no_checkpoint'
  /** The signer failed, or what it returned is not a signature of its key. Nothing is stored. Fix: see the cause; check that name, public key and private key belong together. */
  | 'audit.signer_failed'
  /** A witness refused the checkpoint for another reason than its size. Fix: 403 and 404 mean that the witness does not know this log or its key; 422 that the log is not the one it saw before, which is an alarm. */
  | 'audit.witness_refused'
  /** A witness did not answer, or not with a cosignature of its key. The checkpoint stands without it. Fix: see the cause; the next checkpoint asks again. */
  | 'audit.witness_unavailable'
  /** The time-stamp authority refused, or answered with a token for something else. Fix: see the message; ask again with a fresh request. */
  | 'audit.timestamp_refused'
  /** The write-once store did not answer, or answered that it cannot now. Nothing is lost: the log is in the database and the copy goes on from where it was. Fix: see the cause; watch the lag. */
  | 'audit.copy_unavailable'
  /** The write-once store refused for good: credentials, permissions or settings. Fix: see the cause and the policy in docs/audit-write-once.md. */
  | 'audit.copy_denied'
  /** A name of the copy holds other bytes, or a delete marker. Nothing was written. Fix: treat it as an attack; verify the bucket; remove the version if it is not locked, or copy to a new prefix (docs/audit-write-once.md). */
  | 'audit.copy_conflict'
  /** A log cannot be restored from its copy: an object is missing or altered, or it is not the history of a kept note. Up to the checkpoint before, everything was put back. Fix: verify the copy, which names each object; restore from another one. */
  | 'audit.copy_damaged'
  /** What the store holds is not what was sent. Fix: look at what stands between the copier and the store; verify the bucket. */
  | 'audit.copy_checksum_mismatch'
  /** The store took the object and does not hold it for the time that was asked: no Object Lock, no versions, a lock that is shorter or weaker. Fix: enable versioning and Object Lock, allow PutObjectRetention and GetObjectRetention; the next run locks what is there. */
  | 'audit.retention_not_applied';

/** Base class of all errors of this package. */
export class RingfenceAuditError extends Error {
  /** Name of the class. */
  override readonly name: string = 'RingfenceAuditError';
  /** Stable machine-readable code. */
  readonly code: AuditErrorCode;
  /** True when the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;

  constructor(
    code: AuditErrorCode,
    message: string,
    options: { readonly retryable?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

const SET_BACK =
  'the head of the chain is not its last link: the database was set back or edited; verify it against kept heads';

/** Refusals of the database, by constraint name. */
const REFUSALS: Readonly<Record<string, readonly [AuditErrorCode, string]>> = {
  'audit.no_context': [
    'audit.no_context',
    'the transaction has no organisation or no actor: run it through a handle that carries the context; without one, set ringfence.org_id and ringfence.actor in it',
  ],
  'audit.other_org': [
    'audit.other_org',
    'the log belongs to another organisation than the context: read it through its own handle or as the auditor',
  ],
  'audit.append_only': [
    'audit.append_only',
    'the audit log is append-only: record a correcting event instead',
  ],
  'audit.event_too_large': ['audit.event_too_large', 'the canonical event is larger than 64 KiB'],
  'audit.not_canonical': [
    'audit.not_canonical',
    'the event body is not the canonical form of one JSON object, or of a reserved type: append through prepare',
  ],
  'audit.not_prunable': [
    'audit.not_prunable',
    'events of that time must still be kept: prune only what is older than the days of retention in the migration',
  ],
  'audit.history_changed': [
    'audit.history_changed',
    'what was to be pruned does not verify, and nothing was pruned: run verify, which says where the log was changed',
  ],
  'audit.sealer_isolation': [
    'audit.sealer_isolation',
    "sealing needs READ COMMITTED: give the sealing pool default_transaction_isolation = 'read committed'",
  ],
  'audit.sealer_transaction': [
    'audit.sealer_transaction',
    'sealing needs a transaction of its own: give createAudit a db that is no transaction, and call sealed after COMMIT',
  ],
  'audit.subject_erased': [
    'audit.subject_erased',
    'the data subject was erased: nothing of it can be recorded any more',
  ],
  'audit.uncaptured': [
    'audit.uncaptured',
    'a change of a captured table cannot be recorded: DELETE instead of TRUNCATE, one organisation in one context',
  ],
  event_pkey: ['audit.duplicate_event', 'the event exists already: prepare a new event for each append'],
  personal_pkey: ['audit.duplicate_event', 'the event exists already: prepare a new event for each append'],
  personal_size: ['audit.event_too_large', 'a sealed personal value is larger than 128 KiB, or empty'],
  seal_pkey: ['audit.history_changed', SET_BACK],
  seal_event: ['audit.history_changed', SET_BACK],
};

/** The error of one event of a batch that the rule `rule` of the database took out of it. */
export function refusedEvent(id: string, rule: string): RingfenceAuditError {
  const refusal = Object.hasOwn(REFUSALS, rule) ? REFUSALS[rule] : undefined;
  if (refusal !== undefined) return new RingfenceAuditError(refusal[0], `event ${id}: ${refusal[1]}`);
  return new RingfenceAuditError(
    'audit.context_refused',
    `event ${id}: its context was refused (${rule}): record it again through a fresh handle`,
  );
}

/**
 * Turns an error of the driver into this package's error where the audit schema raised it; returns every other error as
 * it is. `record` and `sealed` do this themselves; use it where the app runs a receipt's query.
 */
export function fromDatabaseError(error: unknown): unknown {
  if (typeof error !== 'object' || error === null || error instanceof RingfenceAuditError) return error;
  const { constraint, schema } = error as { readonly constraint?: unknown; readonly schema?: unknown };
  if (typeof constraint !== 'string' || schema !== 'audit') return error;
  const refusal = Object.hasOwn(REFUSALS, constraint) ? REFUSALS[constraint] : undefined;
  if (refusal === undefined) return error;
  return new RingfenceAuditError(refusal[0], refusal[1], { cause: error });
}

/**
 * SQLSTATEs (PostgreSQL, appendix A) with which a statement is refused and its transaction is over, by class: whatever ends
 * the session instead, such as 57P01, 25P03 or 40003, may come after COMMIT. The severity would say it, but drivers give
 * only the one that `lc_messages` translates.
 */
const REFUSED = /^(?:(?:0A|2[1-367BD]|3[489BF]|42|44|5[45]|P0)...|25(?!P0[34])...|40(?!003)...|57014)$/;

/**
 * The error of a statement that records at once. What the database refused, and what is typed already, stays as it is; a
 * failure of the connection becomes `audit.outcome_unknown`, because COMMIT may have come before it.
 */
export function fromRecordingError(error: unknown): unknown {
  const mapped = fromDatabaseError(error);
  if (!(mapped instanceof Error) || mapped instanceof TypeError || mapped.name === 'AbortError')
    return mapped;
  const { code } = mapped as { readonly code?: unknown };
  if (typeof code === 'string' && (code.includes('.') || REFUSED.test(code))) return mapped;
  return new RingfenceAuditError(
    'audit.outcome_unknown',
    'the connection failed before the answer: look whether the event is in the log before you record it again',
    { cause: error },
  );
}
