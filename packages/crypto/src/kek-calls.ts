/**
 * KMS calls on data keys, of the keyring and of key operations: a data key is wrapped from the caller's bytes, and lent to a
 * callback when it was unwrapped. Each call has a time limit, is counted, may be paced, and reaches the key-use ledger.
 * Invariant: a data key is used only after its binding was checked, and wiped on every path. A refusal by any KMS that
 * was asked is final; only silence moves on to the next wrap.
 */
import { type CryptoErrorDetails, RingfenceCryptoError } from './errors.ts';
import type { DekRecord, WrapRecord } from './key-store.ts';
import type { LeaseUse } from './key-use/lease-use.ts';
import { bindingOf, checkBinding } from './key-version.ts';
import type { KekState, KmsProvider, WrapContext } from './kms.ts';
import { callKms, type KmsCallTerms } from './kms-call.ts';
import { parseOrgId } from './org-id.ts';

/** What a data key belongs to. */
export type DekIdentity = Pick<DekRecord, 'org' | 'keyId' | 'version'>;

/** Runs before every KMS call; rejecting keeps it from being made. */
export type CallGate = () => Promise<void>;

const noGate: CallGate = async () => {};

/** How calls are made: what `counted` and `noting` vary. */
interface CallParts {
  readonly providers: ReadonlyMap<string, KmsProvider>;
  readonly timeoutMs: number;
  readonly gate: CallGate;
  readonly counter: { calls: number };
  readonly keyUse: LeaseUse | undefined;
}

/** KMS calls of one application. */
export class KekCalls {
  readonly app: string;
  readonly #parts: CallParts;

  private constructor(app: string, parts: CallParts) {
    this.app = app;
    this.#parts = parts;
  }

  /** @throws TypeError when two providers serve one scheme. */
  static to(app: string, providers: readonly KmsProvider[], timeoutMs: number): KekCalls {
    return new KekCalls(app, {
      providers: providersByScheme(providers),
      timeoutMs,
      gate: noGate,
      counter: { calls: 0 },
      keyUse: undefined,
    });
  }

  /** Calls made. */
  get calls(): number {
    return this.#parts.counter.calls;
  }

  /** The same calls with a fresh counter, behind `gate`. */
  counted(gate: CallGate = noGate): KekCalls {
    return new KekCalls(this.app, { ...this.#parts, gate, counter: { calls: 0 } });
  }

  /** The same calls with the same counter, noted in `keyUse`. */
  noting(keyUse: LeaseUse | undefined): KekCalls {
    return new KekCalls(this.app, { ...this.#parts, keyUse });
  }

  /** Wraps a data key under a KEK and binds the wrap to its place. */
  async wrap(dek: Uint8Array, identity: DekIdentity, kekUri: string): Promise<WrapRecord> {
    const ids = { org: identity.org, keyId: identity.keyId, kekUri };
    const provider = this.#providerOf(ids);
    const context = this.#contextOf(identity);
    const { wrapped } = await this.#call(
      'wrap',
      ids,
      async (options) => {
        // The provider gets a copy: one that answers after the time limit must not find a wiped key and wrap zeros.
        const copy = dek.slice();
        try {
          return await provider.wrap(kekUri, copy, context, options);
        } finally {
          copy.fill(0);
        }
      },
      () => {},
    );
    if (!(wrapped instanceof Uint8Array) || wrapped.length === 0)
      throw malformedAnswer('no wrapped key', ids);
    const binding = bindingOf(dek, this.app, identity, { kekUri, wrapped });
    return { kekUri, wrapped, binding };
  }

  /** Unwraps by the first of `wraps` whose KMS answers, and lends the data key to `use`. */
  async withDek<T>(
    record: DekRecord,
    wraps: readonly WrapRecord[],
    use: (dek: Uint8Array) => T | Promise<T>,
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
    const provider = this.#providerOf({ kekUri });
    return this.#call(
      'describe',
      { keyId: '', kekUri },
      (options) => provider.describe(kekUri, options),
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
    const { org, keyId } = record;
    const message = 'the key store holds no wrap of a version that is not shredded';
    throw silence ?? new RingfenceCryptoError('crypto.wrap_tampered', message, { org, keyId });
  }

  async #unwrap(record: DekRecord, { kekUri, wrapped, binding }: WrapRecord): Promise<Uint8Array> {
    const ids = { org: record.org, keyId: record.keyId, kekUri };
    const provider = this.#providerOf(ids);
    const context = this.#contextOf(record);
    const { key } = await this.#call(
      'unwrap',
      ids,
      (options) => provider.unwrap(kekUri, wrapped, context, options),
      (late) => late.key?.fill?.(0),
    );
    try {
      if (!(key instanceof Uint8Array) || key.length !== 32) throw malformedAnswer('no 32-byte key', ids);
      checkBinding(key, this.app, record, { kekUri, wrapped, binding });
      return key;
    } catch (error) {
      key?.fill?.(0);
      throw error;
    }
  }

  #contextOf({ org, keyId, version }: DekIdentity): WrapContext {
    return { app: this.app, org: parseOrgId(org), keyId, version, purpose: 'dek' };
  }

  #providerOf(ids: CryptoErrorDetails & { readonly kekUri: string }): KmsProvider {
    const provider = this.#parts.providers.get(ids.kekUri.slice(0, ids.kekUri.indexOf(':')));
    if (provider !== undefined) return provider;
    throw new RingfenceCryptoError(
      'crypto.kms_not_configured',
      'no KMS provider serves the scheme of the KEK URI: add it to `kms`',
      ids,
    );
  }

  async #call<T>(
    operation: KmsCallTerms['operation'],
    { keyId, kekUri }: Pick<KmsCallTerms, 'keyId' | 'kekUri'>,
    call: Parameters<typeof callKms<T>>[1],
    onLate: (late: T) => void,
  ): Promise<T> {
    const { counter, timeoutMs, keyUse } = this.#parts;
    await this.#parts.gate();
    counter.calls += 1;
    return callKms({ operation, kekUri, keyId, timeoutMs, keyUse }, call, onLate);
  }
}

function providersByScheme(providers: readonly KmsProvider[]): ReadonlyMap<string, KmsProvider> {
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

function malformedAnswer(what: string, details: CryptoErrorDetails): RingfenceCryptoError {
  return new RingfenceCryptoError('crypto.kms_malformed_answer', `the KMS answered with ${what}`, details);
}
