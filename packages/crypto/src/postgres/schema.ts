/**
 * Rows of the key store's tables, for Kysely.
 */
import type { ColumnType, Generated } from 'kysely';

/** Row of `crypto.dek_version`. */
export interface DekVersionTable {
  /** Owner. */
  org_id: ColumnType<string, string, never>;
  /** Number, from 1. */
  version: ColumnType<number, number, never>;
  /** Random id, 16 bytes. */
  key_id: ColumnType<Uint8Array, Uint8Array, never>;
  /** State. */
  state: string;
  /** Time of creation. */
  created_at: ColumnType<Date, Date, never>;
  /** Time of the shred; null before it. */
  shredded_at: ColumnType<Date | null, never, unknown>;
  /** KEK URI of every wrap that a shred destroyed, written by a trigger; null before it. */
  destroyed_kek_uris: ColumnType<string[] | null, never, never>;
}

/** Row of `crypto.dek_wrap`. */
export interface DekWrapTable {
  /** Owner. */
  org_id: ColumnType<string, string, never>;
  /** Id of the version, 16 bytes. */
  key_id: ColumnType<Uint8Array, Uint8Array, never>;
  /** URI of the KEK. */
  kek_uri: ColumnType<string, string, never>;
  /** The wrapped key. */
  wrapped: ColumnType<Uint8Array, Uint8Array, never>;
  /** HMAC that binds the wrap to its place, 32 bytes. */
  binding: ColumnType<Uint8Array, Uint8Array, never>;
  /** Place in the order of trial, from 0. */
  position: ColumnType<number, number, never>;
  /** Time of writing. */
  created_at: Generated<Date>;
}

/** Row of `crypto.subject_key`. */
export interface SubjectKeyTable {
  /** Owner. */
  org_id: ColumnType<string, string, never>;
  /** Data subject. */
  subject_id: ColumnType<string, string, never>;
  /** Random id of the subject key, 16 bytes; null when the subject was erased before it had one. */
  key_id: ColumnType<Uint8Array | null, Uint8Array | undefined, never>;
  /** Id of the version the key is wrapped under, 16 bytes; null once erased. */
  dek_key_id: ColumnType<Uint8Array | null, Uint8Array | undefined, Uint8Array | null>;
  /** The wrapped key; null once erased. */
  wrapped: ColumnType<Uint8Array | null, Uint8Array | undefined, Uint8Array | null>;
  /** Time of creation. */
  created_at: ColumnType<Date, Date, never>;
  /** Time of the erasure; null while the key lives. */
  erased_at: ColumnType<Date | null, Date | undefined, Date>;
}

/** Tables of the key store. A database type of an application can extend it; the key store accepts any. */
export interface CryptoDatabase {
  /** Data-key versions. */
  'crypto.dek_version': DekVersionTable;
  /** Wraps of data-key versions. */
  'crypto.dek_wrap': DekWrapTable;
  /** Keys of data subjects. */
  'crypto.subject_key': SubjectKeyTable;
}
