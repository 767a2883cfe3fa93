/**
 * A KMS provider without a KMS: KEKs in this process, AES-256-GCM with the whole wrap context as additional data
 * (NIST SP 800-38D). For development, tests, and single-machine installs that accept a key beside the data.
 *
 *     wrap = version 0x01 | nonce 12 | ciphertext 32 | tag 16
 *
 * Invariant: a wrap opens only under the same KEK id, application, organisation, version, key id and purpose. Nonces are
 * random: one KEK is good for 2^32 wraps.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { RingfenceCryptoError } from '../errors.ts';
import { keyIdBytes } from '../key-id.ts';
import type { KekState, KmsProvider, UnwrapResult, WrapContext, WrapResult } from '../kms.ts';
import { encodePart, lengthPrefixed, u32 } from '../length-prefix.ts';
import type { KekSource } from './kek-source.ts';

/** Options of the local provider. */
export interface LocalKmsOptions {
  /** KEKs by id: 32 bytes each, or a reader such as `kekFromEnv`. The URI of `main` is `local:main`. */
  readonly keks: Readonly<Record<string, Uint8Array | KekSource>>;
}

const WRAP_VERSION = 0x01;
const WRAP_BYTES = 61;
const KEK_ID = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Makes the local provider.
 *
 * @throws TypeError when a KEK id is not 1 to 64 of `A-Za-z0-9._-`, or a KEK does not have 32 bytes.
 * @example
 * ```ts
 * const kms = localKms({ keks: { main: kekFromEnv('LEDGER_KEK') } });
 * ```
 */
export function localKms(options: LocalKmsOptions): KmsProvider {
  const keks = new Map<string, KeyObject>();
  for (const [id, source] of Object.entries(options.keks)) {
    if (!KEK_ID.test(id)) throw new TypeError('a KEK id is 1 to 64 of A-Z a-z 0-9 . _ -');
    const bytes = typeof source === 'function' ? source() : source;
    if (!(bytes instanceof Uint8Array) || bytes.length !== 32)
      throw new TypeError(`KEK ${id} must have 32 bytes`);
    keks.set(`local:${id}`, createSecretKey(bytes));
    if (typeof source === 'function') bytes.fill(0);
  }
  return new LocalKms(keks);
}

class LocalKms implements KmsProvider {
  readonly scheme = 'local';
  readonly #keks: ReadonlyMap<string, KeyObject>;

  constructor(keks: ReadonlyMap<string, KeyObject>) {
    this.#keks = keks;
  }

  async wrap(kekUri: string, key: Uint8Array, context: WrapContext): Promise<WrapResult> {
    if (!(key instanceof Uint8Array) || key.length !== 32) throw new TypeError('a key to wrap has 32 bytes');
    const kek = this.#kek(kekUri, context);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', kek, nonce, { authTagLength: 16 });
    cipher.setAAD(additionalData(kekUri, context));
    const body = Buffer.concat([cipher.update(key), cipher.final()]);
    const wrapped = new Uint8Array(WRAP_BYTES);
    wrapped[0] = WRAP_VERSION;
    wrapped.set(nonce, 1);
    wrapped.set(body, 13);
    wrapped.set(cipher.getAuthTag(), 45);
    return { wrapped };
  }

  async unwrap(kekUri: string, wrapped: Uint8Array, context: WrapContext): Promise<UnwrapResult> {
    const kek = this.#kek(kekUri, context);
    if (wrapped.length !== WRAP_BYTES || wrapped[0] !== WRAP_VERSION) throw tampered(kekUri, context);
    const decipher = createDecipheriv('aes-256-gcm', kek, wrapped.subarray(1, 13), { authTagLength: 16 });
    decipher.setAAD(additionalData(kekUri, context));
    decipher.setAuthTag(wrapped.subarray(45));
    const body = decipher.update(wrapped.subarray(13, 45));
    try {
      decipher.final();
    } catch {
      body.fill(0);
      throw tampered(kekUri, context);
    }
    return { key: new Uint8Array(body.buffer, body.byteOffset, body.byteLength) };
  }

  async describe(kekUri: string): Promise<KekState> {
    return this.#keks.has(kekUri) ? 'enabled' : 'destroyed';
  }

  [inspect.custom](): string {
    return `[LocalKms ${[...this.#keks.keys()].join(' ')}]`;
  }

  #kek(kekUri: string, context: WrapContext): KeyObject {
    const kek = this.#keks.get(kekUri);
    if (kek !== undefined) return kek;
    throw new RingfenceCryptoError(
      'crypto.key_destroyed',
      'the local provider has no KEK of this id: restore it in `keks` if it was not destroyed on purpose',
      {
        org: context.org,
        keyId: context.keyId,
        kekUri,
      },
    );
  }
}

const encoder = new TextEncoder();

function additionalData(kekUri: string, context: WrapContext): Uint8Array {
  return lengthPrefixed(
    encoder.encode('ringfence/local-wrap/v1'),
    encodePart('kekUri', kekUri),
    encodePart('app', context.app),
    encodePart('org', context.org),
    u32(context.version),
    keyIdBytes(context.keyId),
    encodePart('purpose', context.purpose),
  );
}

function tampered(kekUri: string, context: WrapContext): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.wrap_tampered',
    'the wrapped key does not authenticate: it was changed, or the KEK or `app` is another than the one it was made with',
    { org: context.org, keyId: context.keyId, kekUri },
  );
}
