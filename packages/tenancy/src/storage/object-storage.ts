/**
 * The port: what an application does with objects, for one organisation at a time. There is no call that takes a bucket,
 * a prefix or another organisation. Invariant of every implementation: a key of another organisation is refused before
 * any I/O, and the server refuses it again.
 */
import { RingfenceTenancyError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import { orgKey, parseOrgKey } from './object-key.ts';
import type { StorageOperation } from './operations.ts';

/**
 * Names an object: segments below the organisation's prefix, or the whole key as an earlier call gave it. A whole key is
 * refused unless it belongs to the organisation of the handle.
 */
export type ObjectKey = readonly string[] | string;

/** Content to store: bytes, or chunks of any size. */
export type ObjectBody = Uint8Array | AsyncIterable<Uint8Array>;

/** What the store knows about an object. */
export interface ObjectInfo {
  /** Whole key, to be kept in a row. */
  readonly key: string;
  /** Size in bytes. */
  readonly size: number;
  /** Changes whenever the content does; opaque. */
  readonly etag: string;
  /** Time of the last write. */
  readonly modified: Date;
}

/** A whole object or a range of it. */
export interface ObjectContent extends ObjectInfo {
  /** The bytes. Read it to the end or cancel it: an unread body holds its connection. */
  readonly body: ReadableStream<Uint8Array>;
}

/** Bytes of an object, both ends included (RFC 9110, section 14.1.2). */
export interface ByteRange {
  /** First byte, counted from 0. */
  readonly first: number;
  /** Last byte; to the end when left out. */
  readonly last?: number;
}

/** Options of `get`. */
export interface GetOptions {
  /** Part of the object to read. `size` stays that of the whole object. */
  readonly range?: ByteRange;
  /** Refuse unless the object still has this etag: for reading one object in several ranges. */
  readonly ifMatch?: string;
}

/** Options of `put`. */
export interface PutOptions {
  /** Refuse when the key is taken. Servers of the S3 protocol keep this promise or not; AWS documents that it does. */
  readonly ifAbsent?: boolean;
}

/** Options of `list`. */
export interface ListOptions {
  /** Segments every key must begin with; all keys of the organisation when left out. */
  readonly under?: readonly string[];
}

/** The objects of one organisation. */
export interface OrgObjects {
  /** Organisation of this handle. */
  readonly org: OrgId;
  /** Stores an object, replacing the one under the same key, and gives its whole key. A body in chunks is sent with one part in memory at a time. */
  put(key: ObjectKey, body: ObjectBody, options?: PutOptions): Promise<string>;
  /** Reads an object as a stream. */
  get(key: ObjectKey, options?: GetOptions): Promise<ObjectContent>;
  /** Reads what is known about an object, without its content. */
  head(key: ObjectKey): Promise<ObjectInfo>;
  /** Lists objects in the byte order of their keys, a page at a time. */
  list(options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** Copies an object within the organisation and gives the whole key of the copy. */
  copy(from: ObjectKey, to: ObjectKey): Promise<string>;
  /** Removes an object; one that is not there counts as removed. */
  delete(key: ObjectKey): Promise<void>;
}

/** A store that gives each organisation its own objects. */
export interface ObjectStorage {
  /** The operations handles of this store may do. */
  readonly operations: readonly StorageOperation[];
  /** A handle for one organisation. */
  forOrg(org: OrgId): OrgObjects;
  /** Ends connections. */
  close(): Promise<void>;
}

/**
 * Turns what a caller named into a whole key of `org`. For implementations of the port: call it before any I/O.
 *
 * @throws RingfenceTenancyError `tenancy.storage_invalid_key`, `tenancy.storage_foreign_key`.
 */
export function ownKey(org: OrgId, key: ObjectKey): string {
  if (typeof key !== 'string') return orgKey(org, ...key);
  if (parseOrgKey(key).org !== org) throw foreignKey(org);
  return key;
}

/** The error for a key that is not of `org`. It does not say whose it is. */
export function foreignKey(org: OrgId): RingfenceTenancyError {
  return new RingfenceTenancyError(
    'tenancy.storage_foreign_key',
    `an object key is not of organisation ${org}: take keys from its own rows`,
  );
}

/**
 * Refuses an operation the store was not made with. For implementations of the port: call it before any I/O.
 *
 * @throws RingfenceTenancyError `tenancy.storage_not_granted`.
 */
export function requireOperation(granted: readonly StorageOperation[], operation: StorageOperation): void {
  if (granted.includes(operation)) return;
  throw new RingfenceTenancyError(
    'tenancy.storage_not_granted',
    `this storage was not made for "${operation}": add it to operations, here and in the documents`,
  );
}

/**
 * Checks a range. For implementations of the port: call it before any I/O.
 *
 * @throws RingfenceTenancyError `tenancy.storage_invalid_range`.
 */
export function checkRange(range: ByteRange): ByteRange {
  const { first, last = Number.MAX_SAFE_INTEGER } = range;
  if (Number.isSafeInteger(first) && Number.isSafeInteger(last) && first >= 0 && last >= first) return range;
  throw invalidRange();
}

/** The error for a range that has no bytes. */
export function invalidRange(): RingfenceTenancyError {
  return new RingfenceTenancyError(
    'tenancy.storage_invalid_range',
    'the range has no bytes of the object: first and last are integers from 0, both included',
  );
}
