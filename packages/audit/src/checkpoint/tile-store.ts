/**
 * Tiles in PostgreSQL. A tile is the slices it grew by, in order; slices that do not meet leave a tile that is too short
 * or wrong, which the comparison with a signed root finds.
 */
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { HASH_LENGTH } from '../verify/merkle-proof.ts';
import type { NodeSeen } from './compact-range.ts';
import { rowsOf } from './database.ts';
import { TILE_HEIGHT, TILE_WIDTH, type TileId, TileSet } from './tiles.ts';

const READ = `
select t.level, t.index, t.start, t.data from audit.tile t
  join unnest($2::int[], $3::bigint[]) w(level, index) on w.level = t.level and w.index = t.index
 where t.org_id = $1::uuid order by t.level, t.index, t.start`;

const WRITE = `
insert into audit.tile (org_id, level, index, start, data)
select $1::uuid, level, index, start, decode(data, 'hex')
  from unnest($2::int[], $3::bigint[], $4::int[], $5::text[]) n(level, index, start, data)`;

/** Reads tiles into a set, each cut to the width asked for. */
export async function readTiles(db: QueryExecutor, org: string, tiles: readonly TileId[]): Promise<TileSet> {
  const set = new TileSet(nodeSha256);
  if (tiles.length === 0) return set;
  const slices = await rowsOf<{ level: number; index: unknown; start: number; data: Uint8Array }>(db, READ, [
    org,
    tiles.map(({ level }) => level),
    tiles.map(({ index }) => index),
  ]);
  for (const { level, index, width } of tiles) {
    const data = new Uint8Array(width * HASH_LENGTH);
    let length = 0;
    for (const slice of slices) {
      if (slice.level !== level || Number(slice.index) !== index) continue;
      if (slice.start * HASH_LENGTH !== length || length === data.length) break;
      const part = slice.data.subarray(0, data.length - length);
      data.set(part, length);
      length += part.length;
    }
    set.add(level, index, data.subarray(0, length));
  }
  return set;
}

interface Slice {
  readonly level: number;
  readonly index: number;
  readonly start: number;
  readonly hashes: Readonly<Uint8Array>[];
}

/** The hashes that a growing tree adds to its tiles. */
export class TileSlices {
  readonly #slices: Slice[] = [];
  /** The slice that grows, by level. */
  readonly #open: Slice[] = [];

  /** Takes what `CompactRange.append` tells. */
  readonly seen: NodeSeen = (height, place, hash) => {
    if (height % TILE_HEIGHT !== 0) return;
    const level = height / TILE_HEIGHT;
    const start = place % TILE_WIDTH;
    let slice = this.#open[level];
    if (slice === undefined || start === 0) {
      slice = { level, index: Math.floor(place / TILE_WIDTH), start, hashes: [] };
      this.#open[level] = slice;
      this.#slices.push(slice);
    }
    slice.hashes.push(hash);
  };

  /** Writes all slices; one that begins where a stored one does is refused by `tile_pkey`. */
  async write(db: QueryExecutor, org: string): Promise<void> {
    await rowsOf(db, WRITE, [
      org,
      this.#slices.map(({ level }) => level),
      this.#slices.map(({ index }) => index),
      this.#slices.map(({ start }) => start),
      this.#slices.map(({ hashes }) => Buffer.concat(hashes).toString('hex')),
    ]);
  }
}
