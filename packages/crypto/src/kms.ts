/**
 * The port to a key-management service: wraps and unwraps 32-byte data keys under a key-encryption key (KEK).
 * Providers (`/local`, `/aws-kms`, `/gcp-kms`, `/azure-key-vault`) implement it; one conformance suite holds them alike.
 * Invariant: a wrap is bound to its whole context; a provider whose cloud cannot bind it must refuse by its own means.
 */
import type { OrgId } from './org-id.ts';

/** What a wrapped key belongs to. Bound to the wrap: unwrapping under another context fails. */
export interface WrapContext {
  /** Application name, so that two products under one KEK cannot read each other's keys. */
  readonly app: string;
  /** Organisation that owns the data key. */
  readonly org: OrgId;
  /** Random id of the data-key version, 32 lower-case hex digits. */
  readonly keyId: string;
  /** Number of the data-key version, from 1. */
  readonly version: number;
  /** What the wrapped key is: an org's data key or a data subject's key. */
  readonly purpose: 'dek' | 'subject';
}

/** Options of one KMS call. */
export interface KmsCallOptions {
  /** Aborts the call. */
  readonly signal?: AbortSignal;
  /**
   * Told the request id of every answer of the service to this call: refusals, attempts that the client repeats, and
   * answers that come too late included. What a provider does not tell here, the key-use ledger can't show.
   */
  readonly onRequestId?: (requestId: string) => void;
}

/** A key wrapped under a KEK. */
export interface WrapResult {
  /** Opaque bytes, as the provider needs them for `unwrap`. */
  readonly wrapped: Uint8Array;
  /** Request id of the KMS, when it gives one. */
  readonly requestId?: string;
}

/** An unwrapped key. The caller owns the bytes and wipes them. */
export interface UnwrapResult {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Request id of the KMS, when it gives one. */
  readonly requestId?: string;
}

/** State of a KEK as its KMS reports it. */
export type KekState = 'enabled' | 'disabled' | 'pending_deletion' | 'destroyed';

/**
 * A key-management service. Every method rejects with a `RingfenceCryptoError` of one of these codes only:
 * `crypto.key_revoked` (KEK disabled), `crypto.key_denied` (caller or context not allowed), `crypto.key_destroyed`
 * (KEK destroyed, pending deletion or not found), `crypto.kms_unavailable` (retryable: throttled, time-out, 5xx,
 * network), `crypto.kms_malformed_answer`, `crypto.wrap_tampered` (wrap or its context does not authenticate).
 */
export interface KmsProvider {
  /** Scheme of the KEK URIs this provider serves: the part before the first colon. */
  readonly scheme: string;
  /** Wraps a 32-byte key under `kekUri`, bound to `context`. */
  wrap(kekUri: string, key: Uint8Array, context: WrapContext, options?: KmsCallOptions): Promise<WrapResult>;
  /** Unwraps what `wrap` made, only under the same KEK and context. */
  unwrap(
    kekUri: string,
    wrapped: Uint8Array,
    context: WrapContext,
    options?: KmsCallOptions,
  ): Promise<UnwrapResult>;
  /** Asks the KMS for the state of a KEK. */
  describe(kekUri: string, options?: KmsCallOptions): Promise<KekState>;
}
