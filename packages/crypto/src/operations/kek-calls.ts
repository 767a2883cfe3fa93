/**
 * KMS calls of key operations: unlike the keyring's gateway, these hand the data key to a callback, so that it can be
 * wrapped again. Each call has a time limit, is counted, and may be paced.
 * Invariant: a data key is used only after its binding was checked, and wiped on every path. A refusal by any KMS that
 * was asked is final; only silence moves on to the next wrap.
 */
import { type CryptoErrorDetails, RingfenceCryptoError } from '../errors.ts';
import type { DekRecord, WrapRecord } from '../key-store.ts';
import { bindingOf, checkBinding } from '../key-version.ts';
import type { KekState, KmsProvider, WrapContext } from '../kms.ts';

/** What a data key belongs to. */
export type DekIdentity = Pick<DekRecord, 'org' | 'keyId' | 'version'>;

/** Runs before every KMS call; rejecting keeps it from being made. */
export type CallGate = () => Promise<void>;

/** KMS calls with a counter of their own. */
export class KekCalls {
  /** Calls made. */
  calls = 0;
  readonly app: string;
  readonly #providers: ReadonlyMap<string, KmsProvider>;
  readonly #timeoutMs: number;
  readonly #gate: CallGate;

  constructor(
    app: string,
    providers: ReadonlyMap<string, KmsProvider>,
    timeoutMs: number,
    gate: CallGate = async () => {},
  ) {
    this.app = app;
    this.#providers = providers;
    this.#timeoutMs = timeoutMs;
    this.#gate = gate;
  }

  /** The same calls with a fresh counter, behind `gate`. */
  counted(gate?: CallGate): KekCalls {
    return new KekCalls(this.app, this.#providers, this.#timeoutMs, gate);
  }

  /** Wraps a data key under a KEK and binds the wrap to its place. */
  async wrap(dek: Uint8Array, identity: DekIdentity, kekUri: string): Promise<WrapRecord> {
    const provider = this.#providerOf(kekUri);
    const context = this.#contextOf(identity);
    // The provider gets a copy: one that answers after the time limit must not find a wiped key and wrap zeros.
    const copy = dek.slice();
    const { wrapped } = await this.#timed(
      kekUri,
      (signal) => provider.wrap(kekUri, copy, context, { signal }),
      () => {},
      () => copy.fill(0),
    );
    if (!(wrapped instanceof Uint8Array) || wrapped.length === 0) {
      throw malformedAnswer('no wrapped key', { ...idsOf(identity), kekUri });
    }
    const binding = bindingOf(dek, this.app, identity, { kekUri, wrapped });
    return { kekUri, wrapped, binding };
  }

  /** Unwraps by the first of `wraps` whose KMS answers, and lends the data key to `use`. */
  async withDek<T>(
    record: DekRecord,
    wraps: readonly WrapRecord[],
    use: (dek: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const dek = await this.#unwrapAny(record, wraps);
    try {
      return await use(dek);
    } finally {
      dek.fill(0);
    }
  }

  /** Resolves when this wrap opens to a data key that is bound to its place. */
  async prove(record: DekRecord, wrap: WrapRecord): Promise<void> {
    (await this.#unwrap(record, wrap)).fill(0);
  }

  /** Asks for the state of a KEK. */
  async describe(kekUri: string): Promise<KekState> {
    const provider = this.#providerOf(kekUri);
    return this.#timed(
      kekUri,
      (signal) => provider.describe(kekUri, { signal }),
      () => {},
    );
  }

  async #unwrapAny(record: DekRecord, wraps: readonly WrapRecord[]): Promise<Uint8Array> {
    let silence: unknown;
    for (const wrap of wraps) {
      try {
        return await this.#unwrap(record, wrap);
      } catch (error) {
        if (!isSilence(error)) throw error;
        silence ??= error;
      }
    }
    throw (
      silence ??
      new RingfenceCryptoError(
        'crypto.wrap_tampered',
        'the key store holds no wrap of a version that is not shredded',
        idsOf(record),
      )
    );
  }

  async #unwrap(record: DekRecord, wrap: WrapRecord): Promise<Uint8Array> {
    const provider = this.#providerOf(wrap.kekUri);
    const { key } = await this.#timed(
      wrap.kekUri,
      (signal) => provider.unwrap(wrap.kekUri, wrap.wrapped, this.#contextOf(record), { signal }),
      (late) => late.key?.fill?.(0),
    );
    if (!(key instanceof Uint8Array) || key.length !== 32) {
      throw malformedAnswer('no 32-byte key', { ...idsOf(record), kekUri: wrap.kekUri });
    }
    try {
      checkBinding(key, this.app, record, wrap);
    } catch (error) {
      key.fill(0);
      throw error;
    }
    return key;
  }

  #contextOf({ org, keyId, version }: DekIdentity): WrapContext {
    return { app: this.app, org, keyId, version, purpose: 'dek' };
  }

  #providerOf(kekUri: string): KmsProvider {
    const provider = this.#providers.get(kekUri.slice(0, kekUri.indexOf(':')));
    if (provider !== undefined) return provider;
    throw new RingfenceCryptoError(
      'crypto.kms_not_configured',
      'no KMS provider of these operations serves the scheme of the KEK URI: add it to `kms`',
      { kekUri },
    );
  }

  async #timed<T>(
    kekUri: string,
    call: (signal: AbortSignal) => Promise<T>,
    onLate: (late: T) => void,
    onSettled: () => void = () => {},
  ): Promise<T> {
    try {
      await this.#gate();
    } catch (error) {
      onSettled();
      throw error;
    }
    this.calls += 1;
    const abort = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let timedOut = false;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        timedOut = true;
        const message = `the KMS did not answer within ${this.#timeoutMs} ms`;
        reject(new RingfenceCryptoError('crypto.kms_unavailable', message, { kekUri }, true));
        abort.abort();
      }, this.#timeoutMs);
    });
    const answer = Promise.resolve()
      .then(() => call(abort.signal))
      .then((result) => {
        if (timedOut) onLate(result);
        return result;
      })
      .finally(onSettled);
    try {
      return await Promise.race([answer, limit]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Providers by scheme. */
export function providersByScheme(providers: readonly KmsProvider[]): ReadonlyMap<string, KmsProvider> {
  const byScheme = new Map<string, KmsProvider>();
  for (const provider of providers) {
    if (byScheme.has(provider.scheme)) {
      throw new TypeError(`two KMS providers serve the scheme "${provider.scheme}"`);
    }
    byScheme.set(provider.scheme, provider);
  }
  return byScheme;
}

/** True for errors that say nothing about permission: the KMS was not reached, or this process cannot reach it. */
function isSilence(error: unknown): boolean {
  return (
    error instanceof RingfenceCryptoError &&
    (error.code === 'crypto.kms_unavailable' || error.code === 'crypto.kms_not_configured')
  );
}

function idsOf({ org, keyId }: DekIdentity): CryptoErrorDetails {
  return { org, keyId };
}

function malformedAnswer(what: string, details: CryptoErrorDetails): RingfenceCryptoError {
  return new RingfenceCryptoError('crypto.kms_malformed_answer', `the KMS answered with ${what}`, details);
}
