/**
 * What each failure of Azure Key Vault means to the keyring (Key Vault REST API error codes, "Authentication, requests
 * and responses"). Invariant: total and fail-closed. An unknown refusal (4xx) is a denial, anything else unavailability;
 * nothing unknown is read as success or as the end of a key.
 */
import type { KmsErrorCode, KmsFailure, KmsOperation } from '../cloud-kms/cloud-provider.ts';
import { safeToken } from '../cloud-kms/cloud-provider.ts';

/** The fields of an SDK error that are looked at; everything else in it stays where it is. */
interface AzureError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly message?: unknown;
  readonly details?: { readonly error?: { readonly innerError?: { readonly code?: unknown } } };
  readonly response?: { readonly headers?: { get?(name: string): string | undefined } };
}

/** Conditions of the key that its owner has set and can lift. */
const REVOKED = /^Key(Disabled|Expired|NotYetValid)$/;
const REVOKED_TEXT = /not allowed on an? (disabled|expired|not yet valid) key/i;

/** Names a failure of the Azure SDK. */
export function classifyAzureError(error: unknown, operation: KmsOperation): KmsFailure {
  const { name, code, statusCode, message, details, response } = (error ?? {}) as AzureError;
  const inner = details?.error?.innerError?.code;
  const reason = safeToken(inner) ?? safeToken(code) ?? safeToken(name) ?? 'unnamed error';
  const requestId = response?.headers?.get?.('x-ms-request-id');
  const status = typeof statusCode === 'number' ? statusCode : 0;
  const text = typeof message === 'string' ? message : '';
  return { code: codeOf({ name, code, status, inner, text }, operation), reason, requestId };
}

interface Facts {
  readonly name: unknown;
  readonly code: unknown;
  readonly status: number;
  readonly inner: unknown;
  readonly text: string;
}

function codeOf({ name, code, status, inner, text }: Facts, operation: KmsOperation): KmsErrorCode {
  // A vault that points to another authority than its own: no token may go there, and no answer is to be trusted.
  if (/^The challenge (resource|origin) /.test(text)) return 'crypto.kms_malformed_answer';
  // The connection broke in the middle of an answer.
  if (code === 'PARSE_ERROR' && /^Error reading response/.test(text)) return 'crypto.kms_unavailable';
  if (code === 'PARSE_ERROR' || name === 'SyntaxError') return 'crypto.kms_malformed_answer';
  if (status >= 200 && status < 300) return 'crypto.kms_malformed_answer';
  switch (status) {
    case 400:
      return operation === 'unwrap' ? 'crypto.wrap_tampered' : 'crypto.key_denied';
    case 403: {
      const revoked = typeof inner === 'string' ? REVOKED.test(inner) : REVOKED_TEXT.test(text);
      return revoked ? 'crypto.key_revoked' : 'crypto.key_denied';
    }
    case 404:
    case 410:
      return 'crypto.key_destroyed';
    case 408:
    case 429:
      return 'crypto.kms_unavailable';
    case 409:
      return inner === 'ObjectIsDeletedButRecoverable' ? 'crypto.key_destroyed' : 'crypto.kms_unavailable';
    default:
      return status >= 400 && status < 500 ? 'crypto.key_denied' : 'crypto.kms_unavailable';
  }
}
