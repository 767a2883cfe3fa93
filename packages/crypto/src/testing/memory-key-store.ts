/**
 * A key store in memory, for tests. It keeps the rules of the port, so that what passes here passes on PostgreSQL; one
 * suite runs against both.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { DekRecord, DekState, KeyStore, WrapRecord } from '../key-store.ts';
import type { OrgId } from '../org-id.ts';

/** Makes an empty key store in memory. */
export function memoryKeyStore(): KeyStore {
  return new MemoryKeyStore();
}

class MemoryKeyStore implements KeyStore {
  readonly #versions = new Map<OrgId, DekRecord[]>();

  async load(org: OrgId): Promise<readonly DekRecord[]> {
    return (this.#versions.get(org) ?? []).map(copyOf);
  }

  async insertVersion(record: DekRecord, wrapsOfActive?: readonly WrapRecord[]): Promise<void> {
    const versions = this.#versions.get(record.org) ?? [];
    const last = versions.at(-1);
    if (record.version !== (last?.version ?? 0) + 1 || last?.state === 'shredded') throw conflict(record);
    if (versions.some((one) => one.keyId === record.keyId)) throw conflict(record);
    if (wrapsOfActive !== undefined && !sameWraps(last?.wraps ?? [], wrapsOfActive)) throw conflict(record);
    const demoted = versions.map((one) =>
      one.state === 'active' ? { ...one, state: 'decrypt_only' as const } : one,
    );
    this.#versions.set(record.org, [...demoted, copyOf({ ...record, state: 'active' })]);
  }

  async replaceWraps(
    org: OrgId,
    keyId: string,
    expected: readonly WrapRecord[],
    wraps: readonly WrapRecord[],
  ): Promise<void> {
    if (wraps.length === 0)
      throw new TypeError('a version keeps at least one wrap; destroyWraps removes all');
    this.#change(org, keyId, (record) => {
      if (record.state === 'shredded' || !sameWraps(record.wraps, expected)) return undefined;
      return copyOf({ ...record, wraps });
    });
  }

  async setState(org: OrgId, keyId: string, from: DekState, to: DekState): Promise<void> {
    this.#change(org, keyId, (record) => {
      const allowed =
        (from === 'decrypt_only' && to === 'retired') || (from === 'retired' && to === 'decrypt_only');
      return allowed && record.state === from ? { ...record, state: to } : undefined;
    });
  }

  async destroyWraps(org: OrgId, shreddedAt: number): Promise<void> {
    const shredded = (this.#versions.get(org) ?? []).map((record) => ({
      ...record,
      state: 'shredded' as const,
      wraps: [],
      tombstone: record.tombstone ?? { shreddedAt, kekUris: record.wraps.map(({ kekUri }) => kekUri) },
    }));
    this.#versions.set(org, shredded);
  }

  #change(org: OrgId, keyId: string, change: (record: DekRecord) => DekRecord | undefined): void {
    const versions = this.#versions.get(org) ?? [];
    const at = versions.findIndex((record) => record.keyId === keyId);
    const record = versions[at];
    const changed = record && change(record);
    if (changed === undefined) throw conflict({ org, keyId });
    versions[at] = changed;
  }
}

function copyOf(record: DekRecord): DekRecord {
  return {
    ...record,
    wraps: record.wraps.map((wrap) => ({
      kekUri: wrap.kekUri,
      wrapped: wrap.wrapped.slice(),
      binding: wrap.binding.slice(),
    })),
  };
}

function sameWraps(a: readonly WrapRecord[], b: readonly WrapRecord[]): boolean {
  const keyOf = (wrap: WrapRecord) => `${Buffer.from(wrap.binding).toString('hex')} ${wrap.kekUri}`;
  const known = new Set(a.map(keyOf));
  return a.length === b.length && b.every((wrap) => known.has(keyOf(wrap)));
}

function conflict(record: Pick<DekRecord, 'org' | 'keyId'>): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.store_conflict',
    'the data-key version is not in the state this change was decided on: load it again',
    { org: record.org, keyId: record.keyId },
    true,
  );
}
