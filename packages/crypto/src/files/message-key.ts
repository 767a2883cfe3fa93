/**
 * Key derivation of one sealed file: C2SP chunked-encryption, "Key derivation", instance Cobblestone-256
 * (HKDF-Expand of RFC 5869 with SHA-512, AEAD_AES_256_GCM).
 *
 *     key || base nonce || commitment = HKDF-Expand(file key, label || AEAD || 0x00 || salt || context, 76)
 *
 * where `context` is the file's header followed by its cell. Invariant: the derived key leaves this module only inside a
 * `KeyObject`, and only after the commitment of a file to be read has been compared, in constant time.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import type { OrgId } from '../org-id.ts';
import type { PurposeKeyMeter } from '../org-keys.ts';
import { decryptFailed } from './failures.ts';
import {
  COMMITMENT_BYTES,
  encodeCell,
  encodeHeader,
  type FileCell,
  HEADER_BYTES,
  NONCE_BYTES,
  PREFIX_BYTES,
  parseHeader,
  SALT_BYTES,
} from './file-format.ts';
import type { FileKeySource } from './key-source.ts';

const INFO_PREFIX = Buffer.from('c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0', 'latin1');
const KEY_BYTES = 32;
const BLOCK_BYTES = 64;
const DERIVED_BYTES: number = KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES;

/** What seals or opens the chunks of one file. */
export interface MessageKey {
  /** Organisation, for errors. */
  readonly org: OrgId;
  /** Key version, for errors. */
  readonly keyId: Uint8Array;
  /** Single-use AES-256 key. */
  readonly key: KeyObject;
  /** XORed with the chunk number. */
  readonly baseNonce: Uint8Array;
  /** Memory for the nonce of the chunk at hand, so that none is allocated per chunk. */
  readonly nonce: Uint8Array;
  /** Takes the outcome, for the key-use ledger. */
  readonly meter: PurposeKeyMeter | undefined;
}

/** HKDF-Expand-SHA-512 to 76 bytes: two HMAC blocks. The caller wipes the result. */
export function deriveMessage(fileKey: Uint8Array, salt: Uint8Array, context: Uint8Array): Buffer {
  if (fileKey.length !== KEY_BYTES) throw new TypeError('a file key has 32 bytes');
  const derived = Buffer.alloc(DERIVED_BYTES);
  const first = createHmac('sha512', fileKey).update(INFO_PREFIX).update(salt).update(context);
  const block1 = first.update(Uint8Array.of(1)).digest();
  const second = createHmac('sha512', fileKey)
    .update(block1)
    .update(INFO_PREFIX)
    .update(salt)
    .update(context);
  const block2 = second.update(Uint8Array.of(2)).digest();
  derived.set(block1);
  derived.set(block2.subarray(0, DERIVED_BYTES - BLOCK_BYTES), BLOCK_BYTES);
  block1.fill(0);
  block2.fill(0);
  return derived;
}

/** A new file: its message key and the prefix (header, salt, commitment) to write before the first chunk. */
export function newMessage(
  keys: FileKeySource,
  cell: FileCell,
  salt: Uint8Array = randomBytes(SALT_BYTES),
): { readonly message: MessageKey; readonly prefix: Uint8Array } {
  const { org } = keys;
  const keyId = Uint8Array.from(keys.activeKeyId);
  const header = encodeHeader(keyId);
  const context = Buffer.concat([header, encodeCell(org, cell)]);
  const use = (fileKey: Uint8Array, meter?: PurposeKeyMeter) => {
    const derived = deriveMessage(fileKey, salt, context);
    const prefix = Buffer.concat([header, salt, derived.subarray(KEY_BYTES + NONCE_BYTES)]);
    return { message: takeMessage(org, keyId, derived, meter), prefix };
  };
  return keys.withFileKey(keyId, use, { operation: 'seal', table: cell.table });
}

/**
 * The message key of the file with this prefix; `cellContext` is its cell, encoded, `table` the table of it.
 *
 * @throws RingfenceCryptoError `crypto.malformed_message`, `crypto.unsupported_version`, `crypto.unknown_key_version`,
 * and `crypto.decrypt_failed` when the commitment is not that of this key, header, salt and cell.
 */
export function openMessage(
  keys: FileKeySource,
  cellContext: Uint8Array,
  prefix: Uint8Array,
  table: string,
): MessageKey {
  const { org } = keys;
  const { keyId } = parseHeader(org, prefix);
  const salt = prefix.subarray(HEADER_BYTES, HEADER_BYTES + SALT_BYTES);
  const commitment = prefix.subarray(HEADER_BYTES + SALT_BYTES, PREFIX_BYTES);
  const context = Buffer.concat([prefix.subarray(0, HEADER_BYTES), cellContext]);
  const use = (fileKey: Uint8Array, meter?: PurposeKeyMeter) => {
    const derived = deriveMessage(fileKey, salt, context);
    if (!timingSafeEqual(derived.subarray(KEY_BYTES + NONCE_BYTES), commitment)) {
      derived.fill(0);
      meter?.failed();
      throw decryptFailed(org, keyId);
    }
    return takeMessage(org, keyId, derived, meter);
  };
  return keys.withFileKey(keyId, use, { operation: 'open', table });
}

function takeMessage(
  org: OrgId,
  keyId: Uint8Array,
  derived: Buffer,
  meter: PurposeKeyMeter | undefined,
): MessageKey {
  const key = createSecretKey(derived.subarray(0, KEY_BYTES));
  const baseNonce = Uint8Array.prototype.slice.call(derived, KEY_BYTES, KEY_BYTES + NONCE_BYTES);
  derived.fill(0);
  return { org, keyId, key, baseNonce, nonce: new Uint8Array(NONCE_BYTES), meter };
}
