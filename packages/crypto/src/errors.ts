/**
 * Every error of this package: one base class, a closed union of stable codes, and discriminated subclasses.
 * Invariant: no message, cause or property carries key material, plaintext or ciphertext; ids and codes only.
 * All authentication failures of a sealed message share one code and one text (no oracle about which check failed).
 */

/** The stable code of every error this package throws. */
export type CryptoErrorCode =
  | 'crypto.decrypt_failed'
  | 'crypto.malformed_message'
  | 'crypto.unsupported_version'
  | 'crypto.unknown_key_version'
  | 'crypto.org_unknown'
  | 'crypto.key_revoked'
  | 'crypto.key_destroyed'
  | 'crypto.key_shredded'
  | 'crypto.key_denied'
  | 'crypto.kms_unavailable'
  | 'crypto.kms_malformed_answer'
  | 'crypto.wrap_tampered'
  | 'crypto.lease_expired'
  | 'crypto.lease_exhausted'
  | 'crypto.message_too_large'
  | 'crypto.store_conflict';

/** Where an error belongs: ids only, never key material or content. */
export interface CryptoErrorDetails {
  /** The organisation concerned. */
  readonly org?: string;
  /** URI of the key-encryption key concerned, e.g. `aws-kms:arn:aws:kms:…`. */
  readonly kekUri?: string;
  /** Random id of the data-key version concerned, 32 hex digits. */
  readonly keyId?: string;
  /** Request id the KMS answered with, to find the call in its log. */
  readonly requestId?: string;
}

/** Base class of all errors of this package. */
export class RingfenceCryptoError extends Error {
  override readonly name: string = 'RingfenceCryptoError';
  /** Stable machine-readable code. */
  readonly code: CryptoErrorCode;
  /** True when the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;
  /** Ids that say which object failed. */
  readonly details: CryptoErrorDetails;

  constructor(code: CryptoErrorCode, message: string, details: CryptoErrorDetails = {}, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    this.details = Object.freeze({ ...details });
  }
}
