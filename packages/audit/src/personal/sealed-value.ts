/**
 * The plaintext that is sealed for one field (docs/formats/audit-personal-v1.md §3):
 *
 *     salt (32 bytes) || be32(n) || value (n bytes) || zero bytes up to a multiple of 64
 *
 * Padded, because the length of a ciphertext would tell a yes from a no.
 */
import { RingfenceAuditError } from '../errors.ts';
import { SALT_BYTES } from '../verify/disclosure.ts';

/** Largest canonical value of one field, bytes of UTF-8. */
export const MAX_VALUE_BYTES = 65_536;
const BLOCK = 64;
const HEAD = SALT_BYTES + 4;

/** A salt and the canonical text it hides. */
export interface SaltedValue {
  /** 32 random bytes. */
  readonly salt: Uint8Array;
  /** Canonical text of the value. */
  readonly value: string;
}

/**
 * The plaintext of a value.
 *
 * @throws RingfenceAuditError `audit.event_too_large`.
 */
export function encodeValue(field: string, { salt, value }: SaltedValue): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  if (bytes.length > MAX_VALUE_BYTES) {
    throw new RingfenceAuditError(
      'audit.event_too_large',
      `${JSON.stringify(field)} is ${bytes.length} bytes in canonical form, at most ${MAX_VALUE_BYTES}: record ids and digests, not documents`,
    );
  }
  const plaintext = new Uint8Array(Math.ceil((HEAD + bytes.length) / BLOCK) * BLOCK);
  plaintext.set(salt);
  new DataView(plaintext.buffer).setUint32(SALT_BYTES, bytes.length);
  plaintext.set(bytes, HEAD);
  return plaintext;
}

/** The value in a plaintext, or undefined when it is not of the format. */
export function decodeValue(plaintext: Uint8Array): SaltedValue | undefined {
  if (plaintext.length < BLOCK || plaintext.length % BLOCK !== 0) return undefined;
  const view = new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.length);
  const end = HEAD + view.getUint32(SALT_BYTES);
  if (Math.ceil(end / BLOCK) * BLOCK !== plaintext.length) return undefined;
  if (plaintext.subarray(end).some((byte) => byte !== 0)) return undefined;
  try {
    const value = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      plaintext.subarray(HEAD, end),
    );
    // A copy: slice of a Buffer is a view, and the caller overwrites the plaintext.
    return { salt: Uint8Array.from(plaintext.subarray(0, SALT_BYTES)), value };
  } catch {
    return undefined;
  }
}
