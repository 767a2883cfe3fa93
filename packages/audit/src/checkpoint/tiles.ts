/**
 * Tiles of height 8 (c2sp.org/tlog-tiles): a tile of level t holds up to 256 hashes, and hash number i of tile n is the
 * root of the subtree over 256^t leaves number n * 256 + i. Every node of the tree can be computed from one tile.
 */
import type { Sha256 } from '../verify/link.ts';
import { HASH_LENGTH, nodeHasher } from '../verify/merkle-proof.ts';

/** Hashes in a full tile. */
export const TILE_WIDTH = 256;
/** Levels of the tree in one tile. */
export const TILE_HEIGHT = 8;

/** Names a tile, as far as a tree of some size fills it. */
export interface TileId {
  /** Level of the tile, from 0. */
  readonly level: number;
  /** Place in its level, from 0. */
  readonly index: number;
  /** Hashes in it, 1 to 256. */
  readonly width: number;
}

/** A half-open range of leaves. */
export interface LeafRange {
  /** First leaf. */
  readonly start: number;
  /** Leaf behind the last. */
  readonly end: number;
}

/** The path of a tile below its log, as a static file: `tile/<level>/<index>[.p/<width>]`. */
export function tilePath({ level, index, width }: TileId): string {
  const groups: string[] = [];
  let rest = index;
  do {
    groups.unshift(`${groups.length > 0 ? 'x' : ''}${String(rest % 1000).padStart(3, '0')}`);
    rest = Math.floor(rest / 1000);
  } while (rest > 0);
  return `tile/${level}/${groups.join('/')}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** The partial tiles at the right edge of a tree: what is needed to append to it. */
export function edgeTiles(size: number): TileId[] {
  const tiles: TileId[] = [];
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / TILE_WIDTH)) {
    const width = hashes % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(hashes / TILE_WIDTH), width });
  }
  return tiles;
}

/** The full subtrees of a range that begins where one of them may, largest first: level and place of each. */
export function fullSubtrees({ start, end }: LeafRange): { level: number; index: number }[] {
  const subtrees: { level: number; index: number }[] = [];
  for (let at = start; at < end; ) {
    let level = 0;
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= end) {
      width *= 2;
      level += 1;
    }
    subtrees.push({ level, index: at / width });
    at += width;
  }
  return subtrees;
}

/** The tiles that hold the full subtrees of these ranges, in a tree of `size` leaves; each once. */
export function tilesOf(ranges: readonly LeafRange[], size: number): TileId[] {
  const tiles = new Map<string, TileId>();
  for (const range of ranges) {
    for (const { level, index } of fullSubtrees(range)) {
      const { tileLevel, tile } = placeOf(level, index);
      const hashes = Math.floor(size / TILE_WIDTH ** tileLevel) - tile * TILE_WIDTH;
      tiles.set(key(tileLevel, tile), { level: tileLevel, index: tile, width: Math.min(TILE_WIDTH, hashes) });
    }
  }
  return [...tiles.values()];
}

/** Computes nodes and ranges from the tiles that were read. */
export class TileSet {
  readonly #tiles = new Map<string, Readonly<Uint8Array>>();
  readonly #node: ReturnType<typeof nodeHasher>;

  constructor(sha256: Sha256) {
    this.#node = nodeHasher(sha256);
  }

  /** Adds a tile, which may be wider than asked for. */
  add(level: number, index: number, data: Readonly<Uint8Array>): void {
    this.#tiles.set(key(level, index), data);
  }

  /** Root of a full subtree; undefined when the tile that holds it is missing or too short. */
  node(level: number, index: number): Uint8Array | undefined {
    const { tileLevel, tile, first, count } = placeOf(level, index);
    const data = this.#tiles.get(key(tileLevel, tile));
    if (data === undefined || data.length < (first + count) * HASH_LENGTH) return undefined;
    let row = Array.from({ length: count }, (_, n) =>
      data.subarray((first + n) * HASH_LENGTH, (first + n + 1) * HASH_LENGTH),
    );
    while (row.length > 1) {
      row = Array.from({ length: row.length / 2 }, (_, n) =>
        this.#node(row[2 * n] as Uint8Array, row[2 * n + 1] as Uint8Array),
      );
    }
    return row[0] === undefined ? undefined : Uint8Array.from(row[0]);
  }

  /** Roots of the full subtrees of a range, largest first; undefined when one is missing. */
  subtrees(range: LeafRange): Uint8Array[] | undefined {
    const roots = fullSubtrees(range).map(({ level, index }) => this.node(level, index));
    return roots.every((root) => root !== undefined) ? roots : undefined;
  }

  /** Merkle tree hash of a range; undefined when a tile is missing. */
  range(range: LeafRange): Uint8Array | undefined {
    return this.subtrees(range)?.reduceRight((hash, left) => this.#node(left, hash));
  }
}

function placeOf(level: number, index: number) {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const first = index * count;
  return { tileLevel, tile: Math.floor(first / TILE_WIDTH), first: first % TILE_WIDTH, count };
}

function key(level: number, index: number): string {
  return `${level}/${index}`;
}
