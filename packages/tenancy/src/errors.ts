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
  /** The connection role is a superuser, has BYPASSRLS, or is a member of a table owner. Fix: connect as the app role. */
  | 'tenancy.unsafe_role'
  /** The transaction was rolled back: a statement in it failed and the failure was swallowed. Fix: let the error leave the transaction callback, or use a savepoint. */
  | 'tenancy.transaction_aborted'
  /** The connection ended before the answer; whether the statement took effect is unknown. Fix: read before you write again. */
  | 'tenancy.connection_lost'
  /** Actor, kind or request id has a character or length the context format refuses. Fix: use ids, not display names. */
  | 'tenancy.invalid_context'
  /** A name for generated SQL is not lower-case letters, digits and `_`. Fix: rename it, or write that table's policy by hand. */
  | 'tenancy.invalid_identifier';

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
    'the organisation context is not signed by a known key: it was altered, injected, or its key is not installed',
  'tenancy.context_expired':
    'the organisation context has expired: take a new handle, and check the clocks of app and database',
  'tenancy.unclean_session':
    'the connection carries a prepared statement, temporary object or role that SQL put there, and so does its replacement',
  'tenancy.unsafe_role':
    'the connection may bypass row-level security (superuser, BYPASSRLS, or member of a table owner): connect as the app role',
};

/** SQLSTATE insufficient_privilege: PostgreSQL's own row-level security refusals carry it too. */
const INSUFFICIENT_PRIVILEGE = '42501';
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

/** The session is gone or its answer did not come: whether the statement took effect is unknown. */
function lostConnection(cause: unknown): RingfenceTenancyError {
  return new RingfenceTenancyError(
    'tenancy.connection_lost',
    'the connection to PostgreSQL ended before the answer: whether the statement took effect is unknown',
    { cause },
  );
}
