/**
 * The port to the store of subject keys: one wrapped key per data subject of an organisation, or the tombstone of one.
 * Invariant: a subject has at most one key, ever; a tombstone never gets a key again; no key in clear is stored.
 */
import type { OrgId } from '../org-id.ts';

/** A living subject key, wrapped. */
export interface SubjectKeyRecord {
  /** Owner. */
  readonly org: OrgId;
  /** Data subject. */
  readonly subject: string;
  /** Random id of the subject key, 32 lower-case hex digits. */
  readonly keyId: string;
  /** Key id of the data-key version it is wrapped under. */
  readonly dekKeyId: string;
  /** The wrapped key, opaque. */
  readonly wrapped: Uint8Array;
  /** Time of creation, ms since the epoch. */
  readonly createdAt: number;
}

/** What is left of an erased subject key. */
export interface SubjectTombstone {
  /** Owner. */
  readonly org: OrgId;
  /** Data subject. */
  readonly subject: string;
  /** Id of the destroyed key; null when the subject was erased before it had one. */
  readonly keyId: string | null;
  /** Time of the erasure, ms since the epoch. */
  readonly erasedAt: number;
}

/** What is known of a subject. */
export type SubjectEntry = SubjectKeyRecord | SubjectTombstone;

/** A subject key wrapped anew. */
export interface SubjectRewrap {
  /** Data subject. */
  readonly subject: string;
  /** Id of the subject key. */
  readonly keyId: string;
  /** Version the present wrap is under. */
  readonly fromDekKeyId: string;
  /** Version the new wrap is under. */
  readonly dekKeyId: string;
  /** The new wrap. */
  readonly wrapped: Uint8Array;
}

/** Persistence of subject keys. */
export interface SubjectKeyStore {
  /** Key or tombstone of a subject. */
  load(org: OrgId, subject: string): Promise<SubjectEntry | undefined>;
  /** Key or tombstone of a subject key id. */
  loadByKeyId(org: OrgId, keyId: string): Promise<SubjectEntry | undefined>;
  /**
   * Inserts a key unless the subject has a key or tombstone, and gives what is there afterwards.
   *
   * @throws RingfenceCryptoError `crypto.store_conflict` when the data-key version is retired, shredded or unknown.
   */
  insert(record: SubjectKeyRecord): Promise<SubjectEntry>;
  /**
   * Replaces wraps in one transaction, each only if the key still lives and is still wrapped under the version it was
   * read under; gives how many were replaced.
   *
   * @throws RingfenceCryptoError as `insert`.
   */
  replaceWraps(org: OrgId, wraps: readonly SubjectRewrap[]): Promise<number>;
  /** Turns a key into a tombstone, or makes a tombstone where there was none. Idempotent; gives the tombstone. */
  erase(org: OrgId, subject: string, erasedAt: number): Promise<SubjectTombstone>;
  /** Up to `limit` living keys of an organisation not wrapped under `dekKeyId`, behind subject `after`, in byte order. */
  listOthers(
    org: OrgId,
    dekKeyId: string,
    after: string | undefined,
    limit: number,
  ): Promise<readonly SubjectKeyRecord[]>;
  /** Living keys wrapped under a data-key version. */
  count(org: OrgId, dekKeyId: string): Promise<number>;
}

/** True for the entry of an erased subject. */
export function isErased(entry: SubjectEntry): entry is SubjectTombstone {
  return 'erasedAt' in entry;
}
