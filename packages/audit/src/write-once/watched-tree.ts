/**
 * The tree over the events of a copy, computed anew from their leaves, with the tiles it must have been copied with.
 * Holds the tiles since the last checkpoint as hashes only.
 */
import { createHash } from 'node:crypto';
import { CompactRange } from '../checkpoint/compact-range.ts';
import { TILE_HEIGHT, TILE_WIDTH, type TileId, tilePath } from '../checkpoint/tiles.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { newTiles } from './new-tiles.ts';

const HASH_LENGTH = 32;

/** A tile that must be there. */
export interface ExpectedTile {
  /** Its name below the log's prefix. */
  readonly name: string;
  /** SHA-256 of its bytes, 64 lower-case hex digits. */
  readonly sha256: string;
}

/** A tree that grows leaf by leaf. */
export class WatchedTree {
  readonly #tree = new CompactRange(nodeSha256);
  /** The tile that each level is filling. */
  readonly #open = new Map<number, Uint8Array>();
  readonly #full = new Map<string, string>();
  #before = 0;

  /** Leaves. */
  get size(): number {
    return this.#tree.size;
  }

  /** Root, 32 bytes. */
  root(): Uint8Array {
    return this.#tree.root();
  }

  /** Appends a leaf. */
  append(leaf: Readonly<Uint8Array>): void {
    this.#tree.append(leaf, (height, place, hash) => {
      if (height % TILE_HEIGHT !== 0) return;
      const level = height / TILE_HEIGHT;
      const tile = this.#open.get(level) ?? new Uint8Array(TILE_WIDTH * HASH_LENGTH);
      this.#open.set(level, tile);
      tile.set(hash, (place % TILE_WIDTH) * HASH_LENGTH);
      if (place % TILE_WIDTH < TILE_WIDTH - 1) return;
      const index = Math.floor(place / TILE_WIDTH);
      this.#full.set(tilePath({ level, index, width: TILE_WIDTH }), sha256Of(tile));
    });
  }

  /** The tiles that a checkpoint here adds to those of the one before. */
  *tiles(): Generator<ExpectedTile, void, void> {
    for (const tile of newTiles(this.#before, this.size)) {
      yield { name: tilePath(tile), sha256: this.#hashOf(tile) };
    }
    this.#before = this.size;
    this.#full.clear();
  }

  #hashOf(tile: TileId): string {
    if (tile.width === TILE_WIDTH) return this.#full.get(tilePath(tile)) ?? '';
    return sha256Of(this.#open.get(tile.level)?.subarray(0, tile.width * HASH_LENGTH) ?? new Uint8Array());
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
