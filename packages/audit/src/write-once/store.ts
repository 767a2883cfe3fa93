/**
 * What the copy needs of the place it is written to: objects that are created once, versions, and a date before which a
 * version cannot be removed. `/s3` fills it with S3 Object Lock; a directory fills it for demos, and keeps less.
 */

/** How a version is protected: `governance` may be lifted by whoever has the permission, `compliance` by nobody. */
export type RetentionMode = 'governance' | 'compliance';

/** Until when a version is protected. */
export interface Retention {
  /** How. */
  readonly mode: RetentionMode;
  /** Until when, ms since 1970. */
  readonly untilMs: number;
}

/** Names one version of one object. */
export interface ObjectVersion {
  /** Key of the object. */
  readonly key: string;
  /** Id of the version. */
  readonly versionId: string;
}

/** A version, or a mark that hides older ones, as a listing shows it. */
export interface ListedVersion extends ObjectVersion {
  /** True for a delete marker, which has no bytes. */
  readonly deleteMarker: boolean;
}

/** A version that was written and read back. */
export interface LockedVersion extends ObjectVersion {
  /** Retention that the store told when it was asked after the write; undefined where it locks nothing. */
  readonly retention: Retention | undefined;
}

/** The bytes of a version and what was written beside them. */
export interface StoredBytes {
  /** The bytes from the beginning, no more than were asked for. */
  readonly body: Uint8Array;
  /** True when there are more than were asked for. */
  readonly cut: boolean;
  /** Date that was asked for when the version was written, ms since 1970; undefined when it says none. */
  readonly promisedUntilMs: number | undefined;
}

/** A place whose objects are written once. Every failure is a `RingfenceAuditError`. */
export interface WriteOnceStore {
  /** Name of the place, the same after a restart, e.g. `s3://audit-copy/ledger`. */
  readonly name: string;
  /** False for a store that holds nothing back from its administrator, such as a directory: it has no retention to compare. */
  readonly locks: boolean;
  /**
   * Creates an object, locks it and reads the lock back. When a version of the same bytes is there, that one is locked
   * and returned instead: a write that was interrupted can be repeated.
   *
   * @throws RingfenceAuditError `audit.copy_conflict` when the key has other bytes or a delete marker,
   * `audit.retention_not_applied`, `audit.copy_checksum_mismatch`, `audit.copy_denied`, `audit.copy_unavailable`.
   */
  create(key: string, body: Uint8Array): Promise<LockedVersion>;
  /** Every version and every delete marker below a prefix, in the order of keys, newest first within a key. */
  list(prefix: string): AsyncIterable<ListedVersion>;
  /**
   * Reads one version, `mostBytes` bytes of it at most, whatever its size. Undefined when there is none, or when what has
   * its name is no object: nothing is followed or waited for.
   */
  read(version: ObjectVersion, mostBytes: number): Promise<StoredBytes | undefined>;
  /** Retention of one version; undefined when it has none. */
  retention(version: ObjectVersion): Promise<Retention | undefined>;
}
