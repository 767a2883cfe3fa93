/**
 * What each failure of S3 means to the copy (Amazon S3 API Reference, "Error responses"). Fail-closed: an unknown refusal
 * (4xx) is a denial, anything else is unavailability, and neither is ever "not there".
 */
import { RingfenceAuditError } from '../errors.ts';

/** Refusals that mean "later": the answer is the same for nobody's fault. */
const PASSING: ReadonlySet<number> = new Set([408, 409, 429]);
const PASSING_NAMES: ReadonlySet<string> = new Set([
  'SlowDown',
  'RequestTimeout',
  'ExpiredToken',
  'RequestTimeTooSkewed',
]);

/** Name and HTTP status of a failure, as far as it has them. */
export function reasonOf(error: unknown): { readonly name: string; readonly status: number } {
  const { name, $metadata, $response } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly name?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: number };
    readonly $response?: { readonly statusCode?: number };
  };
  return {
    name: typeof name === 'string' && /^[A-Za-z0-9]{1,64}$/.test(name) ? name : 'unnamed error',
    status: $metadata?.httpStatusCode ?? $response?.statusCode ?? 0,
  };
}

/** Turns a failure of the SDK into this package's error; programmers' mistakes and own errors stay what they are. */
export function fromS3Error(error: unknown, operation: string, key: string): unknown {
  if (error instanceof RingfenceAuditError || error instanceof TypeError) return error;
  const { name, status } = reasonOf(error);
  const refused =
    (status >= 400 && status < 500 && !PASSING.has(status) && !PASSING_NAMES.has(name)) ||
    name === 'CredentialsProviderError';
  return new RingfenceAuditError(
    refused ? 'audit.copy_denied' : 'audit.copy_unavailable',
    `${operation} ${key} failed (${name}, ${status === 0 ? 'no answer' : `HTTP ${status}`})`,
    { retryable: !refused, cause: error },
  );
}
