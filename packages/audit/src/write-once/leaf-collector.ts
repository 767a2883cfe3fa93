/** Leaf hashes of what a verifier reads, without hashing anything twice: it hashes each record once, as a leaf of the tree. */
import { nodeSha256 } from '../node-sha256.ts';
import type { Sha256 } from '../verify/link.ts';

/** First byte of what a leaf is the hash of (RFC 6962 §2.1). */
const LEAF = 0;

/** A SHA-256 to verify with, and the leaves it has hashed so far, in order. */
export function leafCollector(): { readonly sha256: Sha256; readonly leaves: Uint8Array[] } {
  const leaves: Uint8Array[] = [];
  const sha256 = (bytes: Uint8Array): Uint8Array => {
    const digest = nodeSha256(bytes);
    if (bytes[0] === LEAF) leaves.push(digest);
    return digest;
  };
  return { sha256, leaves };
}
