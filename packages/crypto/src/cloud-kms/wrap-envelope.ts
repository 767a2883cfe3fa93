/**
 * The bytes of a wrapped key, the same for the three clouds: hybrid encryption in the KEM/DEM form (ISO/IEC 18033-2).
 * The KMS wraps a transport key of 32 random bytes that serves once; AES-256-GCM (NIST SP 800-38D) under it seals the
 * data key, with the whole wrap context as additional data.
 *
 *   wrap   = body | digest
 *   body   = 0x01 | u16 n | KEK version (n bytes) | u16 m | KMS ciphertext (m bytes) | sealed key (32) | tag (16)
 *   digest = first 8 bytes of SHA-256(body)
 *   AAD    = lengthPrefixed(label, scheme, app, org, keyId, u32 version, purpose, KEK version, KMS ciphertext)
 *
 * Why not the data key straight into the KMS: RSA-OAEP (Azure) takes no context, and Google's decrypt answer names no
 * key. Here each cloud answers through the same check of ours, a key of another org or version cannot come out, and no
 * KMS ever sees a data key. Why AEAD and not an HMAC beside the wrap: the key of the check is the KMS-held secret
 * itself, so nothing derived from the data key is stored, and no data key exists before the check has passed.
 * The nonce is constant (zero) because the transport key is fresh for each wrap and never used twice.
 *
 * Left to others: the digest is unkeyed. It only tells damage from a missing KEK version before the KMS is asked.
 * The construction does not prove who made a wrap: with a public key (Azure) anyone can make one. Whoever may write the
 * key store could plant a key of their own; the keyring's commitment in each message keeps such a key from opening data.
 */
import { createCipheriv, createDecipheriv, createHash, timingSafeEqual } from 'node:crypto';
import type { WrapContext } from '../kms.ts';
import { encodePart, lengthPrefixed, u32 } from '../length-prefix.ts';

/** Bytes of a data key and of a transport key. */
export const KEY_BYTES = 32;

/** Longest KMS ciphertext taken: AWS KMS allows 6144 bytes, the others less. */
export const MAX_KMS_CIPHERTEXT_BYTES = 6144;

const FORMAT_VERSION = 1;
const LABEL = 'ringfence/crypto/cloud-wrap/v1';
const TAG_BYTES = 16;
const DIGEST_BYTES = 8;
const MAX_KEK_VERSION_BYTES = 192;
const NONCE = new Uint8Array(12);

/** The parts of a wrap that name nothing secret. */
export interface WrapHeader {
  /** KEK version that made the KMS ciphertext, where the cloud needs it named again; else empty. */
  readonly kekVersion: string;
  /** The transport key as the KMS wrapped it. */
  readonly kmsCiphertext: Uint8Array;
}

/** A wrap taken apart. */
export interface ParsedWrap extends WrapHeader {
  /** The data key sealed under the transport key, with its tag. */
  readonly sealed: Uint8Array;
}

/** The wrap context in bytes: injective, so that two contexts never share an encoding. */
export function encodeWrapContext(scheme: string, context: WrapContext): Uint8Array {
  if (!Number.isInteger(context.version) || context.version < 1 || context.version > 0xffffffff) {
    throw new TypeError('version of a wrap context must be an integer from 1 to 2^32 - 1');
  }
  return lengthPrefixed(
    encodePart('label', LABEL),
    encodePart('scheme', scheme),
    encodePart('app', context.app),
    encodePart('org', context.org),
    encodePart('keyId', context.keyId),
    u32(context.version),
    encodePart('purpose', context.purpose),
  );
}

/** Seals a data key under a transport key and puts the wrap together. */
export function sealWrap(
  key: Uint8Array,
  transportKey: Uint8Array,
  header: WrapHeader,
  context: Uint8Array,
): Uint8Array {
  const kekVersion = new TextEncoder().encode(header.kekVersion);
  const cipher = createCipheriv('aes-256-gcm', transportKey, NONCE, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(kekVersion, header.kmsCiphertext, context));
  const body = Buffer.concat([
    Uint8Array.of(FORMAT_VERSION),
    lengthPrefixed(kekVersion, header.kmsCiphertext),
    cipher.update(key),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  return Uint8Array.from(Buffer.concat([body, digestOf(body)]));
}

/** Takes a wrap apart; undefined when it is damaged, cut, extended or of an unknown format. */
export function parseWrap(wrapped: Uint8Array): ParsedWrap | undefined {
  const end = wrapped.length - DIGEST_BYTES;
  if (end < 1 || !equal(digestOf(wrapped.subarray(0, end)), wrapped.subarray(end))) return undefined;
  if (wrapped[0] !== FORMAT_VERSION) return undefined;
  const kekVersion = readPrefixed(wrapped, 1, end, MAX_KEK_VERSION_BYTES);
  if (kekVersion === undefined) return undefined;
  const afterVersion = 3 + kekVersion.length;
  const kmsCiphertext = readPrefixed(wrapped, afterVersion, end, MAX_KMS_CIPHERTEXT_BYTES);
  if (kmsCiphertext === undefined || kmsCiphertext.length === 0) return undefined;
  const sealed = wrapped.subarray(afterVersion + 2 + kmsCiphertext.length, end);
  if (sealed.length !== KEY_BYTES + TAG_BYTES) return undefined;
  return { kekVersion: Buffer.from(kekVersion).toString('latin1'), kmsCiphertext, sealed };
}

/** Opens the data key; undefined when transport key, context or any part of the wrap is not the one sealed. */
export function openWrap(
  wrap: ParsedWrap,
  transportKey: Uint8Array,
  context: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-256-gcm', transportKey, NONCE, { authTagLength: TAG_BYTES });
  const kekVersion = Buffer.from(wrap.kekVersion, 'latin1');
  decipher.setAAD(additionalData(kekVersion, wrap.kmsCiphertext, context));
  decipher.setAuthTag(wrap.sealed.subarray(KEY_BYTES));
  const unverified = decipher.update(wrap.sealed.subarray(0, KEY_BYTES));
  try {
    decipher.final();
    return Uint8Array.from(unverified);
  } catch {
    return undefined;
  } finally {
    unverified.fill(0);
  }
}

/** Constant-time comparison of byte strings; unequal lengths are unequal. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function additionalData(kekVersion: Uint8Array, kmsCiphertext: Uint8Array, context: Uint8Array): Uint8Array {
  // The context is itself a sequence of length-prefixed parts of fixed count: appending two more keeps it injective.
  return Buffer.concat([context, lengthPrefixed(kekVersion, kmsCiphertext)]);
}

function digestOf(body: Uint8Array): Uint8Array {
  return createHash('sha256').update(body).digest().subarray(0, DIGEST_BYTES);
}

function readPrefixed(
  bytes: Uint8Array,
  offset: number,
  end: number,
  maxLength: number,
): Uint8Array | undefined {
  const high = bytes[offset];
  const low = bytes[offset + 1];
  if (offset + 2 > end || high === undefined || low === undefined) return undefined;
  const length = high * 256 + low;
  if (length > maxLength || offset + 2 + length > end) return undefined;
  return bytes.subarray(offset + 2, offset + 2 + length);
}
