/**
 * The port to the key store: data-key versions of organisations, their states and their wraps, no key in clear.
 * Invariant: every change is conditional on the state it was decided on (`crypto.store_conflict` otherwise); a shredded
 * version stays as a tombstone and never gets a wrap again.
 */
import type { OrgId } from './org-id.ts';

/** State of a data-key version. Only `active` seals; `active` and `decrypt_only` open. */
export type DekState = 'active' | 'decrypt_only' | 'retired' | 'shredded';

/** One wrap of a data key under one KEK. */
export interface WrapRecord {
  /** URI of the KEK. */
  readonly kekUri: string;
  /** The wrapped key, opaque. */
  readonly wrapped: Uint8Array;
  /** 32 bytes that bind the wrap to its organisation, version, key id and KEK, checked after unwrapping. */
  readonly binding: Uint8Array;
}

/** One data-key version of an organisation. */
export interface DekRecord {
  /** Owner. */
  readonly org: OrgId;
  /** Random id, 32 lower-case hex digits. */
  readonly keyId: string;
  /** Number, from 1, without gaps. */
  readonly version: number;
  /** State. */
  readonly state: DekState;
  /** Wraps in the order they are tried; empty once shredded. */
  readonly wraps: readonly WrapRecord[];
  /** Time of creation, ms since the epoch. */
  readonly createdAt: number;
  /** What a shred destroyed; present when the state is `shredded`, and only then. */
  readonly tombstone?: DekTombstone;
}

/** What stays of a shredded version, written in the transaction that destroyed its wraps: a certificate is made of it. */
export interface DekTombstone {
  /** Time of the shred, ms since the epoch; that of the first one when it was repeated. */
  readonly shreddedAt: number;
  /** KEK of every wrap that was destroyed, one entry per wrap. */
  readonly kekUris: readonly string[];
}

/** Persistence of data-key versions. */
export interface KeyStore {
  /** All versions of an organisation in ascending order, tombstones included; empty when it has none. */
  load(org: OrgId): Promise<readonly DekRecord[]>;
  /**
   * Inserts the next version as `active` and turns the former active one into `decrypt_only`, in one transaction. With
   * `wrapsOfActive`, only if the former active version still has these wraps (compared by KEK and binding): a rotation
   * decided before a move to another KEK must not bring the old KEK back.
   *
   * @throws RingfenceCryptoError `crypto.store_conflict` when the version is not the next one, the organisation is
   * shredded, or the wraps are not the expected ones.
   */
  insertVersion(record: DekRecord, wrapsOfActive?: readonly WrapRecord[]): Promise<void>;
  /**
   * Replaces the wraps of a version, in one transaction, if its wraps are still `expected` (compared by KEK and binding).
   *
   * @throws RingfenceCryptoError `crypto.store_conflict` when they are not, or the version is shredded.
   */
  replaceWraps(
    org: OrgId,
    keyId: string,
    expected: readonly WrapRecord[],
    wraps: readonly WrapRecord[],
  ): Promise<void>;
  /**
   * Changes the state of a version if it is still `from`.
   *
   * @throws RingfenceCryptoError `crypto.store_conflict` when it is not, or the change is not one of
   * `decrypt_only` to `retired` and back.
   */
  setState(org: OrgId, keyId: string, from: DekState, to: DekState): Promise<void>;
  /**
   * Removes every wrap of every version and turns all versions into tombstones, in one transaction. Idempotent: a
   * tombstone keeps its time, and wraps that a restored backup brought back are destroyed too and added to it.
   */
  destroyWraps(org: OrgId, shreddedAt: number): Promise<void>;
}
