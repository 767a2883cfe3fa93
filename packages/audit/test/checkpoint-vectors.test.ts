/** The published vectors, against the generator, the package, and the page of the format. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CompactRange } from '../src/checkpoint/compact-range.ts';
import { deploymentLeaf } from '../src/checkpoint/index.ts';
import { consistencyPath, inclusionPath } from '../src/checkpoint/merkle-paths.ts';
import { TileSet, tilePath } from '../src/checkpoint/tiles.ts';
import { addCheckpointBody } from '../src/checkpoint/witness-client.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { openCheckpoint } from '../src/verify/checkpoint.ts';
import { fromHex } from '../src/verify/link.ts';
import { verifyConsistency, verifyInclusion } from '../src/verify/merkle-proof.ts';
import { parseVerifierKey } from '../src/verify/signed-note.ts';
import { type CheckpointVectors, checkpointVectors, VECTORS_PATH } from './checkpoint-vectors.ts';

const vectors: CheckpointVectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8'));
const PAGE = readFileSync(new URL('../../../docs/formats/audit-checkpoint-v1.md', import.meta.url), 'utf8');
const leaves = vectors.leaves.map(({ leaf }) => fromHex(leaf));
const rootOf = (size: number) => fromHex(vectors.roots[size]?.root ?? '');
const hex = (bytes: Readonly<Uint8Array>) => Buffer.from(bytes).toString('hex');

test('are what the generator writes', () => {
  expect(vectors).toEqual(checkpointVectors());
});

test('give the roots, proofs and tiles of the package', () => {
  const tree = new CompactRange(nodeSha256);
  for (const { root } of vectors.roots) {
    expect(hex(tree.root())).toBe(root);
    const leaf = leaves[tree.size];
    if (leaf !== undefined) tree.append(leaf);
  }
  const tiles = new TileSet(nodeSha256);
  tiles.add(0, 0, fromHex(vectors.tile.data));
  expect(tilePath({ level: 0, index: 0, width: 8 })).toBe(vectors.tile.path);
  for (const { index, size, proof } of vectors.inclusion) {
    expect(inclusionPath(index, size).map((range) => hex(tiles.range(range) ?? new Uint8Array()))).toEqual(
      proof,
    );
    const claim = { leaf: leaves[index] ?? new Uint8Array(), index, size, root: rootOf(size) };
    expect(verifyInclusion({ ...claim, proof: proof.map(fromHex) })).toBe(true);
  }
  for (const { oldSize, size, proof } of vectors.consistency) {
    expect(
      consistencyPath(oldSize, size).map((range) => hex(tiles.range(range) ?? new Uint8Array())),
    ).toEqual(proof);
    const claim = { oldSize, oldRoot: rootOf(oldSize), size, root: rootOf(size) };
    expect(verifyConsistency({ ...claim, proof: proof.map(fromHex) })).toBe(true);
  }
});

test('give the notes, cosignatures and requests of the package', async () => {
  const { log, witness, origin } = vectors;
  const [logKey, witnessKey] = [parseVerifierKey(log.verifierKey), parseVerifierKey(witness.verifierKey)];
  expect([hex(logKey.publicKey), hex(witnessKey.publicKey)]).toEqual([log.publicKey, witness.publicKey]);
  const trust = { origin, keys: [logKey], witnesses: [witnessKey], quorum: 1 };
  const opened = await openCheckpoint(log.note + witness.line, trust);
  expect(opened).toMatchObject({
    ok: true,
    checkpoint: { size: 8 },
    cosignatures: [{ timestamp: witness.time }],
  });
  const proof = vectors.consistency.find(({ oldSize }) => oldSize === 5)?.proof.map(fromHex) ?? [];
  expect(addCheckpointBody(5, proof, log.note)).toBe(witness.request);
  for (const { comment, note, reason } of vectors.refused) {
    expect([comment, await openCheckpoint(note, { ...trust, quorum: 0 })]).toEqual([
      comment,
      { ok: false, reason },
    ]);
  }
  const { salt, size, root, leaf } = vectors.deployment;
  expect(hex(deploymentLeaf({ org: vectors.org, size, root: fromHex(root), salt: fromHex(salt) }))).toBe(
    leaf,
  );
});

test('stand in the page of the format', () => {
  const { log, witness, deployment, roots } = vectors;
  const values = [
    vectors.leaves[7]?.leaf,
    roots[0]?.root,
    roots[5]?.root,
    roots[8]?.root,
    log.seed,
    log.publicKey,
    log.keyIdInput,
    log.keyId,
    log.verifierKey,
    log.note,
    log.signature,
    witness.seed,
    witness.verifierKey,
    witness.message,
    witness.line,
    witness.request,
    deployment.input,
    deployment.leaf,
    ...(vectors.consistency[3]?.proof ?? []),
  ];
  for (const value of values) expect(PAGE).toContain(value ?? 'missing');
});
