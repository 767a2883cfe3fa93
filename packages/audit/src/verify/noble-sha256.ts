/**
 * SHA-256 (FIPS 180-4) of @noble/hashes for many short inputs, as a walk over a chain makes them. A state for each input
 * costs as much as a block of hashing, and so does what `update` and `digest` prepare for inputs in pieces; here one state is
 * set back to its beginning, and takes whole blocks. The compression is noble's. Browser-safe.
 */
import { _SHA256 } from '@noble/hashes/sha2.js';
import type { InPlaceSha256 } from './link.ts';

const BLOCK = 64;
/** Where the length stands in the last block, in bits, big-endian. */
const LENGTH_AT = 56;

class WholeSha256 extends _SHA256 {
  readonly #beginning = this.get();
  /** What is left behind the last whole block, with its padding. */
  readonly #rest = new Uint8Array(2 * BLOCK);
  readonly #restView = new DataView(this.#rest.buffer);

  /** Writes the digest of `bytes` to `out` from `at` on. */
  readonly into = (bytes: Uint8Array, out: Uint8Array, at: number): void => {
    const { length } = bytes;
    this.set(...this.#beginning);
    let from = 0;
    if (length >= BLOCK) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, length);
      for (; from + BLOCK <= length; from += BLOCK) this.process(view, from);
    }
    const rest = this.#rest;
    const restLength = length - from;
    for (let index = 0; index < restLength; index++) rest[index] = bytes[from + index] as number;
    rest[restLength] = 0x80;
    const end = restLength < LENGTH_AT ? BLOCK : 2 * BLOCK;
    rest.fill(0, restLength + 1, end);
    const view = this.#restView;
    view.setUint32(end - 8, Math.floor(length / 0x2000_0000));
    view.setUint32(end - 4, length << 3);
    this.process(view, 0);
    if (end > BLOCK) this.process(view, BLOCK);
    const words = this.get();
    for (let index = 0; index < words.length; index++) {
      const word = words[index] as number;
      const to = at + 4 * index;
      out[to] = word >>> 24;
      out[to + 1] = word >>> 16;
      out[to + 2] = word >>> 8;
      out[to + 3] = word;
    }
  };
}

/** A SHA-256 with a state of its own. Each digest is new: callers keep them. */
export function nobleSha256(): InPlaceSha256 {
  const { into } = new WholeSha256();
  const sha256 = (bytes: Uint8Array) => {
    const digest = new Uint8Array(32);
    into(bytes, digest, 0);
    return digest;
  };
  return Object.assign(sha256, { into });
}
