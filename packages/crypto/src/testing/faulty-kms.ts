/**
 * A KMS provider that fails on command around one that works: for tests of what a keyring does when its KMS is disabled,
 * silent, wrong or hostile. Errors are those the port prescribes.
 */
import { randomBytes } from 'node:crypto';
import { type CryptoErrorCode, RingfenceCryptoError } from '../errors.ts';
import type { KekState, KmsCallOptions, KmsProvider, UnwrapResult, WrapContext, WrapResult } from '../kms.ts';

/**
 * A fault. `throttled`, `timeout`, `server_error`, `network`: the KMS gives no answer. `disabled`, `pending_deletion`,
 * `destroyed`, `denied`: it refuses. `malformed`: it answers with 31 bytes. `wrong_key`: with a random key. `other_org`:
 * with the key it unwrapped before for another organisation. `slow`: not before the call is aborted or `release` is called.
 */
export type KmsFault =
  | 'throttled'
  | 'timeout'
  | 'server_error'
  | 'network'
  | 'disabled'
  | 'pending_deletion'
  | 'destroyed'
  | 'denied'
  | 'malformed'
  | 'wrong_key'
  | 'other_org'
  | 'slow';

/** A provider with switches. */
export interface FaultyKms extends KmsProvider {
  /** Calls of `wrap` and `unwrap` so far. */
  readonly calls: number;
  /** Makes the next `times` calls fail (default: all until `heal`). */
  fail(fault: KmsFault, times?: number): void;
  /** Ends all faults. */
  heal(): void;
  /** Lets calls that hang in `slow` go on. */
  release(): void;
}

const ERRORS: Partial<Record<KmsFault, readonly [CryptoErrorCode, boolean]>> = {
  throttled: ['crypto.kms_unavailable', true],
  timeout: ['crypto.kms_unavailable', true],
  server_error: ['crypto.kms_unavailable', true],
  network: ['crypto.kms_unavailable', true],
  disabled: ['crypto.key_revoked', false],
  pending_deletion: ['crypto.key_destroyed', false],
  destroyed: ['crypto.key_destroyed', false],
  denied: ['crypto.key_denied', false],
};

/** Wraps a working provider. */
export function faultyKms(provider: KmsProvider): FaultyKms {
  return new SwitchableKms(provider);
}

class SwitchableKms implements FaultyKms {
  readonly scheme: string;
  calls = 0;
  readonly #provider: KmsProvider;
  readonly #waiting = new Set<() => void>();
  readonly #seen: { readonly org: string; readonly key: Uint8Array }[] = [];
  #fault: KmsFault | undefined;
  #times = 0;

  constructor(provider: KmsProvider) {
    this.#provider = provider;
    this.scheme = provider.scheme;
  }

  fail(fault: KmsFault, times: number = Number.POSITIVE_INFINITY): void {
    this.#fault = fault;
    this.#times = times;
  }

  heal(): void {
    this.#fault = undefined;
    this.release();
  }

  release(): void {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  async wrap(
    kekUri: string,
    key: Uint8Array,
    context: WrapContext,
    options?: KmsCallOptions,
  ): Promise<WrapResult> {
    this.calls += 1;
    const fault = await this.#strike(kekUri, options);
    if (fault === 'malformed') throw malformedAnswer(kekUri);
    return this.#provider.wrap(kekUri, key, context, options);
  }

  async unwrap(
    kekUri: string,
    wrapped: Uint8Array,
    context: WrapContext,
    options?: KmsCallOptions,
  ): Promise<UnwrapResult> {
    this.calls += 1;
    const fault = await this.#strike(kekUri, options);
    if (fault === 'malformed') throw malformedAnswer(kekUri);
    if (fault === 'wrong_key') return { key: new Uint8Array(randomBytes(32)) };
    if (fault === 'other_org') {
      const other = this.#seen.find((one) => one.org !== context.org);
      if (other === undefined) throw new TypeError('no other organisation was unwrapped before');
      return { key: other.key.slice() };
    }
    const result = await this.#provider.unwrap(kekUri, wrapped, context, options);
    this.#seen.push({ org: context.org, key: result.key.slice() });
    return result;
  }

  async describe(kekUri: string, options?: KmsCallOptions): Promise<KekState> {
    const state = this.#fault;
    if (state === 'disabled' || state === 'pending_deletion' || state === 'destroyed') return state;
    await this.#strike(kekUri, options);
    return this.#provider.describe(kekUri, options);
  }

  async #strike(kekUri: string, options: KmsCallOptions | undefined): Promise<KmsFault | undefined> {
    const fault = this.#fault;
    if (fault === undefined || this.#times <= 0) return undefined;
    this.#times -= 1;
    if (fault === 'slow') await this.#hang(kekUri, options?.signal);
    const error = ERRORS[fault];
    if (error !== undefined) {
      throw new RingfenceCryptoError(error[0], `injected fault: ${fault}`, { kekUri }, error[1]);
    }
    return fault;
  }

  #hang(kekUri: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(resolve);
      signal?.addEventListener('abort', () => {
        this.#waiting.delete(resolve);
        reject(
          new RingfenceCryptoError('crypto.kms_unavailable', 'injected fault: aborted', { kekUri }, true),
        );
      });
    });
  }
}

function malformedAnswer(kekUri: string): RingfenceCryptoError {
  return new RingfenceCryptoError('crypto.kms_malformed_answer', 'injected fault: malformed', { kekUri });
}
