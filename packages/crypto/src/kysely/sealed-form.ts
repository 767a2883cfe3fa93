/**
 * Recognises values in sealed form, without opening them: what must not leave as if it were plaintext. Sealed bytes are
 * also known where PostgreSQL has written them as a text: `scan::text` and `to_jsonb(row)` give hex, `encode` what was
 * asked for.
 * Invariant: never decides that something is authentic, only that it may be ciphertext.
 */
import {
  FIELD_OVERHEAD_BYTES,
  FORMAT_VERSION,
  isSealedText,
  SUITE_FIELD,
  TEXT_PREFIX,
} from '../field-format.ts';

// The first 18 bytes of a message, version 1 and suite 1 in front, in base64url behind the prefix.
const SEALED_WITHIN = /rf1\.AQ[EFGH][A-Za-z0-9_-]{117,}/;
const HEAD_CHARS: number = TEXT_PREFIX.length + 24;

/** True for bytes that are long enough for a message and begin with its version and suite. */
export function isSealedBytes(value: Uint8Array): boolean {
  return value.length >= FIELD_OVERHEAD_BYTES && value[0] === FORMAT_VERSION && value[1] === SUITE_FIELD;
}

/** True for a text or bytes in sealed form that name one of these key ids. */
export function namesKey(value: unknown, keyIds: readonly string[]): boolean {
  if (typeof value === 'string') {
    if (!isSealedText(value) || !SEALED_WITHIN.test(value)) return false;
    return namesKey(
      Buffer.concat([
        Buffer.from(value.slice(TEXT_PREFIX.length, HEAD_CHARS), 'base64url'),
        Buffer.alloc(FIELD_OVERHEAD_BYTES),
      ]),
      keyIds,
    );
  }
  if (!(value instanceof Uint8Array) || !isSealedBytes(value)) return false;
  return keyIds.includes(Buffer.from(value.subarray(2, 18)).toString('hex'));
}

/** True when a value, or anything in it (JSON, arrays, composite texts), may be sealed. */
export function holdsSealed(value: unknown, keyIds: readonly string[], depth = 0): boolean {
  if (typeof value === 'string') {
    return isSealedText(value) || SEALED_WITHIN.test(value) || holdsEncodedHead(value, keyIds);
  }
  if (value === null || typeof value !== 'object') return false;
  if (value instanceof Uint8Array) return namesKey(value, keyIds);
  if (value instanceof Date) return false;
  if (depth > 64) return true; // too deep to look through: treated as sealed, not as clean
  return Object.entries(value).some(
    ([name, inner]) => holdsSealed(name, keyIds, depth + 1) || holdsSealed(inner, keyIds, depth + 1),
  );
}

/** True for a text with the head of a message of these keys in it: 18 bytes are whole units of hex and of base64. */
function holdsEncodedHead(text: string, keyIds: readonly string[]): boolean {
  if (text.length < FIELD_OVERHEAD_BYTES) return false;
  return keyIds.some((keyId) => {
    const head = Buffer.from([FORMAT_VERSION, SUITE_FIELD, ...Buffer.from(keyId, 'hex')]);
    return text.includes(head.toString('hex')) || text.includes(head.toString('base64'));
  });
}
