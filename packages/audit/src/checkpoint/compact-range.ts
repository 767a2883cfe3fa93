/**
 * The right edge of a Merkle tree (RFC 6962 §2.1): the roots of its full subtrees, largest first. Leaves are appended in
 * constant memory; every node that becomes complete is told to the caller, who stores what tiles need.
 */

import type { Sha256 } from '../verify/link.ts';
import { emptyRoot, nodeHasher } from '../verify/merkle-proof.ts';

/** Told of every node when its subtree is full: level 0 are leaves. */
export type NodeSeen = (level: number, index: number, hash: Readonly<Uint8Array>) => void;

/** A tree that grows. */
export class CompactRange {
  readonly #sha256: Sha256;
  readonly #node: ReturnType<typeof nodeHasher>;
  readonly #roots: Readonly<Uint8Array>[];
  #size: number;

  /** The empty tree, or one of `size` leaves whose full subtrees have these roots, largest first. */
  constructor(sha256: Sha256, size = 0, roots: readonly Readonly<Uint8Array>[] = []) {
    if (roots.length !== onesOf(size))
      throw new TypeError(`a tree of ${size} leaves has ${onesOf(size)} full subtrees`);
    this.#sha256 = sha256;
    this.#node = nodeHasher(sha256);
    this.#size = size;
    this.#roots = [...roots];
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends a leaf hash. */
  append(leaf: Readonly<Uint8Array>, seen?: NodeSeen): void {
    let index = this.#size;
    let hash = leaf;
    let level = 0;
    seen?.(0, index, hash);
    while (index % 2 === 1) {
      const left = this.#roots.pop();
      if (left === undefined) break;
      hash = this.#node(left, hash);
      index = (index - 1) / 2;
      level += 1;
      seen?.(level, index, hash);
    }
    this.#roots.push(hash);
    this.#size += 1;
  }

  /** Root of the tree. */
  root(): Uint8Array {
    const right = this.#roots.at(-1);
    if (right === undefined) return emptyRoot(this.#sha256);
    return this.#roots
      .slice(0, -1)
      .reduceRight<Uint8Array>((hash, left) => this.#node(left, hash), Uint8Array.from(right));
  }
}

function onesOf(size: number): number {
  let ones = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}
