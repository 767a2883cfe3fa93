/**
 * What each failure of S3 and STS means to the application (Amazon S3 API Reference, "Error responses"). Total and
 * fail-closed: an unknown refusal (4xx) is a denial, anything else is unavailability; neither is ever "not found".
 * No message holds a key: segments are file names of users more often than not.
 */
import { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import { BodyFailure } from './body-parts.ts';

const BY_NAME: Readonly<Record<string, TenancyErrorCode>> = {
  NoSuchKey: 'tenancy.storage_not_found',
  NotFound: 'tenancy.storage_not_found',
  PreconditionFailed: 'tenancy.storage_precondition_failed',
  ConditionalRequestConflict: 'tenancy.storage_precondition_failed',
  InvalidRange: 'tenancy.storage_invalid_range',
  // Wrong settings, or a session that ended: nothing the organisation did, and no word about the object.
  NoSuchBucket: 'tenancy.storage_unavailable',
  PermanentRedirect: 'tenancy.storage_unavailable',
  ExpiredToken: 'tenancy.storage_unavailable',
  ExpiredTokenException: 'tenancy.storage_unavailable',
  RequestTimeTooSkewed: 'tenancy.storage_unavailable',
  CredentialsProviderError: 'tenancy.storage_unavailable',
};
const BY_STATUS: Readonly<Record<number, TenancyErrorCode>> = {
  412: 'tenancy.storage_precondition_failed',
  416: 'tenancy.storage_invalid_range',
};
const NOT_RETRYABLE = new Set(['NoSuchBucket', 'PermanentRedirect', 'CredentialsProviderError']);
/** Refusals that mean "later". */
const PASSING = new Set([408, 429]);

/** The fields of an SDK error that are looked at. */
interface AwsError {
  readonly name?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly statusCode?: number };
}

/**
 * Turns a failure of the token service into this package's error. Its "not found" is about the role: it must never read as
 * an object that is not there.
 */
export function fromTokenError(error: unknown, org: OrgId): unknown {
  const mapped = fromS3Error(error, 'a session', org);
  if (!(mapped instanceof RingfenceTenancyError) || mapped.code === 'tenancy.storage_unavailable')
    return mapped;
  return new RingfenceTenancyError('tenancy.storage_denied', mapped.message, { cause: error });
}

/** Whether the server refused the session because its time is over. */
export function isEndedSession(error: unknown): boolean {
  const { name } = (error ?? {}) as AwsError;
  return name === 'ExpiredToken' || name === 'ExpiredTokenException';
}

/** The error for an object that is not the one asked for. */
export function preconditionFailed(operation: string, org: OrgId): RingfenceTenancyError {
  return new RingfenceTenancyError(
    'tenancy.storage_precondition_failed',
    `object storage: ${operation} of organisation ${org} failed: the object has another etag`,
  );
}

/** Turns a failure of the SDK into this package's error; programmers' mistakes and own errors stay what they are. */
export function fromS3Error(error: unknown, operation: string, org: OrgId): unknown {
  if (error instanceof RingfenceTenancyError || error instanceof TypeError) return error;
  if (error instanceof BodyFailure) return error.cause;
  const { name, $metadata, $response } = (error ?? {}) as AwsError;
  const status = $metadata?.httpStatusCode ?? $response?.statusCode ?? 0;
  const reason = typeof name === 'string' && /^[A-Za-z0-9]{1,64}$/.test(name) ? name : 'unnamed error';
  const refused = status >= 400 && status < 500 && !PASSING.has(status);
  const code =
    (Object.hasOwn(BY_NAME, reason) ? BY_NAME[reason] : undefined) ??
    BY_STATUS[status] ??
    (refused ? 'tenancy.storage_denied' : 'tenancy.storage_unavailable');
  const retryable = code === 'tenancy.storage_unavailable' && !NOT_RETRYABLE.has(reason);
  return new RingfenceTenancyError(
    code,
    `object storage: ${operation} of organisation ${org} failed (${reason}, HTTP ${status || 'without answer'})`,
    { retryable, cause: error },
  );
}
