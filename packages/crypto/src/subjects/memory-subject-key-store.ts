/**
 * A store of subject keys in memory, for tests. It keeps the rules of the port; one suite runs against both.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { KeyStore } from '../key-store.ts';
import type { OrgId } from '../org-id.ts';
import {
  isErased,
  type SubjectEntry,
  type SubjectKeyRecord,
  type SubjectKeyStore,
  type SubjectRewrap,
  type SubjectTombstone,
} from './subject-key-store.ts';

/**
 * Makes an empty store in memory beside a key store, which says what data-key versions are in use.
 *
 * @example
 * ```ts
 * const store = memoryKeyStore();
 * const subjects = createSubjectKeys({ store: memorySubjectKeyStore(store) });
 * ```
 */
export function memorySubjectKeyStore(keyStore: KeyStore): SubjectKeyStore {
  return new MemorySubjectKeyStore(keyStore);
}

class MemorySubjectKeyStore implements SubjectKeyStore {
  readonly #keyStore: KeyStore;
  readonly #entries = new Map<string, SubjectEntry>();

  constructor(keyStore: KeyStore) {
    this.#keyStore = keyStore;
  }

  async load(org: OrgId, subject: string): Promise<SubjectEntry | undefined> {
    return copyOf(this.#entries.get(org + subject));
  }

  async loadByKeyId(org: OrgId, keyId: string): Promise<SubjectEntry | undefined> {
    return copyOf([...this.#entries.values()].find((one) => one.org === org && one.keyId === keyId));
  }

  async insert(record: SubjectKeyRecord): Promise<SubjectEntry> {
    await this.#refuseUnlessInUse(record.org, record.dekKeyId, record.keyId);
    const name = record.org + record.subject;
    const entry = this.#entries.get(name) ?? record;
    this.#entries.set(name, copyOf(entry));
    return copyOf(entry);
  }

  async replaceWraps(org: OrgId, wraps: readonly SubjectRewrap[]): Promise<number> {
    for (const { keyId, dekKeyId } of wraps) await this.#refuseUnlessInUse(org, dekKeyId, keyId);
    let replaced = 0;
    for (const { subject, keyId, fromDekKeyId, dekKeyId, wrapped } of wraps) {
      const entry = this.#entries.get(org + subject);
      if (entry === undefined || isErased(entry)) continue;
      if (entry.keyId !== keyId || entry.dekKeyId !== fromDekKeyId) continue;
      this.#entries.set(org + subject, { ...entry, dekKeyId, wrapped: wrapped.slice() });
      replaced += 1;
    }
    return replaced;
  }

  async erase(org: OrgId, subject: string, erasedAt: number): Promise<SubjectTombstone> {
    const entry = this.#entries.get(org + subject);
    const tombstone =
      entry !== undefined && isErased(entry)
        ? entry
        : { org, subject, keyId: entry?.keyId ?? null, erasedAt };
    this.#entries.set(org + subject, tombstone);
    return tombstone;
  }

  async listOthers(
    org: OrgId,
    dekKeyId: string,
    after: string | undefined,
    limit: number,
  ): Promise<readonly SubjectKeyRecord[]> {
    const behind = Buffer.from(after ?? '');
    return this.#living(org)
      .filter((one) => one.dekKeyId !== dekKeyId && Buffer.compare(Buffer.from(one.subject), behind) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a.subject), Buffer.from(b.subject)))
      .slice(0, limit)
      .map((one) => copyOf(one));
  }

  async count(org: OrgId, dekKeyId: string): Promise<number> {
    return this.#living(org).filter((one) => one.dekKeyId === dekKeyId).length;
  }

  #living(org: OrgId): SubjectKeyRecord[] {
    return [...this.#entries.values()].filter(
      (one): one is SubjectKeyRecord => one.org === org && !isErased(one),
    );
  }

  async #refuseUnlessInUse(org: OrgId, dekKeyId: string, keyId: string): Promise<void> {
    const version = (await this.#keyStore.load(org)).find((one) => one.keyId === dekKeyId);
    if (version?.state === 'active' || version?.state === 'decrypt_only') return;
    throw new RingfenceCryptoError(
      'crypto.store_conflict',
      'the data-key version this subject key was to be wrapped under is not in use any more: take a new lease and repeat',
      { org, keyId },
      true,
    );
  }
}

function copyOf<T extends SubjectEntry | undefined>(entry: T): T {
  if (entry === undefined || isErased(entry)) return entry;
  return { ...entry, wrapped: entry.wrapped.slice() };
}
