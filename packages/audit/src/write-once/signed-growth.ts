/**
 * What a log's tree has grown by between two checkpoints, from the records themselves. Before anything of it is made
 * permanent, it must give the root that was signed, and the stored tiles must hold its hashes: the database could have
 * been changed since, records and chain alike.
 *
 * The subtrees up to the earlier checkpoint come from stored tiles and need no check of their own: a wrong one gives a
 * wrong root at the later one.
 */
import { CompactRange } from '../checkpoint/compact-range.ts';
import { readTiles } from '../checkpoint/tile-store.ts';
import { edgeTiles, TILE_WIDTH, type TileId } from '../checkpoint/tiles.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import type { OrgId } from '../org-id.ts';
import { sameBytes } from '../verify/link.ts';
import { notCopied } from './not-copied.ts';

const HASH_LENGTH = 32;
/** Levels of the tree between two levels of tiles. */
const TILE_HEIGHT = 8;

/** Leaves and nodes behind an earlier checkpoint. */
export class SignedGrowth {
  readonly #org: OrgId;
  readonly #tree: CompactRange;
  /** Hashes by level of tiles, from the first new one on. */
  readonly #levels = new Map<number, { readonly first: number; readonly hashes: Readonly<Uint8Array>[] }>();

  private constructor(org: OrgId, tree: CompactRange) {
    this.#org = org;
    this.#tree = tree;
  }

  /** The growth behind the first `size` leaves, empty so far. */
  static async behind(db: QueryExecutor, org: OrgId, size: number): Promise<SignedGrowth> {
    if (size === 0) return new SignedGrowth(org, new CompactRange(nodeSha256));
    const roots = (await readTiles(db, org, edgeTiles(size))).subtrees({ start: 0, end: size });
    if (roots === undefined) throw notCopied(org, `tiles of the tree of ${size} are missing`);
    return new SignedGrowth(org, new CompactRange(nodeSha256, size, roots));
  }

  /** Adds the leaf of the next record. */
  append(leaf: Readonly<Uint8Array>): void {
    this.#tree.append(leaf, (level, index, hash) => {
      if (level % TILE_HEIGHT !== 0) return;
      const known = this.#levels.get(level / TILE_HEIGHT);
      if (known === undefined) this.#levels.set(level / TILE_HEIGHT, { first: index, hashes: [hash] });
      else known.hashes.push(hash);
    });
  }

  /** @throws RingfenceAuditError `audit.history_changed` unless the records give the root that was signed at `size`. */
  requireRoot(size: number, root: Readonly<Uint8Array>): void {
    if (this.#tree.size === size && sameBytes(this.#tree.root(), root)) return;
    throw notCopied(this.#org, `its records do not give the root signed at ${size}`);
  }

  /** @throws RingfenceAuditError `audit.history_changed` unless the new hashes of a tile are those of the records. */
  requireTile({ level, index, width }: TileId, bytes: Readonly<Uint8Array>): void {
    const known = this.#levels.get(level);
    if (known === undefined) return;
    for (let place = 0; place < width; place++) {
      const hash = known.hashes[index * TILE_WIDTH + place - known.first];
      if (hash === undefined) continue;
      if (!sameBytes(bytes.subarray(place * HASH_LENGTH, (place + 1) * HASH_LENGTH), hash)) {
        throw notCopied(this.#org, `a stored tile of level ${level} does not hold the hashes of its records`);
      }
    }
  }
}
