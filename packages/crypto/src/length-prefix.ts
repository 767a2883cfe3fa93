/**
 * Length-prefixed encoding of string and byte tuples: each part is preceded by its length in bytes as a big-endian u16,
 * so that two different tuples never encode to the same bytes ('ab','c' against 'a','bc').
 * Invariant: only well-formed Unicode is encoded; a lone surrogate would be replaced by UTF-8 and is refused instead.
 */

/** Longest part in bytes. Cell coordinates and ids are names, not content. */
export const MAX_PART_BYTES = 1024;

const encoder = new TextEncoder();

/** True when a string has no lone surrogate, so that UTF-8 keeps it as it is. */
export function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}

/** Encodes one part of a tuple in UTF-8 and refuses what cannot be encoded without change. */
export function encodePart(name: string, value: string): Uint8Array {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string`);
  if (value.length === 0) throw new TypeError(`${name} must not be empty`);
  if (!isWellFormed(value)) throw new TypeError(`${name} holds a lone surrogate`);
  const bytes = encoder.encode(value);
  if (bytes.length > MAX_PART_BYTES) throw new TypeError(`${name} is longer than ${MAX_PART_BYTES} bytes`);
  return bytes;
}

/** Concatenates parts, each behind its length as a big-endian u16. */
export function lengthPrefixed(...parts: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const part of parts) total += 2 + part.length;
  const out = new Uint8Array(total);
  let offset = 0;
  for (const part of parts) {
    if (part.length > 0xffff) throw new TypeError('a length-prefixed part is limited to 65535 bytes');
    out[offset] = part.length >>> 8;
    out[offset + 1] = part.length & 0xff;
    out.set(part, offset + 2);
    offset += 2 + part.length;
  }
  return out;
}

/** A 32-bit number as four big-endian bytes. */
export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}
