/**
 * One organisation's field key: derives a key and a commitment per message and runs AES-256-GCM with it (format v1,
 * suite 1). HKDF-Expand-SHA-512 (RFC 5869, section 2.3) of one block is HMAC-SHA-512(PRK, info || 0x01).
 *
 * Key and commitment are derived into memory that the next message overwrites. On Node 24 the key goes to the cipher as a
 * latin1 string instead: there, bytes as key cost ten times more than the encryption (not on 22 and 26), and a KeyObject
 * per message costs as much as the cipher. Strings can't be wiped, but the digest is one in any case.
 *
 * Invariant: length, header and key id are checked before the commitment, the commitment (whole, whichever byte differs) before GCM, and
 * every failure of authentication is one error.
 */
import { type CipherGCMOptions, createCipheriv, createDecipheriv } from 'node:crypto';
import { RingfenceCryptoError } from './errors.ts';
import type { ColumnContext } from './field-context.ts';
import {
  CIPHERTEXT_OFFSET,
  COMMITMENT_BYTES,
  COMMITMENT_OFFSET,
  FIELD_OVERHEAD_BYTES,
  FORMAT_VERSION,
  HEADER_BYTES,
  SALT_BYTES,
  SUITE_FIELD,
  SUITE_SUBJECT_FIELD,
  TAG_BYTES,
} from './field-format.ts';
import { encodePart, isWellFormed, lengthPrefixed, MAX_PART_BYTES } from './length-prefix.ts';
import type { MessageSlab } from './message-slab.ts';
import { OneShotHmac } from './one-shot-hmac.ts';
import type { OrgId } from './org-id.ts';
import type { SaltSource } from './salt-source.ts';

const CONTEXT_AT = HEADER_BYTES + SALT_BYTES;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const KEY_AS_STRING = process.versions.node.startsWith('24.');
const USUAL_INFO_BYTES = 320;
const GCM: CipherGCMOptions & { readonly encoding: 'latin1' } = {
  authTagLength: TAG_BYTES,
  encoding: 'latin1',
};

/** Seals and opens the field messages of one data-key version. */
export class FieldKey {
  /** Holds version, suite, key id, salt and cell as HKDF info. */
  readonly #hmac: OneShotHmac;
  /** T(1) of HKDF-Expand: key and commitment of the message at hand. */
  readonly #derived: Buffer = Buffer.alloc(KEY_BYTES + COMMITMENT_BYTES);
  readonly #key: Uint8Array = this.#derived.subarray(0, KEY_BYTES);
  readonly #commitment: Uint8Array = this.#derived.subarray(KEY_BYTES);
  /** Tag of the message at hand. */
  readonly #tag: Uint8Array = Buffer.alloc(TAG_BYTES);
  /** Where table and column begin, behind the organisation and, in suite 3, the data subject. */
  readonly #tableAt: number;
  /** View of the last 12 salt bytes. */
  #nonce: Uint8Array;
  /** View of version, suite, key id and salt: the first bytes of every message. */
  #head: Uint8Array;

  /** Copies what it needs of `prk`; the caller wipes it. With a data subject, the messages are of suite 3. */
  constructor(prk: Uint8Array, org: OrgId, keyId: Uint8Array, subject?: string) {
    const owner = [encodePart('org', org)];
    if (subject !== undefined) owner.push(encodePart('subject', subject));
    const ownerPart = lengthPrefixed(...owner);
    this.#hmac = new OneShotHmac(prk, USUAL_INFO_BYTES + ownerPart.length);
    const info = this.#hmac.message;
    info[0] = FORMAT_VERSION;
    info[1] = subject === undefined ? SUITE_FIELD : SUITE_SUBJECT_FIELD;
    info.set(keyId, 2);
    info.set(ownerPart, CONTEXT_AT);
    this.#tableAt = CONTEXT_AT + ownerPart.length;
    this.#nonce = info.subarray(CONTEXT_AT - NONCE_BYTES, CONTEXT_AT);
    this.#head = info.subarray(0, CONTEXT_AT);
  }

  /** Seals bytes, or the UTF-8 bytes of a text that the caller knows to be well-formed. */
  seal(
    context: ColumnContext,
    row: string,
    plaintext: Uint8Array | string,
    salts: SaltSource,
    slab: MessageSlab,
  ): Uint8Array {
    const infoBytes = this.#writeCell(context, row);
    salts.take(this.#head, HEADER_BYTES);
    const key = this.#expand(infoBytes);
    const cipher = createCipheriv('aes-256-gcm', key, this.#nonce, GCM);
    const body = typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext);
    cipher.final();
    const message = slab.allocate(FIELD_OVERHEAD_BYTES + body.length);
    message.set(this.#head);
    message.set(this.#commitment, COMMITMENT_OFFSET);
    message.set(body, CIPHERTEXT_OFFSET);
    message.set(cipher.getAuthTag(), CIPHERTEXT_OFFSET + body.length);
    return message;
  }

  /** Opens a message whose header is checked and whose key id is this key's. */
  open(context: ColumnContext, row: string, message: Uint8Array): Uint8Array {
    const infoBytes = this.#writeCell(context, row);
    const head = this.#head;
    for (let i = HEADER_BYTES; i < CONTEXT_AT; i += 1) head[i] = message[i] as number;
    const key = this.#expand(infoBytes);
    if (!this.#commits(message)) throw decryptFailed();
    const bodyBytes = message.length - FIELD_OVERHEAD_BYTES;
    const tag = this.#tag;
    for (let i = 0; i < TAG_BYTES; i += 1) tag[i] = message[CIPHERTEXT_OFFSET + bodyBytes + i] as number;
    const decipher = createDecipheriv('aes-256-gcm', key, this.#nonce, GCM);
    decipher.setAuthTag(tag);
    const body = decipher.update(
      new Uint8Array(message.buffer, message.byteOffset + CIPHERTEXT_OFFSET, bodyBytes),
    );
    try {
      decipher.final();
    } catch {
      body.fill(0); // unauthenticated plaintext must not survive in memory either
      throw decryptFailed();
    }
    return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }

  /** True when the message holds the commitment just derived: looks at all bytes, whichever differ. */
  #commits(message: Uint8Array): boolean {
    const commitment = this.#commitment;
    let difference = 0;
    for (let i = 0; i < COMMITMENT_BYTES; i += 1) {
      difference |= (message[COMMITMENT_OFFSET + i] as number) ^ (commitment[i] as number);
    }
    return difference === 0;
  }

  /** Overwrites the key. */
  wipe(): void {
    this.#hmac.wipe();
    this.#derived.fill(0);
  }

  /** Writes table, column, row, purpose and the counter byte behind the organisation; returns the length of all. */
  #writeCell({ before, after }: ColumnContext, row: string): number {
    if (typeof row !== 'string' || row.length === 0)
      throw new TypeError('row must be a string and not empty');
    if (row.length > MAX_PART_BYTES) throw new TypeError(`row is longer than ${MAX_PART_BYTES} bytes`);
    if (!isWellFormed(row)) throw new TypeError('row holds a lone surrogate');
    const rowAt = this.#tableAt + before.length;
    const longest = rowAt + 2 + row.length * 3 + after.length;
    if (longest > this.#hmac.message.length) this.#reserve(longest);
    const info = this.#hmac.message;
    info.set(before, this.#tableAt);
    const rowBytes = info.write(row, rowAt + 2, 'utf8');
    if (rowBytes > MAX_PART_BYTES) throw new TypeError(`row is longer than ${MAX_PART_BYTES} bytes`);
    info[rowAt] = rowBytes >>> 8;
    info[rowAt + 1] = rowBytes & 0xff;
    info.set(after, rowAt + 2 + rowBytes);
    return rowAt + 2 + rowBytes + after.length;
  }

  /** Derives key and commitment; returns the key in the form in which the cipher takes it. */
  #expand(infoBytes: number): Uint8Array | string {
    const derived = this.#hmac.digest(infoBytes);
    this.#derived.write(derived, 0, 'latin1');
    return KEY_AS_STRING ? derived.slice(0, KEY_BYTES) : this.#key;
  }

  #reserve(bytes: number): void {
    this.#hmac.reserve(bytes);
    this.#nonce = this.#hmac.message.subarray(CONTEXT_AT - NONCE_BYTES, CONTEXT_AT);
    this.#head = this.#hmac.message.subarray(0, CONTEXT_AT);
  }
}

/** The one error for every failed authentication: it doesn't tell which check failed. */
function decryptFailed(): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.decrypt_failed',
    'the message does not authenticate: it was changed, or sealed for another cell',
  );
}
