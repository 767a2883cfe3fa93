/**
 * Which parts of a tree a proof names: PATH (RFC 6962 §2.1.1) and PROOF (§2.1.2) as ranges of leaves, whose hashes are
 * then computed from tiles.
 */
import type { LeafRange } from './tiles.ts';

/** Ranges of the proof that leaf `index` stands in a tree of `size` leaves, from the leaf upwards. */
export function inclusionPath(index: number, size: number): LeafRange[] {
  const path: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + largestPowerBelow(end - start);
    if (index < middle) {
      path.unshift({ start: middle, end });
      end = middle;
    } else {
      path.unshift({ start, end: middle });
      start = middle;
    }
  }
  return path;
}

/** Ranges of the proof that the first `oldSize` leaves of a tree of `size` leaves are the older tree. */
export function consistencyPath(oldSize: number, size: number): LeafRange[] {
  if (oldSize === 0 || oldSize === size) return [];
  const path: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end !== oldSize) {
    const middle = start + largestPowerBelow(end - start);
    if (oldSize <= middle) {
      path.unshift({ start: middle, end });
      end = middle;
    } else {
      path.unshift({ start, end: middle });
      start = middle;
    }
  }
  // The whole older tree is known to who has its root; a part of it is not.
  if (start > 0) path.unshift({ start, end });
  return path;
}

/** The largest power of two below n, n > 1. */
function largestPowerBelow(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}
