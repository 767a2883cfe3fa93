/**
 * UUID version 7 (RFC 9562 §5.7): 48 bits of Unix time in ms, then 74 random bits. The time only keeps an index compact;
 * the time of record is the server's.
 */

/** Returns `length` random bytes from a cryptographic source. */
export type RandomBytes = (length: number) => Uint8Array;

/** Makes a UUIDv7 as a lower-case string of 36 characters. */
export function newEventId(nowMs: number, random: RandomBytes): string {
  const bytes = new Uint8Array(16);
  bytes.set(random(10), 6);
  new DataView(bytes.buffer).setUint16(0, Math.floor(nowMs / 0x1_0000_0000));
  new DataView(bytes.buffer).setUint32(2, Math.floor(nowMs) % 0x1_0000_0000);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  let hex = '';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Random bytes of the platform's cryptographic source. */
export function platformRandom(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}
