/**
 * Which tiles a tree shows when it has grown: every tile that has more hashes than before, at the width it has now
 * (c2sp.org/tlog-tiles). A tile of the same width was shown before.
 */
import { TILE_WIDTH, type TileId } from '../checkpoint/tiles.ts';

/** The tiles of a tree of `size` leaves that a tree of `before` leaves did not have. */
export function* newTiles(before: number, size: number): Generator<TileId, void, void> {
  let [old, now] = [before, size];
  for (let level = 0; now > 0; level++) {
    for (let index = Math.floor(old / TILE_WIDTH); old < now && index * TILE_WIDTH < now; index++) {
      yield { level, index, width: Math.min(TILE_WIDTH, now - index * TILE_WIDTH) };
    }
    old = Math.floor(old / TILE_WIDTH);
    now = Math.floor(now / TILE_WIDTH);
  }
}
