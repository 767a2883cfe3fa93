/**
 * Writes the test vectors of subject keys (docs/formats/subject-key-v1.md), with intermediate values:
 * `node packages/crypto/test/subjects-vectors.ts`. Built on @noble/hashes and plain concatenation, not on the package.
 */
import { createCipheriv } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha512 } from '@noble/hashes/sha2.js';

/** A wrapped subject key and a message under it, with every value on the way. Bytes are hex. */
export interface SubjectVector {
  readonly comment: string;
  readonly app: string;
  readonly org: string;
  readonly dek: string;
  readonly dekKeyId: string;
  readonly wrapKey: string;
  readonly subject: string;
  readonly subjectKey: string;
  readonly keyId: string;
  readonly wrapSalt: string;
  readonly wrapInfo: string;
  readonly wrapped: string;
  readonly fieldKey: string;
  readonly fileKey: string;
  readonly table: string;
  readonly column: string;
  readonly row: string;
  readonly purpose: string;
  readonly salt: string;
  readonly info: string;
  readonly derived: string;
  readonly plaintext: string;
  readonly message: string;
}

/** A message or wrap that must not open in the place of the first vector. */
export interface RefusedSubjectVector {
  readonly comment: string;
  readonly message?: string;
  readonly wrapped?: string;
  readonly code: string;
}

/** The file. */
export interface SubjectVectors {
  readonly format: string;
  readonly opens: readonly SubjectVector[];
  readonly refused: readonly RefusedSubjectVector[];
}

export const VECTORS_PATH: string = fileURLToPath(new URL('../vectors/subject-key-v1.json', import.meta.url));

const counting = (length: number, from: number) =>
  Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const prefixed = (...parts: readonly string[]) =>
  Buffer.concat(
    parts.map((part) => {
      const bytes = Buffer.from(part, 'utf8');
      return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
    }),
  );

function sealed(
  suite: number,
  key: Uint8Array,
  keyId: Buffer,
  salt: Buffer,
  names: Buffer,
  plaintext: Buffer,
) {
  const head = Buffer.concat([Buffer.of(0x01, suite), keyId, salt]);
  const info = Buffer.concat([head, names]);
  const derived = Buffer.from(hmac(sha512, key, Buffer.concat([info, Buffer.of(0x01)])));
  const cipher = createCipheriv('aes-256-gcm', derived.subarray(0, 32), salt.subarray(12));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { info, derived, message: Buffer.concat([head, derived.subarray(32), body]) };
}

function vector(comment: string, subject: string, plaintext: string, seed: number): SubjectVector {
  const app = 'ledger';
  const org = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
  const [dek, dekKeyId] = [counting(32, seed), counting(16, seed + 64)];
  const [subjectKey, keyId] = [counting(32, seed + 96), counting(16, seed + 160)];
  const [wrapSalt, salt] = [counting(24, seed + 192), counting(24, seed + 128)];
  const [table, column, row, purpose] = ['payslip', 'iban', 'row-1', 'field'];
  const wrapKey = hkdf(sha512, dek, dekKeyId, prefixed('ringfence/purpose-key/v1', 'subject', app, org), 32);
  const wrapNames = prefixed(org, 'ringfence.subject_key', subject, hex(keyId), 'subject-key');
  const wrap = sealed(0x01, wrapKey, dekKeyId, wrapSalt, wrapNames, subjectKey);
  const purposeKey = (use: string) =>
    hkdf(sha512, subjectKey, keyId, prefixed('ringfence/subject-purpose-key/v1', use, org, subject), 32);
  const names = prefixed(org, subject, table, column, row, purpose);
  const field = sealed(0x03, purposeKey('field'), keyId, salt, names, Buffer.from(plaintext, 'utf8'));
  return {
    comment,
    app,
    org,
    dek: hex(dek),
    dekKeyId: hex(dekKeyId),
    wrapKey: hex(wrapKey),
    subject,
    subjectKey: hex(subjectKey),
    keyId: hex(keyId),
    wrapSalt: hex(wrapSalt),
    wrapInfo: hex(wrap.info),
    wrapped: hex(wrap.message),
    fieldKey: hex(purposeKey('field')),
    fileKey: hex(purposeKey('file')),
    table,
    column,
    row,
    purpose,
    salt: hex(salt),
    info: hex(field.info),
    derived: hex(field.derived),
    plaintext: hex(Buffer.from(plaintext, 'utf8')),
    message: hex(field.message),
  };
}

export function subjectVectors(): SubjectVectors {
  const opens = [
    vector('a short text', 'employee-1', 'DE02120300000000202051', 0),
    vector('no content, a subject beyond ASCII', 'person/ä€😀', '', 1),
  ];
  const [first, second] = opens as [SubjectVector, SubjectVector];
  const changed = (text: string, at: number, byte: string) =>
    text.slice(0, 2 * at) + byte + text.slice(2 * at + 2);
  const tampered = 'crypto.wrap_tampered';
  return {
    format: 'ringfence subject key v1',
    opens,
    refused: [
      {
        comment: 'suite of a field',
        message: changed(first.message, 1, '01'),
        code: 'crypto.unsupported_version',
      },
      { comment: 'of another subject', message: second.message, code: 'crypto.unknown_key_version' },
      {
        comment: 'of another subject, its key id exchanged',
        message: `0103${first.keyId}${second.message.slice(36)}`,
        code: 'crypto.decrypt_failed',
      },
      { comment: 'a salt changed', message: changed(first.message, 20, 'ff'), code: 'crypto.decrypt_failed' },
      { comment: 'a tag changed', message: changed(first.message, 111, '00'), code: 'crypto.decrypt_failed' },
      {
        comment: 'shorter than its fixed parts',
        message: first.message.slice(0, 178),
        code: 'crypto.malformed_message',
      },
      { comment: 'wrap of another subject', wrapped: second.wrapped, code: tampered },
      {
        comment: 'wrap of another subject, the key id of the data key exchanged',
        wrapped: `0101${first.dekKeyId}${second.wrapped.slice(36)}`,
        code: tampered,
      },
      { comment: 'wrap with a changed byte', wrapped: changed(first.wrapped, 80, 'ff'), code: tampered },
      { comment: 'wrap cut', wrapped: first.wrapped.slice(0, -2), code: tampered },
    ],
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(VECTORS_PATH, `${JSON.stringify(subjectVectors(), null, 2)}\n`);
}
