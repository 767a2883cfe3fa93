/**
 * What each failure of Cloud KMS means to the keyring (google.rpc.Code; Cloud KMS "Data integrity" and "Key states").
 * Invariant: total and fail-closed. An unknown failure is unavailability; it is never read as success, and never as the
 * end of a key.
 */
import type { KmsErrorCode, KmsFailure, KmsOperation } from '../cloud-kms/cloud-provider.ts';

/** Names of the canonical codes, by number. */
const NAMES: readonly string[] = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

const BY_NAME: Readonly<Record<string, KmsErrorCode>> = {
  NOT_FOUND: 'crypto.key_destroyed',
  PERMISSION_DENIED: 'crypto.key_denied',
  UNAUTHENTICATED: 'crypto.key_denied',
  UNIMPLEMENTED: 'crypto.kms_malformed_answer',
  OUT_OF_RANGE: 'crypto.kms_malformed_answer',
  ALREADY_EXISTS: 'crypto.kms_malformed_answer',
  DATA_LOSS: 'crypto.kms_malformed_answer',
};

/** The fields of a GoogleError that are looked at. */
interface GcpError {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly statusDetails?: readonly { readonly requestId?: unknown }[];
}

/** Names a failure of the Google client. */
export function classifyGcpError(error: unknown, operation: KmsOperation): KmsFailure {
  const { code, message, statusDetails } = (error ?? {}) as GcpError;
  const name = (typeof code === 'number' ? NAMES[code] : undefined) ?? 'no status';
  const text = typeof message === 'string' ? message : '';
  const requestId = requestIdOf(statusDetails);
  return { code: codeOf(name, text, operation), reason: name, requestId };
}

function codeOf(name: string, text: string, operation: KmsOperation): KmsErrorCode {
  switch (name) {
    case 'FAILED_PRECONDITION':
      return keyState(text);
    case 'INVALID_ARGUMENT':
      // A checksum that did not arrive as it was sent: damage in transit, not a forged wrap.
      if (/crc32c|checksum/i.test(text)) return 'crypto.kms_unavailable';
      return operation === 'unwrap' ? 'crypto.wrap_tampered' : 'crypto.key_denied';
    case 'INTERNAL':
      // What grpc-js says of a message that is not the promised one.
      return /parsing error|deserializ/i.test(text)
        ? 'crypto.kms_malformed_answer'
        : 'crypto.kms_unavailable';
    default:
      return BY_NAME[name] ?? 'crypto.kms_unavailable';
  }
}

/**
 * Cloud KMS gives the state in the text ("… is not enabled, current state is: DISABLED."). Without a state it is some
 * other condition the owner has set (no primary version, an access policy): a revocation, since they can lift it.
 */
function keyState(text: string): KmsErrorCode {
  const state = /current state is:? ?([A-Z_]+)/.exec(text)?.[1] ?? '';
  if (
    /^(DESTROYED|DESTROY_SCHEDULED|PENDING_EXTERNAL_DESTRUCTION|EXTERNAL_DESTRUCTION_FAILED)$/.test(state)
  ) {
    return 'crypto.key_destroyed';
  }
  if (/^PENDING_(GENERATION|IMPORT)$/.test(state)) return 'crypto.kms_unavailable';
  return 'crypto.key_revoked';
}

/** google.rpc.RequestInfo, when the service attached one. */
function requestIdOf(details: GcpError['statusDetails']): string | undefined {
  if (!Array.isArray(details)) return undefined;
  for (const detail of details) {
    if (typeof detail?.requestId === 'string') return detail.requestId;
  }
  return undefined;
}
