/**
 * Proofs and checkpoints: bytes of an inclusion proof at ten million events, and what the tree and the chain walk of a
 * checkpoint cost for ten thousand new events, signature included, database not.
 */

import { generateKeyPairSync } from 'node:crypto';
import type { BenchCase } from '../../../tools/bench/suite.ts';
import { CompactRange } from '../src/checkpoint/compact-range.ts';
import { localSigner } from '../src/checkpoint/index.ts';
import { inclusionPath } from '../src/checkpoint/merkle-paths.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { TileSlices } from '../src/checkpoint/tile-store.ts';
import { TILE_WIDTH, TileSet, tilesOf } from '../src/checkpoint/tiles.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { formatCheckpoint } from '../src/verify/checkpoint.ts';
import { chainHasher, GENESIS, uuidBytes } from '../src/verify/link.ts';
import { verifyInclusion } from '../src/verify/merkle-proof.ts';

const EVENTS = 10_000_000;
const NEW_EVENTS = 10_000;

function leafOf(n: number): Uint8Array {
  const block = new Uint8Array(9);
  new DataView(block.buffer).setUint32(1, n);
  return nodeSha256(block);
}

/** A tree of ten million leaves; the tiles that prove one of them are all that is kept. */
function proofOf(index: number): number {
  const path = inclusionPath(index, EVENTS);
  const wanted = new Map(
    tilesOf([...path, { start: index, end: index + 1 }], EVENTS).map((tile) => [
      `${tile.level}/${tile.index}`,
      { ...tile, data: new Uint8Array(tile.width * 32) },
    ]),
  );
  const tree = new CompactRange(nodeSha256);
  for (let n = 0; n < EVENTS; n++) {
    tree.append(leafOf(n), (level, place, node) => {
      if (level % 8 !== 0) return;
      const tile = wanted.get(`${level / 8}/${Math.floor(place / TILE_WIDTH)}`);
      tile?.data.set(node, (place % TILE_WIDTH) * 32);
    });
  }
  const tiles = new TileSet(nodeSha256);
  for (const { level, index: place, data } of wanted.values()) tiles.add(level, place, data);
  const proof = path.map((range) => tiles.range(range) ?? new Uint8Array());
  const claim = { leaf: leafOf(index), index, size: EVENTS, root: tree.root(), proof };
  if (!verifyInclusion(claim)) throw new Error('the proof does not hold');
  return proof.reduce((bytes, hash) => bytes + hash.length, 0);
}

/** The cases of proofs, for the suite. */
export const proofCases: readonly BenchCase[] = [
  {
    id: 'proof-10m',
    unit: 'bytes',
    rounds: 1,
    long: true,
    prepare: async () => {
      // The longest of three is the value: the first leaf, one in the middle, one at the ragged end.
      const longest = Math.max(...[0, 6_543_210, EVENTS - 1].map(proofOf));
      return { subjects: [{ name: 'ringfence', measure: async () => longest }], close: async () => {} };
    },
  },
  {
    id: 'checkpoint-10k',
    unit: 'ms',
    prepare: async () => {
      const signer = localSigner({
        name: 'ledger.example/audit',
        privateKey: generateKeyPairSync('ed25519').privateKey,
      });
      const leaves = Array.from({ length: NEW_EVENTS }, (_, n) => leafOf(n));
      const hasher = chainHasher(uuidBytes('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'), nodeSha256);
      const measure = async () => {
        const { user, system } = process.cpuUsage();
        const tree = new CompactRange(nodeSha256);
        const slices = new TileSlices();
        let link: Readonly<Uint8Array> = GENESIS;
        for (const leaf of leaves) {
          link = hasher.link(tree.size + 1, link, leaf);
          tree.append(leaf, slices.seen);
        }
        const origin = 'ledger.example/audit/0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
        await signNote(formatCheckpoint({ origin, size: tree.size, root: tree.root() }), signer);
        const used = process.cpuUsage({ user, system });
        return (used.user + used.system) / 1_000;
      };
      return { subjects: [{ name: 'ringfence', measure }], close: async () => {} };
    },
  },
];

if (import.meta.main) {
  for (const { id, unit, prepare } of proofCases) {
    const { subjects } = await prepare();
    const values: number[] = [];
    for (let round = 0; round < 9; round++) values.push((await subjects[0]?.measure()) ?? 0);
    console.log(`${id} ${values.toSorted((a, b) => a - b)[4]?.toFixed(1)} ${unit}`);
  }
}
