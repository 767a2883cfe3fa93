/**
 * Between key store and KMS: makes new data-key versions and unwraps stored ones.
 * Invariant: a refusal by any KMS that was asked is final, only silence moves on to the next wrap; a data key is used
 * only after its binding was checked, and wiped on every path.
 */
import { type CryptoErrorDetails, RingfenceCryptoError } from './errors.ts';
import { keyIdText } from './key-id.ts';
import type { DekRecord } from './key-store.ts';
import type { LeaseUse } from './key-use/lease-use.ts';
import { bindingOf, checkBinding, KeyVersion } from './key-version.ts';
import type { KmsProvider, WrapContext } from './kms.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import type { RandomFill } from './salt-source.ts';

/** Reaches the KMS of a KEK URI, with a time limit per call. */
export class KmsGateway {
  /** Calls made so far. */
  calls = 0;
  readonly app: string;
  readonly #providers = new Map<string, KmsProvider>();
  readonly #timeoutMs: number;

  constructor(app: string, providers: readonly KmsProvider[], timeoutMs: number) {
    this.app = app;
    this.#timeoutMs = timeoutMs;
    for (const provider of providers) {
      if (this.#providers.has(provider.scheme)) {
        throw new TypeError(`two KMS providers serve the scheme "${provider.scheme}"`);
      }
      this.#providers.set(provider.scheme, provider);
    }
  }

  /** Makes version `version` of an organisation's data key, wrapped under `kekUri`. */
  async makeVersion(
    org: OrgId,
    version: number,
    kekUri: string,
    random: RandomFill,
    createdAt: number,
    keyUse?: LeaseUse,
  ): Promise<DekRecord> {
    const dek = new Uint8Array(32);
    const id = new Uint8Array(16);
    random(dek);
    random(id);
    const keyId = keyIdText(id);
    try {
      const provider = this.#providerOf(kekUri, org);
      const context = this.#context({ org, keyId, version });
      // The provider gets a copy: one that answers after the time limit must not find a wiped key and wrap zeros.
      const copy = dek.slice();
      const { wrapped } = await this.#timed(
        { operation: 'wrap', kekUri, keyId, keyUse },
        (signal) => provider.wrap(kekUri, copy, context, { signal }).finally(() => copy.fill(0)),
        () => {},
      );
      if (!(wrapped instanceof Uint8Array) || wrapped.length === 0) {
        throw malformedAnswer('no wrapped key', { org, keyId, kekUri });
      }
      const binding = bindingOf(dek, this.app, { org, keyId, version }, { kekUri, wrapped });
      return { org, keyId, version, state: 'active', wraps: [{ kekUri, wrapped, binding }], createdAt };
    } finally {
      dek.fill(0);
    }
  }

  /** Unwraps a stored version and derives its keys. */
  async unwrapVersion(record: DekRecord, keyUse?: LeaseUse): Promise<KeyVersion> {
    let silence: unknown;
    for (const wrap of record.wraps) {
      try {
        const provider = this.#providerOf(wrap.kekUri, record.org);
        const { key } = await this.#timed(
          { operation: 'unwrap', kekUri: wrap.kekUri, keyId: record.keyId, keyUse },
          (signal) => provider.unwrap(wrap.kekUri, wrap.wrapped, this.#context(record), { signal }),
          (late) => late.key?.fill?.(0),
        );
        try {
          if (!(key instanceof Uint8Array) || key.length !== 32)
            throw malformedAnswer('no 32-byte key', {
              org: record.org,
              keyId: record.keyId,
              kekUri: wrap.kekUri,
            });
          checkBinding(key, this.app, record, wrap);
          return new KeyVersion(key, this.app, record);
        } finally {
          key?.fill?.(0);
        }
      } catch (error) {
        if (!isSilence(error)) throw error;
        silence ??= error;
      }
    }
    throw (
      silence ??
      new RingfenceCryptoError('crypto.wrap_tampered', 'the key store holds no wrap of a version in use', {
        org: record.org,
        keyId: record.keyId,
      })
    );
  }

  #context(record: Pick<DekRecord, 'org' | 'keyId' | 'version'>): WrapContext {
    const { org, keyId, version } = record;
    return { app: this.app, org: parseOrgId(org), keyId, version, purpose: 'dek' };
  }

  #providerOf(kekUri: string, org: OrgId): KmsProvider {
    const provider = this.#providers.get(kekUri.slice(0, kekUri.indexOf(':')));
    if (provider !== undefined) return provider;
    throw new RingfenceCryptoError(
      'crypto.kms_not_configured',
      'no KMS provider of this keyring serves the scheme of the KEK URI: add it to `kms`',
      { org, kekUri },
    );
  }

  async #timed<T extends { readonly requestId?: string }>(
    { operation, kekUri, keyId, keyUse }: TimedCall,
    call: (signal: AbortSignal) => Promise<T>,
    onLate: (late: T) => void,
  ): Promise<T> {
    this.calls += 1;
    const abort = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let timedOut = false;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        timedOut = true;
        reject(
          new RingfenceCryptoError(
            'crypto.kms_unavailable',
            `the KMS did not answer within ${this.#timeoutMs} ms`,
            { kekUri },
            true,
          ),
        );
        abort.abort();
      }, this.#timeoutMs);
    });
    const answer = Promise.resolve()
      .then(() => call(abort.signal))
      .then((result) => {
        if (timedOut) onLate(result);
        keyUse?.answered(operation, kekUri, keyId, result.requestId, timedOut ? 'late' : 'ok');
        return result;
      });
    try {
      return await Promise.race([answer, limit]);
    } catch (error) {
      keyUse?.failed(operation, kekUri, keyId, error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A call with what the key-use ledger notes of it. */
interface TimedCall {
  readonly operation: 'wrap' | 'unwrap';
  readonly kekUri: string;
  readonly keyId: string;
  readonly keyUse: LeaseUse | undefined;
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
