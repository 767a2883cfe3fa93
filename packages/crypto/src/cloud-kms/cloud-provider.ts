/**
 * Drives a cloud's KMS as a `KmsProvider`: what must hold for every cloud is written here once, so that an adapter only
 * speaks its SDK. Invariants: a key leaves `unwrap` only after the envelope authenticated it under the asked context;
 * every rejection is a `RingfenceCryptoError` of the port's codes, without the SDK's error object (which may hold the
 * request), without server texts and without bytes; transport keys are wiped.
 */
import { randomBytes } from 'node:crypto';
import { CallGivenUp, checkTimeout, withDeadline } from '../deadline.ts';
import { type CryptoErrorDetails, RingfenceCryptoError } from '../errors.ts';
import type { KekState, KmsCallOptions, KmsProvider, UnwrapResult, WrapContext, WrapResult } from '../kms.ts';
import {
  encodeWrapContext,
  equal,
  KEY_BYTES,
  MAX_KMS_CIPHERTEXT_BYTES,
  openWrap,
  parseWrap,
  sealWrap,
  type WrapHeader,
} from './wrap-envelope.ts';

/** Time-out of one provider call when none is given, in ms. */
const DEFAULT_TIMEOUT_MS = 5000;

/** Attempts of one provider call where the SDK lets us say so; all of them share the one time-out. */
export const MAX_ATTEMPTS = 3;

/** Codes a provider may reject with (see `KmsProvider`). */
export type KmsErrorCode =
  | 'crypto.key_revoked'
  | 'crypto.key_denied'
  | 'crypto.key_destroyed'
  | 'crypto.kms_unavailable'
  | 'crypto.kms_malformed_answer'
  | 'crypto.wrap_tampered';

/** What an adapter makes of a failure: our code, and a short name from a closed vocabulary, never a server's text. */
export interface KmsFailure {
  readonly code: KmsErrorCode;
  readonly reason: string;
  readonly requestId?: string | undefined;
}

/** Thrown by an adapter that has judged the answer itself. */
export class KmsRefusal extends Error {
  readonly failure: KmsFailure;

  constructor(code: KmsErrorCode, reason: string, requestId?: string) {
    super(reason);
    this.failure = { code, reason, requestId };
  }
}

/** The operation a failure belongs to; the same answer can mean different things. */
export type KmsOperation = 'wrap' | 'unwrap' | 'describe';

/** A call in progress, as an adapter sees it. */
export interface CloudCall {
  readonly context: WrapContext;
  /** The context in bytes, for clouds that take additional authenticated data. */
  readonly contextBytes: Uint8Array;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Takes the request id of every answer, refusals and repeated attempts included. */
  readonly noteRequestId: (requestId: unknown) => void;
}

/** What of a call does not concern a context. */
export type PlainCall = Omit<CloudCall, 'context' | 'contextBytes'>;

/** What a cloud must be able to do. `Kek` is a KEK resolved from its URI, with the client that reaches it. */
export interface CloudKms<Kek> {
  readonly scheme: string;
  /** Name of the service in error messages. */
  readonly service: string;
  /** Parses the part of the URI behind the scheme and picks a client. @throws TypeError on misuse. */
  resolve(name: string): Kek | Promise<Kek>;
  encrypt(
    kek: Kek,
    transportKey: Uint8Array,
    call: CloudCall,
  ): Promise<WrapHeader & { readonly requestId?: string | undefined }>;
  decrypt(
    kek: Kek,
    header: WrapHeader,
    call: CloudCall,
  ): Promise<{ readonly transportKey: Uint8Array; readonly requestId?: string | undefined }>;
  describe(kek: Kek, call: PlainCall): Promise<KekState>;
  /** Names a failure of the SDK. Must be total. */
  classify(error: unknown, operation: KmsOperation): KmsFailure;
}

/** Makes a provider of an adapter. */
export function cloudKmsProvider<Kek>(
  cloud: CloudKms<Kek>,
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): KmsProvider {
  checkTimeout(timeoutMs);

  const run = async <T>(
    operation: KmsOperation,
    kekUri: string,
    details: CryptoErrorDetails,
    options: KmsCallOptions | undefined,
    call: (kek: Kek, plain: PlainCall) => Promise<T>,
  ): Promise<T> => {
    const noteRequestId = (requestId: unknown): void => {
      const safe = safeToken(requestId, 128);
      if (safe !== undefined) options?.onRequestId?.(safe);
    };
    try {
      return await withDeadline(timeoutMs, options?.signal, async (signal) => {
        const kek = await cloud.resolve(nameOf(cloud.scheme, kekUri));
        try {
          return await call(kek, { signal, timeoutMs, noteRequestId });
        } catch (error) {
          throw typedError(cloud.service, judge(cloud, error, operation), details);
        }
      });
    } catch (error) {
      if (!(error instanceof CallGivenUp)) throw error;
      const reason =
        error.givenUp === 'timeout' ? `no answer within ${timeoutMs} ms` : 'aborted by the caller';
      throw typedError(cloud.service, { code: 'crypto.kms_unavailable', reason }, details);
    }
  };

  return {
    scheme: cloud.scheme,

    async wrap(
      kekUri: string,
      key: Uint8Array,
      context: WrapContext,
      options?: KmsCallOptions,
    ): Promise<WrapResult> {
      if (!(key instanceof Uint8Array) || key.length !== KEY_BYTES) {
        throw new TypeError(`a key to wrap must be ${KEY_BYTES} bytes`);
      }
      const contextBytes = encodeWrapContext(cloud.scheme, context);
      return run('wrap', kekUri, detailsOf(kekUri, context), options, async (kek, plain) => {
        const transportKey = randomBytes(KEY_BYTES);
        try {
          const made = await cloud.encrypt(kek, transportKey, { context, contextBytes, ...plain });
          const length = made.kmsCiphertext.length;
          if (length === 0 || length > MAX_KMS_CIPHERTEXT_BYTES || equal(made.kmsCiphertext, transportKey)) {
            throw new KmsRefusal('crypto.kms_malformed_answer', 'no ciphertext', made.requestId);
          }
          return result({ wrapped: sealWrap(key, transportKey, made, contextBytes) }, made.requestId);
        } finally {
          transportKey.fill(0);
        }
      });
    },

    async unwrap(
      kekUri: string,
      wrapped: Uint8Array,
      context: WrapContext,
      options?: KmsCallOptions,
    ): Promise<UnwrapResult> {
      const contextBytes = encodeWrapContext(cloud.scheme, context);
      return run('unwrap', kekUri, detailsOf(kekUri, context), options, async (kek, plain) => {
        const wrap = parseWrap(wrapped);
        if (wrap === undefined) throw new KmsRefusal('crypto.wrap_tampered', 'damaged wrap');
        const call = { context, contextBytes, ...plain };
        const { transportKey, requestId } = await cloud.decrypt(kek, wrap, call);
        try {
          if (transportKey.length !== KEY_BYTES) {
            throw new KmsRefusal('crypto.kms_malformed_answer', 'wrong plaintext length', requestId);
          }
          const key = openWrap(wrap, transportKey, contextBytes);
          if (key === undefined) {
            throw new KmsRefusal('crypto.wrap_tampered', 'wrap does not authenticate', requestId);
          }
          // The caller was released already: nobody would wipe a key that arrives now.
          if (plain.signal.aborted) key.fill(0);
          return result({ key }, requestId);
        } finally {
          transportKey.fill(0);
        }
      });
    },

    async describe(kekUri: string, options?: KmsCallOptions): Promise<KekState> {
      try {
        return await run('describe', kekUri, { kekUri }, options, (kek, plain) => cloud.describe(kek, plain));
      } catch (error) {
        // The question was for the state: a refusal that names the state is the answer.
        if (error instanceof RingfenceCryptoError && error.code === 'crypto.key_destroyed')
          return 'destroyed';
        if (error instanceof RingfenceCryptoError && error.code === 'crypto.key_revoked') return 'disabled';
        throw error;
      }
    },
  };
}

const ADVICE: Record<KmsErrorCode, string> = {
  'crypto.key_revoked': 'the key-encryption key is disabled; its owner can enable it again',
  'crypto.key_denied': 'access to the key-encryption key is denied; check the grant to this service',
  'crypto.key_destroyed': 'the key-encryption key is destroyed, pending deletion or not found',
  'crypto.kms_unavailable': 'the key-management service gave no usable answer; try again later',
  'crypto.kms_malformed_answer': 'the key-management service answered something that cannot be trusted',
  'crypto.wrap_tampered':
    'the wrapped key does not belong to this context and key-encryption key, or is damaged',
};

function typedError(service: string, failure: KmsFailure, details: CryptoErrorDetails): RingfenceCryptoError {
  const requestId = safeToken(failure.requestId, 128);
  return new RingfenceCryptoError(
    failure.code,
    `${service}: ${ADVICE[failure.code]} (${failure.reason})`,
    requestId === undefined ? details : { ...details, requestId },
    failure.code === 'crypto.kms_unavailable',
  );
}

function judge<Kek>(cloud: CloudKms<Kek>, error: unknown, operation: KmsOperation): KmsFailure {
  return error instanceof KmsRefusal ? error.failure : cloud.classify(error, operation);
}

/** A name or id given by a server, only when it looks like one: error texts must not carry content. */
export function safeToken(value: unknown, maxLength = 64): string | undefined {
  if (typeof value !== 'string' || value.length > maxLength) return undefined;
  return /^[A-Za-z0-9][A-Za-z0-9_.:/=+-]*$/.test(value) ? value : undefined;
}

function nameOf(scheme: string, kekUri: string): string {
  if (!kekUri.startsWith(`${scheme}:`))
    throw new TypeError(`a KEK URI of this provider starts with ${scheme}:`);
  return kekUri.slice(scheme.length + 1);
}

function detailsOf(kekUri: string, context: WrapContext): CryptoErrorDetails {
  return { org: context.org, kekUri, keyId: context.keyId };
}

function result<T extends object>(value: T, requestId: string | undefined): T & { requestId?: string } {
  const safe = safeToken(requestId, 128);
  return safe === undefined ? value : { ...value, requestId: safe };
}
