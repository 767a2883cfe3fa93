/**
 * Verifies proofs of a Merkle tree: that a leaf stands in a tree (RFC 9162 §2.1.3.2) and that one tree is the beginning of
 * another (§2.1.4.2). Nodes are SHA-256(0x01 || left || right), as in RFC 6962.
 *
 * Invariant: never throws; whatever is not a proof of exactly this claim is false. Browser-safe.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { type Sha256, sameBytes } from './link.ts';

/** Bytes of a hash. */
export const HASH_LENGTH = 32;
/** A proof is never longer: one hash per level of a tree of 2^53 leaves, and one more for consistency. */
const MOST_HASHES = 63;

/** That a leaf stands at a place of a tree. */
export interface InclusionClaim {
  /** Hash of the leaf, 32 bytes. */
  readonly leaf: Readonly<Uint8Array>;
  /** Place of the leaf, from 0: an event's `seq` less one. */
  readonly index: number;
  /** Leaves of the tree. */
  readonly size: number;
  /** Root of the tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** Hashes from the leaf's sibling upwards, 32 bytes each. */
  readonly proof: readonly Readonly<Uint8Array>[];
}

/** That the first `oldSize` leaves of a tree are the whole older tree. */
export interface ConsistencyClaim {
  /** Leaves of the older tree. */
  readonly oldSize: number;
  /** Root of the older tree, 32 bytes. */
  readonly oldRoot: Readonly<Uint8Array>;
  /** Leaves of the newer tree. */
  readonly size: number;
  /** Root of the newer tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** Hashes of the proof, 32 bytes each; empty from an empty tree and between equal sizes. */
  readonly proof: readonly Readonly<Uint8Array>[];
}

/** Makes the function that hashes two nodes into the one above them. */
export function nodeHasher(
  sha256: Sha256,
): (left: Readonly<Uint8Array>, right: Readonly<Uint8Array>) => Uint8Array {
  const block = new Uint8Array(1 + 2 * HASH_LENGTH);
  block[0] = 0x01;
  return (left, right) => {
    block.set(left, 1);
    block.set(right, 1 + HASH_LENGTH);
    return sha256(block);
  };
}

/** The root of a tree without leaves: SHA-256 of nothing. */
export function emptyRoot(sha256: Sha256 = nobleSha256): Uint8Array {
  return sha256(new Uint8Array());
}

/**
 * Whether the leaf stands at `index` of the tree with that root.
 *
 * @example
 * ```ts
 * const proven = verifyInclusion({ leaf, index: seq - 1, size, root, proof });
 * ```
 */
export function verifyInclusion(claim: InclusionClaim, sha256: Sha256 = nobleSha256): boolean {
  const { leaf, index, size, root, proof } = claim;
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  if (!isHash(leaf) || !isHash(root) || !isProof(proof)) return false;
  const node = nodeHasher(sha256);
  let at = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (isOdd(at) || at === last) {
      hash = node(sibling, hash);
      while (!isOdd(at) && at !== 0) {
        at = half(at);
        last = half(last);
      }
    } else {
      hash = node(hash, sibling);
    }
    at = half(at);
    last = half(last);
  }
  return last === 0 && sameBytes(hash, root);
}

/** Whether the older tree is the beginning of the newer one. */
export function verifyConsistency(claim: ConsistencyClaim, sha256: Sha256 = nobleSha256): boolean {
  const { oldSize, oldRoot, size, root, proof } = claim;
  if (!isSize(oldSize) || !isSize(size) || oldSize > size) return false;
  if (!isHash(oldRoot) || !isHash(root) || !isProof(proof)) return false;
  if (size === 0 && !sameBytes(root, emptyRoot(sha256))) return false;
  if (oldSize === size) return proof.length === 0 && sameBytes(oldRoot, root);
  if (oldSize === 0) return proof.length === 0 && sameBytes(oldRoot, emptyRoot(sha256));
  let at = oldSize - 1;
  let last = size - 1;
  while (isOdd(at)) {
    at = half(at);
    last = half(last);
  }
  // An older tree that is one full subtree is itself the first node: the proof leaves it out.
  const [first, ...rest] = at === 0 ? [oldRoot, ...proof] : proof;
  if (first === undefined) return false;
  const node = nodeHasher(sha256);
  let older = first;
  let newer = first;
  for (const hash of rest) {
    if (last === 0) return false;
    if (isOdd(at) || at === last) {
      older = node(hash, older);
      newer = node(hash, newer);
      while (!isOdd(at) && at !== 0) {
        at = half(at);
        last = half(last);
      }
    } else {
      newer = node(newer, hash);
    }
    at = half(at);
    last = half(last);
  }
  return last === 0 && sameBytes(older, oldRoot) && sameBytes(newer, root);
}

/** Not bitwise: a size may be over 2^31. */
function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isHash(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === HASH_LENGTH;
}

function isProof(value: unknown): boolean {
  return Array.isArray(value) && value.length <= MOST_HASHES && value.every(isHash);
}
