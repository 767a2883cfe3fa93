/**
 * SHA-256 (FIPS 180-4) of @noble/hashes for many short inputs, as a walk over a chain makes them. A state for each input
 * costs as much as a block of hashing; here one state is set back to its beginning. Browser-safe.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import type { Sha256 } from './link.ts';

/** A SHA-256 with a state of its own. Each digest is new: callers keep them. */
export function nobleSha256(): Sha256 {
  const beginning = sha256.create();
  const state = sha256.create();
  return (bytes) => {
    const digest = new Uint8Array(32);
    beginning._cloneInto(state).update(bytes).digestInto(digest);
    return digest;
  };
}
