/**
 * Every error of this package: one base class, a closed union of stable codes, and discriminated subclasses.
 * Invariant: no message, cause or property carries key material, plaintext or ciphertext; ids and codes only.
 * All authentication failures of a sealed message share one code and one text (no oracle about which check failed).
 */

/** The stable code of every error this package throws. */
export type CryptoErrorCode =
  /** A sealed message did not authenticate: it was changed, or sealed for another organisation, cell or key. Fix: open it with the cell it was sealed for; if that is so, treat the row as tampered with. */
  | 'crypto.decrypt_failed'
  /** The value is no sealed message: wrong length or prefix, or its content is no text. Fix: look for plaintext or a truncated value in the column. */
  | 'crypto.malformed_message'
  /** The message names a format version or suite this release does not know. Fix: upgrade the reader before the writer. */
  | 'crypto.unsupported_version'
  /** The message names a data-key version the lease does not hold: retired, of another organisation, or newer than the lease. Fix: take a new lease; do not retire versions that messages still name. */
  | 'crypto.unknown_key_version'
  /** The organisation has no keys. Fix: call `keyring.createOrg(org)` when it signs up. */
  | 'crypto.org_unknown'
  /** The KMS says that the key-encryption key is disabled. Fix: its holder enables it; service resumes by itself. */
  | 'crypto.key_revoked'
  /** The key-encryption key is destroyed, pending deletion, or does not exist. Fix: its holder cancels the deletion, or add a wrap under another key while one still opens. */
  | 'crypto.key_destroyed'
  /** The keys were destroyed on purpose; the sealed data cannot be read again. Fix: none; that is the guarantee. */
  | 'crypto.key_shredded'
  /** The KMS refuses this caller or context. Fix: check the key policy against docs/byok. */
  | 'crypto.key_denied'
  /** The KMS did not answer, was throttled or failed; a valid lease keeps serving. Fix: retry later. */
  | 'crypto.kms_unavailable'
  /** The KMS answered with something that cannot be a key of the asked kind; nothing of it is used. Fix: look for a proxy or a wrong endpoint. */
  | 'crypto.kms_malformed_answer'
  /** No provider serves the scheme of the key's URI. Fix: hand the provider to `createKeyring({ kms })`. */
  | 'crypto.kms_not_configured'
  /** A wrapped key does not authenticate for its organisation, version and key. Fix: restore the key store's row; if it was not restored wrongly, treat it as an attack. */
  | 'crypto.wrap_tampered'
  /** The lease has ended or was revoked; its keys are wiped. Fix: call `keyring.org(org)` again, once per request. */
  | 'crypto.lease_expired'
  /** The lease has sealed or opened as many messages or bytes as it may. Fix: call `keyring.org(org)` again. */
  | 'crypto.lease_exhausted'
  /** The plaintext is larger than a field may be. Fix: use `@ringfence/crypto/files`. */
  | 'crypto.message_too_large'
  /** A query would read or write a sealed column in a way whose cell cannot be told. Fix: follow the message; select, insert or update the column by name, with its row id. */
  | 'crypto.query_refused'
  /** A version would be left without any wrap, which destroys its data. Fix: add a wrap under another KEK first, or `shred` if that is meant. */
  | 'crypto.last_wrap'
  /** No wrap of a version is under the KEK that was named as the one to leave. Fix: read the KEK URIs from `status`. */
  | 'crypto.wrap_not_found'
  /** A version has several wraps and it was not said which one to replace. Fix: name it with `from`. */
  | 'crypto.several_wraps'
  /** The version is the active one; only a version that no longer seals can be retired. Fix: rotate first. */
  | 'crypto.version_active'
  /** Something still names the version that was to be retired; it opens as before. Fix: sweep what the error names, then retire again. */
  | 'crypto.still_referenced'
  /** Leases or transactions from before the rotation may still write under the version. Fix: retire later. */
  | 'crypto.retirement_too_early'
  /** Another process changed the key store between reading and writing; nothing was written. Fix: read again and repeat. */
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
  /** Name of the class, as error logs show it. */
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
