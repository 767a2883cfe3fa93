/** The tree against a second, naive implementation that follows RFC 6962 word by word. */
import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { CompactRange } from '../src/checkpoint/compact-range.ts';
import { consistencyPath, inclusionPath } from '../src/checkpoint/merkle-paths.ts';
import {
  edgeTiles,
  type LeafRange,
  TILE_WIDTH,
  TileSet,
  tilePath,
  tilesOf,
} from '../src/checkpoint/tiles.ts';
import { verifyConsistency, verifyInclusion } from '../src/verify/merkle-proof.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');
const leafOf = (n: number) => sha256(Uint8Array.of(0, n >> 16, n >> 8, n));
const LEAVES = Array.from({ length: 70_000 }, (_, n) => leafOf(n));

const below = (n: number): number => 2 ** Math.floor(Math.log2(n - 1));
const known = new Map<string, Uint8Array>();

function mth(start: number, end: number): Uint8Array {
  const n = end - start;
  if (n === 0) return sha256(new Uint8Array());
  if (n === 1) return LEAVES[start] as Uint8Array;
  const key = `${start}-${end}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const middle = start + below(n);
  const result = sha256(Uint8Array.of(1, ...mth(start, middle), ...mth(middle, end)));
  known.set(key, result);
  return result;
}

function path(m: number, start: number, end: number): Uint8Array[] {
  const n = end - start;
  if (n === 1) return [];
  const k = below(n);
  return m < k
    ? [...path(m, start, start + k), mth(start + k, end)]
    : [...path(m - k, start + k, end), mth(start, start + k)];
}

function subproof(m: number, start: number, end: number, complete: boolean): Uint8Array[] {
  const n = end - start;
  if (m === n) return complete ? [] : [mth(start, end)];
  const k = below(n);
  return m <= k
    ? [...subproof(m, start, start + k, complete), mth(start + k, end)]
    : [...subproof(m - k, start + k, end, false), mth(start, start + k)];
}

/** Tiles of the first `size` leaves, as a store would keep them. */
function store(size: number): Map<string, Uint8Array> {
  const hashes = new Map<string, Uint8Array[]>();
  const tree = new CompactRange(sha256);
  for (const leaf of LEAVES.slice(0, size)) {
    tree.append(leaf, (level, index, node) => {
      if (level % 8 !== 0) return;
      const key = `${level / 8}/${Math.floor(index / TILE_WIDTH)}`;
      hashes.set(key, [...(hashes.get(key) ?? []), Uint8Array.from(node)]);
    });
  }
  return new Map([...hashes].map(([key, list]) => [key, Uint8Array.from(list.flatMap((one) => [...one]))]));
}

function prove(tiles: Map<string, Uint8Array>, ranges: LeafRange[], size: number): Uint8Array[] {
  const set = new TileSet(sha256);
  for (const { level, index, width } of tilesOf(ranges, size)) {
    const data = tiles.get(`${level}/${index}`);
    if (data === undefined) throw new Error(`tile ${level}/${index} is not stored`);
    set.add(level, index, data.subarray(0, width * 32));
  }
  return ranges.map((range) => set.range(range) ?? new Uint8Array());
}

const hex = (hashes: readonly Uint8Array[]) => hashes.map((one) => Buffer.from(one).toString('hex'));

test('appending gives the root of RFC 6962 for every size from 0 to 300', () => {
  const tree = new CompactRange(sha256);
  for (let size = 0; size <= 300; size++) {
    expect(hex([tree.root()])).toEqual(hex([mth(0, size)]));
    tree.append(LEAVES[size] as Uint8Array);
  }
});

/** Plain comparisons: ten thousand pairs are compared below. */
function same(found: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  if (Buffer.compare(Buffer.concat(found), Buffer.concat(expected)) !== 0) throw new Error('another proof');
}

function holds(verdict: boolean): void {
  if (!verdict) throw new Error('an honest proof was refused');
}

test('proofs made from tiles are those of the recursive definition, and verify, for all sizes to 100', () => {
  for (let size = 1; size <= 100; size++) {
    const tiles = store(size);
    const root = mth(0, size);
    for (let index = 0; index < size; index++) {
      const proof = prove(tiles, inclusionPath(index, size), size);
      same(proof, path(index, 0, size));
      holds(verifyInclusion({ leaf: LEAVES[index] as Uint8Array, index, size, root, proof }, sha256));
    }
    for (let oldSize = 0; oldSize <= size; oldSize++) {
      const proof = prove(tiles, consistencyPath(oldSize, size), size);
      same(proof, oldSize === 0 ? [] : subproof(oldSize, 0, size, true));
      holds(verifyConsistency({ oldSize, oldRoot: mth(0, oldSize), size, root, proof }, sha256));
    }
  }
});

test('the same over several levels of tiles', () => {
  const tiles = store(70_000);
  const sizes = fc.integer({ min: 200, max: 70_000 });
  fc.assert(
    fc.property(sizes, sizes, fc.nat(), (a, b, at) => {
      const [oldSize, size] = [Math.min(a, b), Math.max(a, b)];
      const index = at % size;
      const root = mth(0, size);
      const inclusion = prove(tiles, inclusionPath(index, size), size);
      const consistency = prove(tiles, consistencyPath(oldSize, size), size);
      expect(hex(inclusion)).toEqual(hex(path(index, 0, size)));
      const leaf = LEAVES[index] as Uint8Array;
      expect(verifyInclusion({ leaf, index, size, root, proof: inclusion })).toBe(true);
      expect(verifyConsistency({ oldSize, oldRoot: mth(0, oldSize), size, root, proof: consistency })).toBe(
        true,
      );
    }),
    { numRuns: 60 },
  );
});

test('appending goes on from the partial tiles at the right edge alone', () => {
  const tiles = store(70_000);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 69_000 }), fc.integer({ min: 0, max: 600 }), (size, more) => {
      const set = new TileSet(sha256);
      for (const { level, index, width } of edgeTiles(size)) {
        set.add(level, index, tiles.get(`${level}/${index}`)?.subarray(0, width * 32) ?? new Uint8Array());
      }
      const tree = new CompactRange(sha256, size, set.subtrees({ start: 0, end: size }) ?? []);
      expect(hex([tree.root()])).toEqual(hex([mth(0, size)]));
      for (const leaf of LEAVES.slice(size, size + more)) tree.append(leaf);
      expect(hex([tree.root()])).toEqual(hex([mth(0, size + more)]));
    }),
    { numRuns: 40 },
  );
});

test('refuses a proof with any bit changed, of a proof of every size to 40', () => {
  for (let size = 2; size <= 40; size++) {
    const root = mth(0, size);
    const index = ((size * 7) % 5) % size;
    const oldSize = 1 + ((size * 5) % (size - 1));
    const claims = [
      (proof: Uint8Array[]) =>
        verifyInclusion({ leaf: LEAVES[index] as Uint8Array, index, size, root, proof }, sha256),
      (proof: Uint8Array[]) =>
        verifyConsistency({ oldSize, oldRoot: mth(0, oldSize), size, root, proof }, sha256),
    ];
    for (const [n, proof] of [path(index, 0, size), subproof(oldSize, 0, size, true)].entries()) {
      const holds = claims[n] as (proof: Uint8Array[]) => boolean;
      expect(holds(proof)).toBe(true);
      for (let bit = 0; bit < proof.length * 256; bit++) {
        const copy = proof.map((one) => Uint8Array.from(one));
        const changed = copy[bit >> 8] as Uint8Array;
        changed[(bit & 255) >> 3] = (changed[(bit & 255) >> 3] as number) ^ (1 << (bit & 7));
        if (holds(copy)) throw new Error(`size ${size}: bit ${bit} is not checked`);
      }
      expect(holds(proof.slice(1))).toBe(false);
      expect(holds(proof.slice(0, -1))).toBe(false);
      expect(holds([...proof, root])).toBe(false);
    }
  }
});

test('refuses a proof for another leaf, place, size or root', () => {
  for (let size = 2; size <= 33; size++) {
    const root = mth(0, size);
    for (let index = 0; index < size; index++) {
      const proof = path(index, 0, size);
      const leaf = LEAVES[index] as Uint8Array;
      for (let other = 0; other < size; other++) {
        if (other === index) continue;
        expect(verifyInclusion({ leaf, index: other, size, root, proof }, sha256)).toBe(false);
        const wrong = LEAVES[other] as Uint8Array;
        expect(verifyInclusion({ leaf: wrong, index, size, root, proof }, sha256)).toBe(false);
      }
      expect(verifyInclusion({ leaf, index, size, root: mth(0, size - 1), proof }, sha256)).toBe(false);
    }
    for (let oldSize = 1; oldSize < size; oldSize++) {
      const proof = subproof(oldSize, 0, size, true);
      const claim = { oldSize, oldRoot: mth(0, oldSize), size, root, proof };
      expect(verifyConsistency({ ...claim, oldRoot: mth(1, oldSize + 1) }, sha256)).toBe(false);
      expect(verifyConsistency({ ...claim, root: mth(1, size + 1) }, sha256)).toBe(false);
      expect(verifyConsistency({ ...claim, root: claim.oldRoot }, sha256)).toBe(false);
    }
  }
});

test('answers false, never an error, to claims of the wrong shape', () => {
  const root = mth(0, 5);
  const good = { leaf: LEAVES[1] as Uint8Array, index: 1, size: 5, root, proof: path(1, 0, 5) };
  const grown = { oldSize: 3, oldRoot: mth(0, 3), size: 5, root, proof: subproof(3, 0, 5, true) };
  for (const bad of [-1, 0.5, 2 ** 53, Number.NaN, '1', null, undefined, 5n]) {
    expect(verifyInclusion({ ...good, index: bad as number })).toBe(false);
    expect(verifyInclusion({ ...good, size: bad as number })).toBe(false);
    expect(verifyConsistency({ ...grown, oldSize: bad as number })).toBe(false);
    expect(verifyConsistency({ ...grown, size: bad as number })).toBe(false);
  }
  for (const bad of [new Uint8Array(31), new Uint8Array(33), 'root', null, undefined, {}]) {
    expect(verifyInclusion({ ...good, leaf: bad as Uint8Array })).toBe(false);
    expect(verifyInclusion({ ...good, root: bad as Uint8Array })).toBe(false);
    expect(verifyInclusion({ ...good, proof: [bad] as Uint8Array[] })).toBe(false);
    expect(verifyInclusion({ ...good, proof: bad as unknown as Uint8Array[] })).toBe(false);
    expect(verifyConsistency({ ...grown, oldRoot: bad as Uint8Array })).toBe(false);
    expect(verifyConsistency({ ...grown, root: bad as Uint8Array })).toBe(false);
  }
  const empty = sha256(new Uint8Array());
  expect(verifyConsistency({ oldSize: 0, oldRoot: empty, size: 5, root, proof: [] })).toBe(true);
  expect(verifyConsistency({ oldSize: 0, oldRoot: root, size: 5, root, proof: [] })).toBe(false);
  expect(verifyConsistency({ oldSize: 0, oldRoot: empty, size: 5, root, proof: [root] })).toBe(false);
  expect(verifyConsistency({ oldSize: 0, oldRoot: root, size: 0, root, proof: [] })).toBe(false);
  expect(verifyInclusion({ ...good, index: 0, size: 1, root: good.leaf, proof: [] })).toBe(true);
  expect(verifyInclusion({ ...good, proof: Array.from({ length: 64 }, () => root) })).toBe(false);
});

test('names tiles as c2sp.org/tlog-tiles does', () => {
  expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067');
  expect(tilePath({ level: 1, index: 0, width: 17 })).toBe('tile/1/000.p/17');
  expect(edgeTiles(70_000)).toEqual([
    { level: 0, index: 273, width: 112 },
    { level: 1, index: 1, width: 17 },
    { level: 2, index: 0, width: 1 },
  ]);
  expect(edgeTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
  expect(() => new CompactRange(sha256, 3, [])).toThrow(TypeError);
});
