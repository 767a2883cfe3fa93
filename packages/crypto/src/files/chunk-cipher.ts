/**
 * Seals and opens single chunks: C2SP chunked-encryption, "AEAD usage". AES-256-GCM, empty AAD, nonce = base nonce XOR
 * chunk number (big-endian). Invariant: the plaintext of a chunk is returned only after its tag has been checked; where
 * it fails, what was decrypted is wiped.
 *
 * The key is a `KeyObject`: `createCipheriv` with key bytes costs ten times as much on Node 24.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { decryptFailed, fileTooLarge } from './failures.ts';
import { MAX_CHUNKS, TAG_BYTES } from './file-format.ts';
import type { MessageKey } from './message-key.ts';

const ALGORITHM = 'aes-256-gcm';
const TAG_LENGTH = { authTagLength: TAG_BYTES };

/** Writes the nonce of a chunk into `nonce`, 12 bytes, and returns it. */
export function chunkNonce(baseNonce: Uint8Array, chunk: number, nonce: Uint8Array): Uint8Array {
  nonce.set(baseNonce);
  // `>>>` works on 32 bits of the number's 38, so its fifth byte is split off by division.
  nonce[7] = (nonce[7] as number) ^ Math.floor(chunk / 2 ** 32);
  nonce[8] = (nonce[8] as number) ^ (chunk >>> 24);
  nonce[9] = (nonce[9] as number) ^ (chunk >>> 16);
  nonce[10] = (nonce[10] as number) ^ (chunk >>> 8);
  nonce[11] = (nonce[11] as number) ^ chunk;
  return nonce;
}

/** Seals one chunk: hands ciphertext and tag to `emit`, one after the other, which spares joining them. */
export function sealChunk(
  message: MessageKey,
  chunk: number,
  plaintext: Uint8Array,
  emit: (bytes: Uint8Array) => void,
): void {
  if (chunk >= MAX_CHUNKS) throw fileTooLarge(message.org);
  const cipher = createCipheriv(
    ALGORITHM,
    message.key,
    chunkNonce(message.baseNonce, chunk, message.nonce),
    TAG_LENGTH,
  );
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  if (ciphertext.length > 0) emit(ciphertext);
  emit(cipher.getAuthTag());
}

/** Opens one chunk: ciphertext with its tag behind it, at least 16 bytes. */
export function openChunk(message: MessageKey, chunk: number, sealed: Uint8Array): Uint8Array {
  if (chunk >= MAX_CHUNKS) throw fileTooLarge(message.org);
  const end = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(
    ALGORITHM,
    message.key,
    chunkNonce(message.baseNonce, chunk, message.nonce),
    TAG_LENGTH,
  );
  decipher.setAuthTag(sealed.subarray(end));
  const plaintext = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    message.meter?.failed();
    throw decryptFailed(message.org, message.keyId);
  }
  return plaintext;
}
