/**
 * Copies one log to a store, checkpoint by checkpoint: the segments up to it, the tiles that its tree has grown by, and
 * last its note. Invariants: whatever is interrupted is made again byte by byte under the same key; a note stands in the
 * store only when everything below it does; no more than one segment is in memory.
 */
import { rowsOf } from '../checkpoint/database.ts';
import { TILE_WIDTH, type TileId } from '../checkpoint/tiles.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import type { OrgId } from '../org-id.ts';
import { openCheckpoint } from '../verify/checkpoint.ts';
import type { ChainHead } from '../verify/index.ts';
import { sameBytes } from '../verify/link.ts';
import type { VerifierKey } from '../verify/signed-note.ts';
import type { CopyState, WaitingCheckpoint } from './copy-state.ts';
import { requireKnownCheckpoints } from './known-checkpoints.ts';
import { newTiles } from './new-tiles.ts';
import { notCopied } from './not-copied.ts';
import { type CopyObject, objectName } from './object-key.ts';
import { segments } from './segments.ts';
import { SignedGrowth } from './signed-growth.ts';
import type { WriteOnceStore } from './store.ts';

const HASH_LENGTH = 32;
/** Tiles that are written at once. */
const AT_ONCE = 8;

const TILE = `
select start, data from audit.tile where org_id = $1::uuid and level = $2::int and index = $3::bigint order by start`;

const LEAVES = `
select e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
 where s.org_id = $1::uuid and s.seq > $2::bigint and s.seq <= $3::bigint order by s.seq limit 10000`;

/** What one copy needs. */
export interface CopyTools {
  /** Database, as the copier's role. */
  readonly db: QueryExecutor;
  /** Where to. */
  readonly store: WriteOnceStore;
  /** What was copied. */
  readonly state: CopyState;
  /** Name of the deployment. */
  readonly origin: string;
  /** Keys that sign its checkpoints. */
  readonly keys: readonly VerifierKey[];
}

/** What one call copied. */
export interface CopyResult {
  /** Size of the last checkpoint in the store; 0 when there is none. */
  readonly size: number;
  /** Objects written by this call. */
  readonly objects: number;
  /** Bytes written by this call. */
  readonly bytes: number;
}

/** Copies every checkpoint that waits. A signal ends it after the object it is at; the result says what was done. */
export async function copyLog(tools: CopyTools, org: OrgId, signal?: AbortSignal): Promise<CopyResult> {
  const { state } = tools;
  let { checkpoint: size, segment } = await state.progress(org);
  let objects = 0;
  let bytes = 0;
  const write: Write = async (object, upto, body) => {
    signal?.throwIfAborted();
    const version = await tools.store.create(`${org}/${objectName(object)}`, body);
    await state.add(org, object, upto, body, version);
    objects += 1;
    bytes += body.length;
  };
  try {
    if (size === 0) await requireKnownCheckpoints(tools.db, tools.store, org);
    for (;;) {
      signal?.throwIfAborted();
      const next = await state.next(org, size);
      if (next === undefined) break;
      await copyCheckpoint(tools, org, { size, segment, next }, write, signal);
      size = next.head.seq;
      segment = next.head;
    }
  } catch (error) {
    if (signal?.aborted !== true || error !== signal.reason) throw error;
  }
  return { size, objects, bytes };
}

type Write = (object: CopyObject, upto: number, body: Uint8Array) => Promise<void>;

/** One checkpoint, and what the log has grown by up to it. */
interface Growth {
  /** Size of the checkpoint before. */
  readonly size: number;
  /** End of the last segment that was copied. */
  readonly segment: ChainHead;
  /** The checkpoint. */
  readonly next: WaitingCheckpoint;
}

async function copyCheckpoint(
  tools: CopyTools,
  org: OrgId,
  grown: Growth,
  write: Write,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { size, segment, next } = grown;
  await requireSigned(tools, org, next);
  const upto = next.head.seq;
  const { growth, digests } = await requireRecords(tools, org, grown, signal);
  for await (const { from, to, body } of segments(tools.db, org, segment, next.head)) {
    if (!sameBytes(nodeSha256(body), digests.shift() ?? new Uint8Array())) {
      throw notCopied(org, `the links from ${from.seq} changed while they were being copied`);
    }
    await write({ kind: 'segment', from: from.seq, to: to.seq }, to.seq, body);
  }
  await writeTiles(tools, org, { before: size, size: upto }, async (tile, body) => {
    growth.requireTile(tile, body);
    await write({ kind: 'tile', tile }, upto, body);
  });
  await write({ kind: 'checkpoint', size: upto }, upto, new TextEncoder().encode(next.note));
}

/** Nothing is made permanent that the deployment's key did not sign. */
async function requireSigned(
  { origin, keys }: CopyTools,
  org: OrgId,
  { head, root, note }: WaitingCheckpoint,
): Promise<void> {
  const opened = await openCheckpoint(note, { origin: `${origin}/${org}`, keys });
  if (opened.ok && opened.checkpoint.size === head.seq && sameBytes(opened.checkpoint.root, root)) return;
  const why = opened.ok ? 'not the one in its note' : opened.reason;
  throw notCopied(org, `the checkpoint of ${head.seq} is ${why}`);
}

/** Reads what is to be copied once before anything is written: its records must give the root that was signed. */
async function requireRecords(
  { db }: CopyTools,
  org: OrgId,
  { size, segment: from, next: { head, root } }: Growth,
  signal: AbortSignal | undefined,
): Promise<{ readonly growth: SignedGrowth; readonly digests: Uint8Array[] }> {
  const growth = await SignedGrowth.behind(db, org, size);
  const digests: Uint8Array[] = [];
  // Segments of an interrupted copy stand in the store already; a leaf that is not theirs gives another root.
  for (let done = size; done < from.seq; ) {
    signal?.throwIfAborted();
    const rows = await rowsOf<{ leaf: Uint8Array }>(db, LEAVES, [org, done, from.seq]);
    if (rows.length === 0) throw notCopied(org, `record ${done + 1} is missing`);
    for (const { leaf } of rows) growth.append(leaf);
    done += rows.length;
  }
  let at = from.seq;
  for await (const { to, body, leaves } of segments(db, org, from, head)) {
    signal?.throwIfAborted();
    if (leaves.length !== to.seq - at) throw notCopied(org, `records up to ${to.seq} are missing`);
    for (const leaf of leaves) growth.append(leaf);
    digests.push(nodeSha256(body));
    at = to.seq;
  }
  growth.requireRoot(head.seq, root);
  return { growth, digests };
}

async function writeTiles(
  { db, state }: CopyTools,
  org: OrgId,
  { before, size }: { readonly before: number; readonly size: number },
  write: (tile: TileId, body: Uint8Array) => Promise<void>,
): Promise<void> {
  const batch: TileId[] = [];
  const flush = async () => {
    const keyOf = (tile: TileId) => `${org}/${objectName({ kind: 'tile', tile })}`;
    const tiles = batch.splice(0);
    const done = await state.copied(org, tiles.map(keyOf));
    const writes = tiles
      .filter((tile) => !done.has(keyOf(tile)))
      .map(async (tile) => write(tile, await tileBytes(db, org, tile)));
    const outcomes = await Promise.allSettled(writes);
    const failed = outcomes.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  };
  for (const tile of newTiles(before, size)) {
    batch.push(tile);
    if (batch.length === AT_ONCE) await flush();
  }
  if (batch.length > 0) await flush();
}

async function tileBytes(db: QueryExecutor, org: OrgId, tile: TileId): Promise<Uint8Array> {
  const { level, index, width } = tile;
  const slices = await rowsOf<{ start: number; data: Uint8Array }>(db, TILE, [org, level, index]);
  const data = new Uint8Array(TILE_WIDTH * HASH_LENGTH);
  let length = 0;
  for (const slice of slices) {
    if (slice.start * HASH_LENGTH !== length) break;
    data.set(slice.data.subarray(0, data.length - length), length);
    length += slice.data.length;
  }
  if (length < width * HASH_LENGTH) {
    const name = objectName({ kind: 'tile', tile });
    throw notCopied(org, `${name} is incomplete`);
  }
  return data.slice(0, width * HASH_LENGTH);
}
