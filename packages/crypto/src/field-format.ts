/**
 * Field message format v1, suite 1 (docs/formats/field-v1.md): byte layout, header checks and text form.
 *
 *     version 1 | suite 1 | key id 16 | salt 24 | commitment 32 | ciphertext | tag 16
 *
 * Invariant: a message is parsed in one way only; the text form has one spelling per message (canonical base64url).
 */
import { RingfenceCryptoError } from './errors.ts';

/** First byte of every message. */
export const FORMAT_VERSION = 0x01;
/** Second byte: HKDF-Expand-SHA-512 to key and commitment, AES-256-GCM. */
export const SUITE_FIELD = 0x01;
/** Second byte of a message under the key of a data subject: the same construction, the subject in its context. */
export const SUITE_SUBJECT_FIELD = 0x03;
/** Bytes of version, suite and key id. */
export const HEADER_BYTES = 18;
/** Bytes of the random salt. */
export const SALT_BYTES = 24;
/** Offset of the commitment. */
export const COMMITMENT_OFFSET: number = HEADER_BYTES + SALT_BYTES;
/** Bytes of the key commitment. */
export const COMMITMENT_BYTES = 32;
/** Offset of the ciphertext. */
export const CIPHERTEXT_OFFSET: number = COMMITMENT_OFFSET + COMMITMENT_BYTES;
/** Bytes of the GCM tag. */
export const TAG_BYTES = 16;
/** Bytes a message is longer than its plaintext. */
export const FIELD_OVERHEAD_BYTES: number = CIPHERTEXT_OFFSET + TAG_BYTES;
/** Longest plaintext of one field message in bytes: 1 MiB. Longer content belongs into an encrypted file. */
export const FIELD_MAX_PLAINTEXT_BYTES = 1_048_576;
/** Prefix of the text form. */
export const TEXT_PREFIX = 'rf1.';

const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** Refuses what cannot be a field message, before any key is looked up. */
export function checkFieldHeader(message: Uint8Array, suite: number = SUITE_FIELD): void {
  if (!(message instanceof Uint8Array)) throw new TypeError('a sealed message must be a Uint8Array');
  if (message.length < FIELD_OVERHEAD_BYTES) throw malformed('shorter than its fixed parts');
  if (message.length > FIELD_OVERHEAD_BYTES + FIELD_MAX_PLAINTEXT_BYTES)
    throw malformed('longer than a field can be');
  if (message[0] !== FORMAT_VERSION || message[1] !== suite) {
    throw new RingfenceCryptoError(
      'crypto.unsupported_version',
      `not a field message of format 1, suite ${suite}: written by a newer release, or no sealed message at all`,
    );
  }
}

/** Text form of a message: `rf1.` and unpadded base64url (RFC 4648, section 5). */
export function toTextForm(message: Uint8Array): string {
  return (
    TEXT_PREFIX + Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('base64url')
  );
}

/** True when a text has the prefix of the text form. Says nothing about whether it opens. */
export function isSealedText(text: string): boolean {
  return text.startsWith(TEXT_PREFIX);
}

/** Message behind a text form; refuses every spelling but the canonical one. */
export function fromTextForm(sealed: string): Uint8Array {
  if (typeof sealed !== 'string') throw new TypeError('a sealed text must be a string');
  if (!sealed.startsWith(TEXT_PREFIX)) throw malformed('no text form: the prefix is missing');
  const body = sealed.slice(TEXT_PREFIX.length);
  const bytes = Buffer.from(body, 'base64url');
  // Node's decoder skips what it does not know and ignores trailing bits: one message must not have two spellings.
  if (!BASE64URL.test(body) || bytes.toString('base64url') !== body)
    throw malformed('no canonical base64url');
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Key id a field message names, 32 hex digits: to count in SQL or code what a key version still holds.
 *
 * @throws RingfenceCryptoError `crypto.malformed_message`, `crypto.unsupported_version`.
 */
export function keyIdOfMessage(message: Uint8Array): string {
  checkFieldHeader(message);
  return Buffer.from(message.buffer, message.byteOffset + 2, 16).toString('hex');
}

function malformed(what: string): RingfenceCryptoError {
  return new RingfenceCryptoError('crypto.malformed_message', `not a sealed field message: ${what}`);
}
