/**
 * What each failure of AWS KMS means to the keyring (AWS KMS API Reference: Encrypt, Decrypt, DescribeKey, Common Errors).
 * Invariant: total and fail-closed. A name the table does not hold is a denial when AWS refused the request (4xx) and
 * unavailability otherwise; it is never read as success, and never as the end of a key.
 */
import type { KmsErrorCode, KmsFailure } from '../cloud-kms/cloud-provider.ts';
import { safeToken } from '../cloud-kms/cloud-provider.ts';

const BY_NAME: Readonly<Record<string, KmsErrorCode>> = {
  DisabledException: 'crypto.key_revoked',

  NotFoundException: 'crypto.key_destroyed',
  XksKeyNotFoundException: 'crypto.key_destroyed',

  AccessDeniedException: 'crypto.key_denied',
  UnrecognizedClientException: 'crypto.key_denied',
  InvalidClientTokenId: 'crypto.key_denied',
  InvalidSignatureException: 'crypto.key_denied',
  MissingAuthenticationTokenException: 'crypto.key_denied',
  NotAuthorized: 'crypto.key_denied',
  OptInRequired: 'crypto.key_denied',
  InvalidGrantTokenException: 'crypto.key_denied',
  InvalidKeyUsageException: 'crypto.key_denied',
  UnsupportedOperationException: 'crypto.key_denied',

  InvalidCiphertextException: 'crypto.wrap_tampered',
  IncorrectKeyException: 'crypto.wrap_tampered',

  // Ours to renew, not the owner's decision: expired session credentials and a clock that is off.
  ExpiredTokenException: 'crypto.kms_unavailable',
  RequestExpired: 'crypto.kms_unavailable',
  CredentialsProviderError: 'crypto.kms_unavailable',

  ThrottlingException: 'crypto.kms_unavailable',
  TooManyRequestsException: 'crypto.kms_unavailable',
  LimitExceededException: 'crypto.kms_unavailable',
  DependencyTimeoutException: 'crypto.kms_unavailable',
  KMSInternalException: 'crypto.kms_unavailable',
  InternalFailure: 'crypto.kms_unavailable',
  KeyUnavailableException: 'crypto.kms_unavailable',
  ServiceUnavailableException: 'crypto.kms_unavailable',
  CloudHsmClusterNotActiveException: 'crypto.kms_unavailable',
  CustomKeyStoreInvalidStateException: 'crypto.kms_unavailable',
  XksProxyUriUnreachableException: 'crypto.kms_unavailable',
  TimeoutError: 'crypto.kms_unavailable',
  AbortError: 'crypto.kms_unavailable',

  // The SDK could not read the answer.
  SyntaxError: 'crypto.kms_malformed_answer',
};

/** The fields of an SDK error that are looked at; everything else in it stays where it is. */
interface AwsError {
  readonly name?: unknown;
  readonly message?: unknown;
  /** Name of a system error, e.g. ECONNRESET. */
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  /** Set where the SDK could not read the answer. */
  readonly $response?: { readonly statusCode?: number };
}

/** Names a failure of the AWS SDK. */
export function classifyAwsError(error: unknown): KmsFailure {
  const { name, message, code, $metadata, $response } = (error ?? {}) as AwsError;
  const reason = safeToken(name) ?? 'unnamed error';
  const requestId = $metadata?.requestId;
  const status = $metadata?.httpStatusCode ?? $response?.statusCode ?? 0;
  if (name === 'KMSInvalidStateException') return { code: invalidState(message), reason, requestId };
  const known = typeof name === 'string' && Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined;
  // A gateway's own page with 502 or 503 is no answer of KMS, readable or not.
  if (name === 'SyntaxError' && status >= 500) return { code: 'crypto.kms_unavailable', reason, requestId };
  if (known !== undefined) return { code: known, reason, requestId };
  const refused = status >= 400 && status < 500 && status !== 408 && status !== 429;
  if (refused) return { code: 'crypto.key_denied', reason, requestId };
  // The connection broke in the middle of an answer.
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) {
    return { code: 'crypto.kms_unavailable', reason, requestId };
  }
  // An answer of success that the SDK could not turn into a result.
  if (status >= 200 && status < 300) return { code: 'crypto.kms_malformed_answer', reason, requestId };
  return { code: 'crypto.kms_unavailable', reason, requestId };
}

/**
 * AWS gives the state only in the text ("<arn> is pending deletion."). Pending import: the owner took imported material
 * away and can bring it back, which is a revocation. Creating, updating, unavailable: passing states.
 */
function invalidState(message: unknown): KmsErrorCode {
  const text = typeof message === 'string' ? message : '';
  if (/pending\s?(replica\s?)?deletion/i.test(text)) return 'crypto.key_destroyed';
  if (/pending\s?import/i.test(text)) return 'crypto.key_revoked';
  return 'crypto.kms_unavailable';
}
