/** Forges wraps as an attacker with write access to the key store would: parts exchanged, digest made right again. */
import { createHash } from 'node:crypto';

const DIGEST_BYTES = 8;

/** Header (KEK version and KMS ciphertext) of `donor`, sealed key of `own`. */
export function splice(own: Uint8Array, donor: Uint8Array): Uint8Array {
  const header = donor.subarray(0, headerEnd(donor));
  const sealed = own.subarray(headerEnd(own), own.length - DIGEST_BYTES);
  return withDigest(Buffer.concat([header, sealed]));
}

/** A wrap with some of its body changed and the digest recomputed. */
export function altered(wrapped: Uint8Array, change: (body: Buffer) => Uint8Array): Uint8Array {
  return withDigest(change(Buffer.from(wrapped.subarray(0, wrapped.length - DIGEST_BYTES))));
}

/** Offset at which the sealed key begins. */
export function headerEnd(wrapped: Uint8Array): number {
  const view = Buffer.from(wrapped);
  const ciphertextAt = 3 + view.readUInt16BE(1);
  return ciphertextAt + 2 + view.readUInt16BE(ciphertextAt);
}

function withDigest(body: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update(body).digest().subarray(0, DIGEST_BYTES);
  return Uint8Array.from(Buffer.concat([body, digest]));
}
