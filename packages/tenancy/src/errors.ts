/**
 * Every error of this package: one class, a closed union of stable codes, and the mapping from PostgreSQL's errors.
 * The database names its refusals by constraint (`tenancy.no_context`, …) under SQLSTATE 42501, so the mapping does not
 * read message texts of ours. Invariant: no message carries a parameter value or a row.
 */

import { RowParserError } from './flight.ts';

/** The stable code of every error this package throws. */
export type TenancyErrorCode =
  /** A statement ran without an organisation context. Fix: run it through the handle of `tenancy.forOrg(orgId)`. */
  | 'tenancy.no_context'
  /** The context is not signed by a key the database knows: altered, injected, or its key is not installed. Fix: install the key with `installContextKey`; if it is installed, treat it as an attack. */
  | 'tenancy.context_forged'
  /** The context is older than its life. Fix: make a handle per request, and check the clocks of app and database. */
  | 'tenancy.context_expired'
  /** PostgreSQL echoed another context than was sent. Fix: look for a pooler that mixes up sessions; the connection is already destroyed. */
  | 'tenancy.context_mismatch'
  /** Every connection of the pool carries a prepared statement, temporary object or role that SQL put there. Fix: look for SQL injection; use no PREPARE, temporary tables or SET ROLE through handles. */
  | 'tenancy.unclean_session'
  /** A row was written whose org_id is not the organisation of the handle. Fix: leave org_id to its default, or set it to `db.org`. */
  | 'tenancy.cross_org_write'
  /** The connection role is a superuser, has BYPASSRLS, or is a member of a table owner; a break-glass role, of anything. Fix: connect as the app role, or a break-glass role that is a mere login. */
  | 'tenancy.unsafe_role'
  /** The server is older than 15.9, 16.5 or 17.1, which apply the wrong policies in some plans (CVE-2024-10976). Fix: update PostgreSQL within its major version. */
  | 'tenancy.unsafe_server'
  /** The transaction was rolled back: a statement in it failed or was cancelled, and the failure was swallowed. Fix: let the error leave the transaction callback; for a failure, not a cancellation, a savepoint helps too. */
  | 'tenancy.transaction_aborted'
  /** The connection ended before the answer; whether the statement took effect is unknown. Fix: read before you write again. */
  | 'tenancy.connection_lost'
  /** Actor, kind or request id has a character or length the context format refuses. Fix: use ids, not display names. */
  | 'tenancy.invalid_context'
  /** A field of a break-glass token is outside of its bounds, its life is over an hour, its actor approved it, or the issuer's clock is ahead. Fix: ask for a token within the bounds, and check the clocks of issuer and database. */
  | 'tenancy.break_glass_invalid'
  /** The break-glass token is not signed by a key the database knows: altered, made with a context key, or its key is not installed. Fix: install the key with `installBreakGlassKey`; if it is installed, treat it as an attack. */
  | 'tenancy.break_glass_forged'
  /** The break-glass token has expired. Fix: have a new one issued. */
  | 'tenancy.break_glass_expired'
  /** The break-glass token is revoked. Fix: find out why before a new one is issued. */
  | 'tenancy.break_glass_revoked'
  /** The break-glass token has been opened before. Fix: have one issued for each session; if nobody used it, treat it as an attack. */
  | 'tenancy.break_glass_used'
  /** A statement of the break-glass role ran without a committed opening. Fix: run it inside of `session(token, callback)`. */
  | 'tenancy.break_glass_not_open'
  /** The break-glass session is closed. Fix: await every statement before its callback returns. */
  | 'tenancy.break_glass_closed'
  /** A break-glass token of mode `read` was used to write. Fix: have a token of mode `write` issued. */
  | 'tenancy.break_glass_read_only'
  /** A break-glass transaction is REPEATABLE READ or SERIALIZABLE, which would not see a revocation. Fix: use READ COMMITTED. */
  | 'tenancy.break_glass_isolation'
  /** The end of a break-glass session could not be recorded; its opening is. Fix: revoke the token, and look at the cause. */
  | 'tenancy.break_glass_close_failed'
  /** The probe cannot run, or did not find the crossing of its own canary. Fix: connect as a superuser, or as the owner of all tables and of schema tenancy, granted the app role. */
  | 'tenancy.probe_refused'
  /** The probe found a crossing, or could not attack a table. Fix: read the report in the message; supply `rows` for what it could not seed. */
  | 'tenancy.isolation_failed'
  /** A request has no verified session that names an organisation. Fix: sign in; `resolve` returns the organisation of a session it has verified. */
  | 'tenancy.unauthenticated'
  /** The surrounding context belongs to another organisation than the handle or the expectation. Fix: look for a callback that was queued in one request and runs in another; pass handles as arguments there. */
  | 'tenancy.ambient_mismatch'
  /** A name for generated SQL is not lower-case letters, digits and `_`. Fix: rename it, or write that table's policy by hand. */
  | 'tenancy.invalid_identifier'
  /** No step leads from the tables that are there to the declared ones. Fix: make the missing table, or say in `backfill` where the rows of a table without org_id belong. */
  | 'tenancy.migration_blocked'
  /** Another migration of the same database is running, or the last statement of a killed one still is. Fix: wait for it, then run the migration again. */
  | 'tenancy.migration_running'
  /** A step of a migration failed; the cause is attached, and every step before it holds. Fix: mend the cause, such as rows that break a key, and run the migration again. */
  | 'tenancy.migration_failed'
  /** A job carries no envelope: it was not made by `seal`, or the envelope was stripped. Fix: enqueue through `seal` or an adapter; if you do, treat it as an attack. */
  | 'tenancy.job_envelope_missing'
  /** A job's data or envelope is not of the form of job-envelope-v1. Fix: as for `tenancy.job_altered`. */
  | 'tenancy.job_malformed'
  /** A job's envelope has a version this package does not know. Fix: update the worker before whoever enqueues. */
  | 'tenancy.job_unsupported_version'
  /** A job's envelope names a key the worker does not hold. Fix: give a new key to all workers before it signs, and keep an old one until its last job has expired. */
  | 'tenancy.job_unknown_key'
  /** A job's envelope or payload is not what was sealed. Fix: treat it as an attack: someone who holds no key writes to the queue. */
  | 'tenancy.job_altered'
  /** A job was sealed for another queue. Fix: redrive a job into its own queue only; otherwise treat it as an attack. */
  | 'tenancy.job_wrong_queue'
  /** A job's envelope was sealed for another job id. Fix: do not copy jobs, seal again; otherwise treat it as an attack. */
  | 'tenancy.job_wrong_id'
  /** The worker is bound to one organisation, and the job belongs to another. Fix: route jobs by organisation, or do not bind the worker. */
  | 'tenancy.job_wrong_org'
  /** A job was sealed later than now, by more than 60 s. Fix: check the clocks of the worker and of whoever enqueued. */
  | 'tenancy.job_not_yet_valid'
  /** A job is older than its life. Fix: seal it again, with a longer `lifetimeMs` if jobs wait that long. */
  | 'tenancy.job_expired'
  /** A job has been completed before. Fix: nothing, when the worker was killed between the record and the queue's acknowledgement; otherwise treat it as an attack. */
  | 'tenancy.job_replayed'
  /** A job's payload is larger than 262 144 bytes. Fix: put the content into storage and its key into the payload. */
  | 'tenancy.job_payload_too_large'
  /** A job's payload is authentic, but the schema of its queue refuses it. Fix: deploy the worker that knows the new form first. */
  | 'tenancy.job_invalid_payload'
  /** Queue name, actor, kind or request id of a job has a character or length the envelope refuses. Fix: use ids, not display names. */
  | 'tenancy.job_invalid_field'
  /** A segment of an object key is empty, `.`, `..`, too long, not NFC, or holds `/`, `\\`, `%`, `*`, `?`, a control or a format character. Fix: keep the user's file name in a row and use an id as segment. */
  | 'tenancy.storage_invalid_key'
  /** An object key belongs to another organisation, or to none; nothing was sent. Fix: take keys from rows of the same organisation; if the key came from a user, treat it as an attack. */
  | 'tenancy.storage_foreign_key'
  /** The operation is not among those this storage was made with; nothing was sent. Fix: add it to `operations`, here and in the generated documents. */
  | 'tenancy.storage_not_granted'
  /** The object store refused the request or the session. Fix: compare the deployed policies with the generated ones. On AWS a missing object can answer like this too. */
  | 'tenancy.storage_denied'
  /** There is no such object. Fix: check the row that names it. */
  | 'tenancy.storage_not_found'
  /** An object is already there (`ifAbsent`), or it changed since (`ifMatch`). Fix: read it again, or choose another key. */
  | 'tenancy.storage_precondition_failed'
  /** The range begins after the end of the object, or ends before it begins. Fix: ask for the size with `head` first. */
  | 'tenancy.storage_invalid_range'
  /** The body needs more than 10,000 parts; the upload was aborted. Fix: raise `partBytes`. */
  | 'tenancy.storage_too_large'
  /** The object store or its token service did not answer, answered with an error of its own, or with what no store answers: a page of a proxy, another range. Fix: try again later when `retryable`; else check endpoint, bucket and credentials. */
  | 'tenancy.storage_unavailable'
  /** A policy holds an element, operator, variable or condition key the evaluator does not know, so it cannot be judged. Fix: leave it out, or judge that policy by other means. */
  | 'tenancy.storage_policy_unsupported';

/** Base class of all errors of this package. */
export class RingfenceTenancyError extends Error {
  /** Name of the class. */
  override readonly name: string = 'RingfenceTenancyError';
  /** Stable machine-readable code. */
  readonly code: TenancyErrorCode;
  /** True when the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;

  constructor(
    code: TenancyErrorCode,
    message: string,
    options: { retryable?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** Refusals the database functions of this package raise, by constraint name. */
const REFUSALS: Readonly<Record<string, string>> = {
  'tenancy.no_context':
    'the statement ran without an organisation context: run it through the handle of tenancy.forOrg(orgId)',
  'tenancy.context_forged':
    'the organisation context is not signed by a known key: it was altered, injected, or the app and installContextKey have different keys',
  'tenancy.context_expired':
    'the organisation context has expired: take a new handle, and check the clocks of app and database',
  'tenancy.unclean_session':
    'the connection carries a prepared statement, temporary object or role that SQL put there, and so does its replacement',
  'tenancy.unsafe_server':
    'the server has a known hole in row-level security: update PostgreSQL to 15.9, 16.5, 17.1 or newer',
  'tenancy.unsafe_role':
    'the connection may bypass row-level security (superuser, BYPASSRLS, or member of a table owner): connect as the app role',
  'tenancy.break_glass_invalid':
    'the break-glass token lives longer than an hour, is not valid yet, or is approved by its actor',
  'tenancy.break_glass_forged':
    'the break-glass token is not signed by a known key: it was altered, or its key is not installed',
  'tenancy.break_glass_expired': 'the break-glass token has expired: have a new one issued',
  'tenancy.break_glass_revoked': 'the break-glass token is revoked',
  'tenancy.break_glass_used': 'the break-glass token has been opened before: a token opens once',
  'tenancy.break_glass_not_open':
    'no committed break-glass opening: run the statement inside of session(token, callback)',
  'tenancy.break_glass_closed': 'the break-glass session is closed',
  'tenancy.break_glass_read_only': 'the break-glass token permits no writing: have one of mode write issued',
  'tenancy.break_glass_isolation': 'a break-glass transaction must be READ COMMITTED to see a revocation',
};

/** SQLSTATE insufficient_privilege: PostgreSQL's own row-level security refusals carry it too. */
const INSUFFICIENT_PRIVILEGE = '42501';
/** SQLSTATE admin_shutdown: `pg_terminate_backend`, by `tenancy.enter` or an administrator. */
const ADMIN_SHUTDOWN = '57P01';
/** SQLSTATE in_failed_sql_transaction: on a fresh checkout, what a former borrower left. */
const FAILED_TRANSACTION = '25P02';

/** What the mapping reads of an error of the `pg` driver; `severity` tells an answer of the server from a lost connection. */
interface DatabaseErrorLike {
  readonly severity?: unknown;
  readonly code?: unknown;
  readonly constraint?: unknown;
  readonly routine?: unknown;
  readonly table?: unknown;
}

/** True when the first flight of a checkout was refused for what a former borrower left in the session. */
export function isUncleanSession(error: unknown): boolean {
  const { constraint, code } = (error ?? {}) as DatabaseErrorLike;
  return constraint === 'tenancy.unclean_session' || code === FAILED_TRANSACTION;
}

/**
 * True when the server itself ended the session, in its own words and not a pooler's: it answered everything up to there
 * and ran nothing behind it.
 */
export function endedByServer(error: unknown): boolean {
  const { code, routine } = ((error as { cause?: unknown }).cause ?? {}) as DatabaseErrorLike;
  return code === ADMIN_SHUTDOWN && routine === 'ProcessInterrupts';
}

/**
 * Turns an error of the driver into this package's error where it is about isolation or a lost connection; returns every
 * other error as it is.
 */
export function fromDatabaseError(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return error;
  if (error instanceof RingfenceTenancyError || error instanceof RowParserError || error instanceof TypeError)
    return error;
  const { severity, code, constraint, routine, table } = error as DatabaseErrorLike;
  if (typeof severity !== 'string' || (typeof code === 'string' && /^(08|57P0)/.test(code)))
    return lostConnection(error);
  if (code !== INSUFFICIENT_PRIVILEGE) return error;
  if (typeof constraint === 'string' && Object.hasOwn(REFUSALS, constraint)) {
    return new RingfenceTenancyError(constraint as TenancyErrorCode, REFUSALS[constraint] ?? '', {
      cause: error,
    });
  }
  if (routine === 'ExecWithCheckOptions') {
    const where = typeof table === 'string' ? ` of ${table}` : '';
    return new RingfenceTenancyError(
      'tenancy.cross_org_write',
      `a row${where} does not belong to the organisation of this handle: set org_id to the handle's organisation`,
      { cause: error },
    );
  }
  return error;
}

/** The session is gone or its answer did not come: whether the statement took effect is unknown, unless it never began. */
function lostConnection(cause: unknown): RingfenceTenancyError {
  const message = neverOpened(cause)
    ? 'PostgreSQL could not be reached: no connection was opened and nothing was sent; check host, port and network'
    : 'the connection to PostgreSQL ended before the answer: whether the statement took effect is unknown';
  return new RingfenceTenancyError('tenancy.connection_lost', message, { cause });
}

/** True for an error of looking up or connecting; a host with several addresses gives one for each. */
function neverOpened(cause: unknown): boolean {
  if (cause instanceof AggregateError) return cause.errors.length > 0 && cause.errors.every(neverOpened);
  const { syscall } = (cause ?? {}) as { readonly syscall?: unknown };
  return syscall === 'connect' || syscall === 'getaddrinfo';
}
