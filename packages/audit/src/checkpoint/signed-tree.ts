/**
 * The tree behind the last checkpoint of a log, checked before anything is appended to it: the note is ours and holds, and
 * the stored tiles give the root that was signed. Invariant: what does not agree is refused, never repaired.
 */

import { toHex } from '../append-result.ts';
import { RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { openCheckpoint } from '../verify/checkpoint.ts';
import { sameBytes } from '../verify/link.ts';
import type { VerifierKey } from '../verify/signed-note.ts';
import { CompactRange } from './compact-range.ts';
import { rowsOf, sizeOf } from './database.ts';
import { readTiles } from './tile-store.ts';
import { edgeTiles } from './tiles.ts';

/** A checkpoint as it is stored. */
export interface StoredCheckpoint {
  /** Leaves of the tree: the `seq` of the last event in it. */
  readonly size: number;
  /** Root of the tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** The chain's hash at that place, 32 bytes. */
  readonly link: Readonly<Uint8Array>;
  /** The signed note, without cosignatures. */
  readonly note: string;
}

const LAST = `
select size, root, link, note from audit.checkpoint where org_id = $1::uuid order by size desc limit 1`;

/** The last checkpoint of a log; undefined when there is none. */
export async function lastCheckpoint(db: QueryExecutor, org: string): Promise<StoredCheckpoint | undefined> {
  const [row] = await rowsOf<StoredCheckpoint>(db, LAST, [org]);
  return row === undefined ? undefined : storedCheckpoint(row);
}

/** A row of `audit.checkpoint`; the driver's buffers become plain bytes. */
export function storedCheckpoint({ size, root, link, note }: StoredCheckpoint): StoredCheckpoint {
  return { size: sizeOf(size), root: Uint8Array.from(root), link: Uint8Array.from(link), note };
}

/** What the last checkpoint must be. */
export interface TreeTrust {
  /** Origin of the log. */
  readonly origin: string;
  /** Keys that signed, now or before. */
  readonly keys: readonly VerifierKey[];
}

/**
 * The last checkpoint and the tree to append to.
 *
 * @throws RingfenceAuditError `audit.history_changed` when the checkpoint or its tiles were changed.
 */
export async function openTree(
  db: QueryExecutor,
  org: string,
  { origin, keys }: TreeTrust,
): Promise<{ readonly last: StoredCheckpoint | undefined; readonly tree: CompactRange }> {
  const last = await lastCheckpoint(db, org);
  if (last === undefined) return { last, tree: new CompactRange(nodeSha256) };
  const opened = await openCheckpoint(last.note, { origin, keys });
  if (!opened.ok) throw historyChanged(org, `the note of the checkpoint of ${last.size} is ${opened.reason}`);
  const { size, root } = opened.checkpoint;
  if (size !== last.size || !sameBytes(root, last.root)) {
    throw historyChanged(org, `the checkpoint stored at ${last.size} is not the one in its note`);
  }
  const roots = (await readTiles(db, org, edgeTiles(size))).subtrees({ start: 0, end: size });
  const tree = roots === undefined ? undefined : new CompactRange(nodeSha256, size, roots);
  if (tree === undefined || !sameBytes(tree.root(), root)) {
    throw historyChanged(org, `the stored tiles do not give the root signed at ${size}`);
  }
  return { last, tree };
}

/** The error of a history that is not the signed one. */
export function historyChanged(org: string, detail: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.history_changed', `log ${org}: ${detail}`);
}

/** Refuses a checkpoint that goes back behind one this process has signed. */
export class SignedHeads {
  readonly #heads = new Map<string, { readonly size: number; readonly root: string }>();

  /** Remembers what was signed and stored. */
  remember(org: string, { size, root }: StoredCheckpoint): void {
    this.#heads.set(org, { size, root: toHex(root) });
  }

  /** Throws `audit.history_changed` when the last stored checkpoint is older than the last one signed here, or another. */
  compare(org: string, last: StoredCheckpoint | undefined): void {
    const signed = this.#heads.get(org);
    if (signed === undefined) return;
    const size = last?.size ?? 0;
    if (size < signed.size)
      throw historyChanged(org, `it was signed at ${signed.size} and is now at ${size}`);
    if (size === signed.size && last !== undefined && toHex(last.root) !== signed.root) {
      throw historyChanged(org, `another root was signed at ${size}`);
    }
  }
}
