/**
 * Makes proofs from stored tiles, in one read per proof, whatever the size of the tree. Invariant: a proof is verified
 * here before it is handed out, so that changed tiles are an error at once and not at the customer's desk.
 */

import { RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { verifyConsistency, verifyInclusion } from '../verify/merkle-proof.ts';
import { rowsOf } from './database.ts';
import { consistencyPath, inclusionPath } from './merkle-paths.ts';
import { historyChanged, type StoredCheckpoint, storedCheckpoint } from './signed-tree.ts';
import { readTiles } from './tile-store.ts';
import { type LeafRange, type TileSet, tilesOf } from './tiles.ts';

/** That one event stands in a signed log; what `verifyInclusion` and `openCheckpoint` need. */
export interface InclusionProof {
  /** Place of the leaf, from 0. */
  readonly index: number;
  /** Hash of the leaf, 32 bytes. */
  readonly leaf: Readonly<Uint8Array>;
  /** Leaves of the tree. */
  readonly size: number;
  /** Hashes from the leaf's sibling upwards. */
  readonly proof: readonly Readonly<Uint8Array>[];
  /** The signed note of that size, with the cosignatures there are. */
  readonly note: string;
}

const COVERING = `
select c.size, c.root, c.link, c.note,
       coalesce((select string_agg(s.line, '' order by s.witness collate "C") from audit.cosignature s
                  where s.org_id = c.org_id and s.size = c.size), '') as lines
  from audit.checkpoint c where c.org_id = $1::uuid and c.size >= $2::bigint order by c.size desc limit 1`;

/** The newest checkpoint of a log, when it covers so many leaves; its note carries the cosignatures there are. */
export async function newestCheckpoint(
  db: QueryExecutor,
  org: string,
  atLeast = 1,
): Promise<StoredCheckpoint | undefined> {
  const [row] = await rowsOf<StoredCheckpoint & { lines: string }>(db, COVERING, [org, atLeast]);
  if (row === undefined) return undefined;
  return storedCheckpoint({ ...row, note: row.note + row.lines });
}

/**
 * Proves that a leaf stands in the newest signed tree.
 *
 * @throws RingfenceAuditError `audit.no_checkpoint` when no checkpoint covers it, `audit.history_changed` when the stored
 * tiles do not give the signed root.
 */
export async function proveInclusion(db: QueryExecutor, org: string, index: number): Promise<InclusionProof> {
  if (!Number.isSafeInteger(index) || index < 0)
    throw new TypeError('the place of a leaf is an integer from 0');
  const newest = await newestCheckpoint(db, org, index + 1);
  if (newest === undefined) throw notCovered(org, index + 1);
  const { size, root, note } = newest;
  const path = inclusionPath(index, size);
  const own = { start: index, end: index + 1 };
  const tiles = await readTiles(db, org, tilesOf([...path, own], size));
  const proof = hashesOf(tiles, path);
  const leaf = tiles.range(own);
  if (
    proof === undefined ||
    leaf === undefined ||
    !verifyInclusion({ leaf, index, size, root, proof }, nodeSha256)
  ) {
    throw historyChanged(org, `the stored tiles do not give the root signed at ${size}`);
  }
  return { index, leaf, size, proof, note };
}

/** Proves that the first `oldSize` leaves of a checkpoint are an older tree. */
export async function proveConsistency(
  db: QueryExecutor,
  org: string,
  oldSize: number,
  { size, root }: Pick<StoredCheckpoint, 'size' | 'root'>,
): Promise<readonly Readonly<Uint8Array>[]> {
  if (!Number.isSafeInteger(oldSize) || oldSize < 0 || oldSize > size) throw notCovered(org, oldSize);
  if (oldSize === 0 || oldSize === size) return [];
  const path = consistencyPath(oldSize, size);
  const older = { start: 0, end: oldSize };
  const tiles = await readTiles(db, org, tilesOf([...path, older], size));
  const proof = hashesOf(tiles, path);
  const oldRoot = tiles.range(older);
  if (
    proof === undefined ||
    oldRoot === undefined ||
    !verifyConsistency({ oldSize, oldRoot, size, root, proof }, nodeSha256)
  ) {
    throw historyChanged(org, `the stored tiles do not give the root signed at ${size}`);
  }
  return proof;
}

function hashesOf(tiles: TileSet, path: readonly LeafRange[]): Uint8Array[] | undefined {
  const hashes = path.map((range) => tiles.range(range));
  return hashes.every((hash) => hash !== undefined) ? hashes : undefined;
}

function notCovered(org: string, size: number): RingfenceAuditError {
  return noCheckpoint(org, `has no checkpoint that covers ${size} events`);
}

/** The error of a proof that no checkpoint allows. */
export function noCheckpoint(org: string, detail: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.no_checkpoint', `log ${org} ${detail}`);
}
