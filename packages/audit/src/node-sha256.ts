/** SHA-256 of Node as the verifier takes it. The digest comes as text: a buffer for each costs more than the hash itself. */
import { hash } from 'node:crypto';
import type { InPlaceSha256 } from './verify/link.ts';

const LENGTH = 32;

function into(bytes: Uint8Array, out: Uint8Array, at: number): void {
  const text = hash('sha256', bytes, 'utf16le');
  for (let index = 0; index < LENGTH / 2; index++) {
    const two = text.charCodeAt(index);
    out[at + 2 * index] = two;
    out[at + 2 * index + 1] = two >>> 8;
  }
}

/** SHA-256 of some bytes, 32 bytes. */
export const nodeSha256: InPlaceSha256 = Object.assign(
  (bytes: Uint8Array): Uint8Array => {
    const digest = new Uint8Array(LENGTH);
    into(bytes, digest, 0);
    return digest;
  },
  { into },
);
