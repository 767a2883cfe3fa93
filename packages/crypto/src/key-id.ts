/**
 * The key id: 16 random bytes that name a data-key version in every message header, 32 lower-case hex digits as text.
 * It is public: it says which key a message needs, and lets SQL count what a version still holds.
 */

const KEY_ID = /^[0-9a-f]{32}$/;

/** Bytes of a key id written as 32 lower-case hex digits. */
export function keyIdBytes(keyId: string): Uint8Array {
  if (!KEY_ID.test(keyId)) throw new TypeError('not a key id: expected 32 lower-case hex digits');
  return Uint8Array.from(Buffer.from(keyId, 'hex'));
}

/** A key id of 16 bytes as 32 lower-case hex digits. */
export function keyIdText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
