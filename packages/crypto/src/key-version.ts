/**
 * The unwrapped keys of one data-key version. The data key itself is wiped as soon as its purpose keys are derived.
 * Invariant: keys live in private fields of wipeable memory and leave only as short-lived copies for a callback.
 */
import { timingSafeEqual } from 'node:crypto';
import { RingfenceCryptoError } from './errors.ts';
import { FieldKey } from './field-key.ts';
import { bindWrap, derivePurposeKey, type KeyIdentity } from './key-derivation.ts';
import { keyIdBytes } from './key-id.ts';
import type { DekRecord, WrapRecord } from './key-store.ts';
import type { OrgId } from './org-id.ts';

/** Purposes whose keys other parts of the package may use. */
export type SharedKeyPurpose = 'file' | 'index';

/** Keys of one data-key version while a lease lives. */
export class KeyVersion {
  /** Key id, 32 hex digits. */
  readonly keyId: string;
  /** Number of the version. */
  readonly version: number;
  /** True for the version that seals. */
  readonly active: boolean;
  /** Field cipher of this version. */
  readonly field: FieldKey;
  readonly #id: Uint8Array;
  readonly #org: OrgId;
  readonly #shared: Readonly<Record<SharedKeyPurpose, Uint8Array>>;
  readonly #subject: Uint8Array;

  /** Derives the purpose keys; the caller wipes `dek`. */
  constructor(dek: Uint8Array, app: string, record: DekRecord) {
    this.keyId = record.keyId;
    this.version = record.version;
    this.active = record.state === 'active';
    this.#id = keyIdBytes(record.keyId);
    this.#org = record.org;
    const identity: KeyIdentity = { app, org: record.org, keyId: this.#id };
    const prk = derivePurposeKey(dek, identity, 'field');
    this.field = new FieldKey(prk, record.org, this.#id);
    prk.fill(0);
    this.#shared = {
      file: derivePurposeKey(dek, identity, 'file'),
      index: derivePurposeKey(dek, identity, 'index'),
    };
    this.#subject = derivePurposeKey(dek, identity, 'subject');
  }

  /** True when a message names this version's key id. */
  isNamedBy(message: Uint8Array): boolean {
    const id = this.#id;
    for (let i = 0; i < 16; i += 1) if (message[i + 2] !== id[i]) return false;
    return true;
  }

  /** Lends a copy of a purpose key to a synchronous callback and wipes it afterwards. */
  withPurposeKey<T>(purpose: SharedKeyPurpose, use: (key: Uint8Array, keyId: string) => T): T {
    const copy = this.#shared[purpose].slice();
    try {
      const result = use(copy, this.keyId);
      if (isThenable(result)) {
        throw new TypeError(
          'the callback of withPurposeKey must be synchronous: the key is wiped when it returns',
        );
      }
      return result;
    } finally {
      copy.fill(0);
    }
  }

  /** Lends the key that wraps the keys of data subjects (docs/formats/subject-key-v1.md) and wipes it afterwards. */
  withSubjectWrapping<T>(use: (wrapping: FieldKey) => T): T {
    const wrapping = new FieldKey(this.#subject, this.#org, this.#id);
    try {
      return use(wrapping);
    } finally {
      wrapping.wipe();
    }
  }

  /** Overwrites all keys. */
  wipe(): void {
    this.field.wipe();
    this.#subject.fill(0);
    this.#shared.file.fill(0);
    this.#shared.index.fill(0);
  }
}

/** Makes the binding of a wrap with the data key it wraps. */
export function bindingOf(
  dek: Uint8Array,
  app: string,
  record: Pick<DekRecord, 'org' | 'keyId' | 'version'>,
  wrap: Pick<WrapRecord, 'kekUri' | 'wrapped'>,
): Uint8Array {
  const keyId = keyIdBytes(record.keyId);
  const key = derivePurposeKey(dek, { app, org: record.org, keyId }, 'binding');
  try {
    return bindWrap(key, { app, org: record.org, keyId, version: record.version, ...wrap });
  } finally {
    key.fill(0);
  }
}

/** Refuses a data key whose wrap was not made for this organisation, version, key id and KEK. */
export function checkBinding(dek: Uint8Array, app: string, record: DekRecord, wrap: WrapRecord): void {
  const expected = bindingOf(dek, app, record, wrap);
  if (wrap.binding.length !== expected.length || !timingSafeEqual(wrap.binding, expected)) {
    throw new RingfenceCryptoError(
      'crypto.wrap_tampered',
      'the wrapped key does not belong to this organisation, version and KEK: the key store was changed, or the KMS answered with another key',
      { org: record.org, keyId: record.keyId, kekUri: wrap.kekUri },
    );
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
