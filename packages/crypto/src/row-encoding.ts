/**
 * Encoding of a row's fields as one plaintext: u16 count, then per field u16 name length, name, u32 value length, value;
 * all numbers big-endian, all strings UTF-8. Sealing ten fields so costs little more than sealing one.
 * Invariant: one encoding has one reading; duplicates, left-over bytes and bad UTF-8 are refused.
 */
import { RingfenceCryptoError } from './errors.ts';
import { FIELD_MAX_PLAINTEXT_BYTES } from './field-format.ts';
import { isWellFormed, MAX_PART_BYTES } from './length-prefix.ts';

const MAX_FIELDS = 1024;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Encodes a row; the caller wipes the result after sealing it. */
export function encodeRow(fields: Readonly<Record<string, string>>): Uint8Array {
  const entries = Object.entries(fields); // one read of each value: a getter must not answer twice
  if (entries.length > MAX_FIELDS) throw new TypeError(`a sealed row has at most ${MAX_FIELDS} fields`);
  let size = 2;
  for (const [name, value] of entries) {
    if (typeof value !== 'string') throw new TypeError('a sealed row holds strings only');
    if (!isWellFormed(name) || !isWellFormed(value)) {
      throw new TypeError('a field of the row holds a lone surrogate');
    }
    const nameBytes = Buffer.byteLength(name);
    if (nameBytes > MAX_PART_BYTES)
      throw new TypeError(`a field name is longer than ${MAX_PART_BYTES} bytes`);
    size += 6 + nameBytes + Buffer.byteLength(value);
  }
  if (size > FIELD_MAX_PLAINTEXT_BYTES) throw tooLarge();
  const out = Buffer.allocUnsafeSlow(size); // filled to the last byte below; not from the shared pool
  let at = out.writeUInt16BE(entries.length, 0);
  for (const [name, value] of entries) {
    const nameBytes = out.write(name, at + 2);
    at = out.writeUInt16BE(nameBytes, at) + nameBytes;
    const valueBytes = out.write(value, at + 4);
    at = out.writeUInt32BE(valueBytes, at) + valueBytes;
  }
  return out;
}

/** Decodes an authenticated row. */
export function decodeRow(bytes: Uint8Array): Record<string, string> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = new Map<string, string>();
  try {
    const count = view.getUint16(0);
    let at = 2;
    const take = (length: number): string => {
      if (at + length > bytes.length) throw new RangeError();
      at += length;
      return decoder.decode(bytes.subarray(at - length, at));
    };
    for (let i = 0; i < count; i += 1) {
      const nameLength = view.getUint16(at);
      at += 2;
      const name = take(nameLength);
      const valueLength = view.getUint32(at);
      at += 4;
      if (fields.has(name)) throw new RangeError();
      fields.set(name, take(valueLength));
    }
    if (at !== bytes.length) throw new RangeError();
  } catch {
    throw new RingfenceCryptoError('crypto.malformed_message', 'the opened content is no encoded row');
  }
  return Object.fromEntries(fields); // defines own properties, so a field named __proto__ stays a field
}

/** Content beyond the limit of a field message. */
export function tooLarge(): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.message_too_large',
    `a field message holds at most ${FIELD_MAX_PLAINTEXT_BYTES} bytes; seal larger content as a file`,
  );
}
