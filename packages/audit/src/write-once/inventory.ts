/**
 * Takes stock of one log in a store: every version and delete marker, and for each object the version that counts. That is
 * the one the database recorded, or without a database the oldest: whoever overwrites can only put a version on top.
 */

import { createHash } from 'node:crypto';

import type { OrgId } from '../org-id.ts';
import { HASH_LENGTH } from '../verify/merkle-proof.ts';
import type { CopyFindings } from './copy-report.ts';
import { type CopyObject, objectName, parseObjectName } from './object-key.ts';
import type { RecordedObject } from './recorded.ts';
import { MOST_SEGMENT_BYTES } from './segments.ts';
import type { ListedVersion, ObjectVersion, Retention, StoredBytes, WriteOnceStore } from './store.ts';

/** An object and the version that counts. */
export interface CountedObject extends ObjectVersion {
  /** What it is. */
  readonly object: CopyObject;
  /** What the database says of it. */
  readonly recorded: RecordedObject | undefined;
}

/** The objects of one log. */
export interface Inventory {
  /** In order of place. */
  readonly segments: readonly (CountedObject & {
    readonly object: Extract<CopyObject, { readonly kind: 'segment' }>;
  })[];
  /** In order of size. */
  readonly checkpoints: readonly (CountedObject & {
    readonly object: Extract<CopyObject, { readonly kind: 'checkpoint' }>;
  })[];
  /** By name. */
  readonly tiles: ReadonlyMap<string, CountedObject>;
}

/** What stock-taking needs. */
export interface InventoryOptions {
  /** Where. */
  readonly store: WriteOnceStore;
  /** Which log. */
  readonly org: OrgId;
  /** What the database says; undefined without one. */
  readonly recorded: ReadonlyMap<string, RecordedObject> | undefined;
  /** Where findings go. */
  readonly findings: CopyFindings;
  /** The time, ms since 1970. */
  readonly nowMs: number;
}

/** Most bytes of a note: a few lines of text. */
const MOST_NOTE_BYTES = 64 * 1024;

/**
 * Lists the store and finds what listings show: markers, versions on top, versions gone, strange names.
 *
 * Segments are listed once more at the end. A copier that runs meanwhile writes segments before tiles, so whatever tile was
 * listed, its segments are: a tile whose segments are not there is nobody's.
 */
export async function takeInventory(options: InventoryOptions): Promise<Inventory> {
  const { store, org, recorded, findings } = options;
  const counted: CountedObject[] = [];
  const seen = new Set<string>();
  const settle = (key: string, listed: readonly ListedVersion[]) => {
    seen.add(key);
    const object = parseObjectName(key.slice(org.length + 1));
    for (const { versionId, deleteMarker } of listed) {
      if (deleteMarker) findings.add('delete_marker', key, versionId, 'a delete marker hides the object');
    }
    if (object === undefined) {
      findings.add('foreign', key, null, 'no copy writes an object of this name');
      return;
    }
    const versions = listed.filter(({ deleteMarker }) => !deleteMarker);
    const record = recorded?.get(key);
    const pinned =
      record === undefined ? versions.at(-1) : versions.find((one) => one.versionId === record.versionId);
    if (record !== undefined && pinned === undefined) gone(options, key, record);
    for (const version of versions) {
      if (version === pinned) continue;
      findings.add(
        'overwritten',
        key,
        version.versionId,
        'another version was put beside the one that was written',
      );
    }
    const counts = pinned ?? versions.at(-1);
    if (counts !== undefined) counted.push({ key, versionId: counts.versionId, object, recorded: record });
    else if (record === undefined)
      findings.add('missing', key, null, 'only delete markers are left of the object');
  };
  for await (const [key, versions] of byKey(store.list(`${org}/`))) settle(key, versions);
  for await (const [key, versions] of byKey(store.list(`${org}/segments/`))) {
    if (!seen.has(key)) settle(key, versions);
  }
  for (const [name, record] of recorded ?? []) if (!seen.has(name)) gone(options, name, record);
  return sorted(counted);
}

/** The versions of each key, from a listing in the order of keys. */
async function* byKey(
  listing: AsyncIterable<ListedVersion>,
): AsyncGenerator<readonly [string, readonly ListedVersion[]], void, void> {
  let versions: ListedVersion[] = [];
  for await (const version of listing) {
    const [first] = versions;
    if (first !== undefined && version.key !== first.key) {
      yield [first.key, versions];
      versions = [];
    }
    versions.push(version);
  }
  const [first] = versions;
  if (first !== undefined) yield [first.key, versions];
}

/**
 * Reads the version that counts and compares checksum and retention; undefined when it cannot be read, or is larger than
 * an object of its kind can be.
 */
export async function readCounted(
  { store, findings }: Pick<InventoryOptions, 'store' | 'findings'>,
  { key, versionId, recorded, object }: CountedObject,
): Promise<Uint8Array | undefined> {
  const [stored, told] = await Promise.all([
    store.read({ key, versionId }, mostBytesOf(object)),
    store.locks ? store.retention({ key, versionId }) : undefined,
  ]);
  if (stored === undefined) {
    findings.add('missing', key, versionId, 'what was listed is no object that can be read');
    return undefined;
  }
  if (stored.cut) {
    findings.add('altered', key, versionId, `there are more than ${mostBytesOf(object)} bytes`);
    return undefined;
  }
  if (recorded !== undefined && createHash('sha256').update(stored.body).digest('hex') !== recorded.sha256) {
    findings.add('altered', key, versionId, 'the bytes are not those that were written');
  }
  if (!store.locks) return stored.body;
  if (told === undefined) findings.add('unlocked', key, versionId, 'the version has no retention');
  else if (isLess(told, recorded?.retention, stored)) {
    findings.add(
      'retention_shortened',
      key,
      versionId,
      `the version is held as ${told.mode} until ${iso(told.untilMs)}`,
    );
  }
  return stored.body;
}

function mostBytesOf(object: CopyObject): number {
  if (object.kind === 'segment') return MOST_SEGMENT_BYTES;
  return object.kind === 'tile' ? object.tile.width * HASH_LENGTH : MOST_NOTE_BYTES;
}

function isLess(told: Retention, recorded: Retention | undefined, { promisedUntilMs }: StoredBytes): boolean {
  if (recorded?.mode === 'compliance' && told.mode !== 'compliance') return true;
  return told.untilMs < Math.max(recorded?.untilMs ?? 0, promisedUntilMs ?? 0);
}

function gone(
  { findings, nowMs }: InventoryOptions,
  key: string,
  { versionId, retention }: RecordedObject,
): void {
  if (retention !== undefined && retention.untilMs > nowMs) {
    const detail = `the version is gone, though it was locked as ${retention.mode} until ${iso(retention.untilMs)}`;
    findings.add('bypassed', key, versionId, detail);
  } else {
    findings.add('missing', key, versionId, 'the version that was written is gone');
  }
}

function sorted(counted: readonly CountedObject[]): Inventory {
  const segments = counted.flatMap((one) =>
    one.object.kind === 'segment' ? [{ ...one, object: one.object }] : [],
  );
  const checkpoints = counted.flatMap((one) =>
    one.object.kind === 'checkpoint' ? [{ ...one, object: one.object }] : [],
  );
  return {
    segments: segments.sort((a, b) => a.object.from - b.object.from || a.object.to - b.object.to),
    checkpoints: checkpoints.sort((a, b) => a.object.size - b.object.size),
    tiles: new Map(
      counted.flatMap((one) => (one.object.kind === 'tile' ? [[objectName(one.object), one] as const] : [])),
    ),
  };
}

/** A row of the database may say more than a date can. */
function iso(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? 'a time that no date is' : date.toISOString();
}
