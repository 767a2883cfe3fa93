/**
 * The errors of encrypted files, all of them `RingfenceCryptoError`s of the package's closed list of codes.
 * Invariant: everything that fails to authenticate (wrong cell, wrong key, flipped, spliced, reordered or cut bytes)
 * shares one code and one text; nothing here carries key, plaintext or ciphertext bytes, or a cause that could.
 */
import { RingfenceCryptoError } from '../errors.ts';
import { keyIdText } from '../key-id.ts';
import type { OrgId } from '../org-id.ts';

/** The one answer to every failed authentication; says nothing about which check failed. */
export function decryptFailed(org: OrgId, keyId: Uint8Array): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.decrypt_failed',
    'the file does not authenticate for this organisation and cell: it was altered, cut, or sealed for another one',
    { org, keyId: keyIdText(keyId) },
  );
}

/** The bytes cannot be a sealed file, whatever the key: told from public structure alone. */
export function malformedFile(org: OrgId, reason: string): RingfenceCryptoError {
  return new RingfenceCryptoError('crypto.malformed_message', `not a complete sealed file: ${reason}`, {
    org,
  });
}

/** A sealed file of a version or suite that this release does not read. */
export function unsupportedVersion(org: OrgId, version: number, suite: number): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.unsupported_version',
    `sealed file of version ${version}, suite ${suite}: this release reads version 1, suite 2`,
    { org },
  );
}

/** More chunks than the specification allows under one message key. */
export function fileTooLarge(org: OrgId): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.message_too_large',
    'a sealed file holds at most 2^38 chunks (4 PiB - 1 byte): split the content',
    { org },
  );
}
