/**
 * What the key-use ledger reports: counts per lease, the KMS calls behind it and those of key operations, never
 * an event per message.
 * Invariant: ids, names and numbers only; no row id, no content, no key.
 */
import type { CryptoErrorCode } from '../errors.ts';
import type { OrgId } from '../org-id.ts';

/**
 * Which key was used: the organisation's field key, a file or blind-index key, the key of a data subject, or the key that
 * wraps subject keys.
 */
export type UsedKey = 'field' | 'file' | 'index' | 'subject' | 'subject-wrap';

/** Uses of one kind of key for one purpose and table. */
export interface KeyUseCount {
  /** Kind of key. */
  readonly key: UsedKey;
  /** Purpose of the cells, `field` unless the application gave another; `*` gathers what is beyond 256 combinations. */
  readonly purpose: string;
  /** Table of the cells; empty where none is known; `*` gathers what is beyond 256 combinations. */
  readonly table: string;
  /** Messages sealed. */
  readonly sealed: number;
  /** Messages opened. */
  readonly opened: number;
  /** Messages that were to be opened and did not open: changed, moved, or of an unknown key. */
  readonly failed: number;
  /** Times a key was lent for another construction (files, blind indexes). */
  readonly lent: number;
  /** Plaintext bytes sealed. */
  readonly sealedBytes: number;
  /** Plaintext bytes opened. */
  readonly openedBytes: number;
}

/** One call to a KMS. */
export interface KmsCall {
  /** What was asked. */
  readonly operation: 'wrap' | 'unwrap' | 'describe';
  /** URI of the KEK. */
  readonly kekUri: string;
  /** Id of the data-key version, 32 hex digits; empty for `describe`, which concerns none. */
  readonly keyId: string;
  /** Request id the KMS answered with; null when there was no answer, or the provider has none. */
  readonly requestId: string | null;
  /**
   * Request ids of the other answers to this call, in their order: attempts that the client repeated, the read-back of a
   * wrap (Azure). Absent when there were none.
   */
  readonly moreRequestIds?: readonly string[];
  /** Time of the answer, ms since the epoch. */
  readonly at: number;
  /** `ok`, the code of the error, `error` for an untyped one, or `late` for an answer after the time limit, not used. */
  readonly outcome: 'ok' | 'late' | 'error' | CryptoErrorCode;
}

/** Use of one organisation's keys in a period: under one lease, or the KMS calls of one key operation. */
export interface KeyUse {
  /** Version of this shape. */
  readonly v: 1;
  /** The organisation. */
  readonly org: OrgId;
  /** Random id of the lease, a UUID; also given to an attempt that brought no lease, the making of a version, an operation. */
  readonly leaseId: string;
  /** Number of this report of the lease, from 1. Reports may arrive twice: `leaseId` and `sequence` name one. */
  readonly sequence: number;
  /** Key ids leased, the sealing one first; empty where no lease came about. */
  readonly keyIds: readonly string[];
  /** Begin of the period, ms since the epoch. */
  readonly from: number;
  /** End of the period, ms since the epoch. */
  readonly to: number;
  /** Uses in the period, one entry per key, purpose and table; none of them all zero. */
  readonly counts: readonly KeyUseCount[];
  /** KMS calls of the period. */
  readonly kms: readonly KmsCall[];
}

/** Where reports go: an audit log, a table, a metrics pipeline. */
export interface KeyUsePort {
  /** Takes one report; a rejection makes the ledger offer it again later. */
  record(use: KeyUse): void | Promise<void>;
}
