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
  /** The canonical event is larger than 64 KiB. Fix: record ids and digests, not documents. */
  | 'audit.event_too_large'
  /** The transaction has no organisation or no actor. Fix: run the statement through a handle that carries the context. */
  | 'audit.no_context'
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
  /** The database could not be reached, or refused, while sealing. The event is committed and will be sealed by the next call. Fix: see the cause. */
  | 'audit.unavailable'
  /** A name for generated SQL is not lower-case letters, digits and `_`, or a context expression is not `schema.function()`. Fix: rename it. */
  | 'audit.invalid_identifier';

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

/** Refusals of the database, by constraint name. */
const REFUSALS: Readonly<Record<string, readonly [AuditErrorCode, string]>> = {
  'audit.no_context': [
    'audit.no_context',
    'the transaction has no organisation or no actor: run it through a handle that carries the context',
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
    'the event body is not one JSON object with unique keys: append through prepare',
  ],
  'audit.sealer_isolation': [
    'audit.sealer_isolation',
    "sealing needs READ COMMITTED: give the sealing pool default_transaction_isolation = 'read committed'",
  ],
  event_pkey: ['audit.duplicate_event', 'the event exists already: prepare a new event for each append'],
};

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
