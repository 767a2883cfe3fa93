/**
 * Writes the test vectors of field message format v1 (docs/formats/field-v1.md), with intermediate values:
 * `node packages/crypto/test/field-vectors.ts`. Built on @noble/hashes and plain concatenation, not on the package, so
 * that the vectors are a second implementation.
 */
import { createCipheriv } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha512 } from '@noble/hashes/sha2.js';

/** A message that opens, with every value on the way. Bytes are hex. */
export interface FieldVector {
  readonly comment: string;
  readonly app: string;
  readonly org: string;
  readonly dek: string;
  readonly keyId: string;
  readonly purposeInfo: string;
  readonly fieldKey: string;
  readonly table: string;
  /** Empty for a row message. */
  readonly column: string;
  readonly row: string;
  readonly purpose: string;
  readonly salt: string;
  readonly info: string;
  readonly derived: string;
  readonly messageKey: string;
  readonly commitment: string;
  readonly nonce: string;
  readonly plaintext: string;
  readonly message: string;
  readonly text: string;
}

/** A message that must not open under the first vector's key and cell. */
export interface RefusedVector {
  readonly comment: string;
  readonly message: string;
  readonly code: string;
}

/** The file. */
export interface FieldVectors {
  readonly format: string;
  readonly opens: readonly FieldVector[];
  readonly refused: readonly RefusedVector[];
}

export const VECTORS_PATH: string = fileURLToPath(new URL('../vectors/field-v1.json', import.meta.url));

const utf8 = (text: string) => Buffer.from(text, 'utf8');
const u16 = (value: number) => Buffer.of(value >> 8, value & 0xff);
const u32 = (value: number) => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const prefixed = (part: Uint8Array) => Buffer.concat([u16(part.length), part]);
const counting = (length: number, from: number) =>
  Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function vector(
  comment: string,
  cell: { readonly table: string; readonly column: string; readonly row: string; readonly purpose?: string },
  plaintext: Buffer,
  seed: number,
): FieldVector {
  const app = 'ledger';
  const org = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
  const dek = counting(32, seed);
  const keyId = counting(16, seed + 64);
  const salt = counting(24, seed + 128);
  const purpose = cell.purpose ?? 'field';
  const purposeInfo = Buffer.concat(
    ['ringfence/purpose-key/v1', 'field', app, org].map((part) => prefixed(utf8(part))),
  );
  const fieldKey = Buffer.from(hkdf(sha512, dek, keyId, purposeInfo, 32));
  const head = Buffer.concat([Buffer.of(0x01, 0x01), keyId, salt]);
  const names = [org, cell.table, cell.column, cell.row, purpose];
  const info = Buffer.concat([head, ...names.map((part) => prefixed(utf8(part)))]);
  const derived = Buffer.from(hmac(sha512, fieldKey, Buffer.concat([info, Buffer.of(0x01)])));
  const nonce = salt.subarray(12);
  const cipher = createCipheriv('aes-256-gcm', derived.subarray(0, 32), nonce, { authTagLength: 16 });
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  const message = Buffer.concat([head, derived.subarray(32), body, cipher.getAuthTag()]);
  return {
    comment,
    app,
    org,
    dek: hex(dek),
    keyId: hex(keyId),
    purposeInfo: hex(purposeInfo),
    fieldKey: hex(fieldKey),
    ...cell,
    purpose,
    salt: hex(salt),
    info: hex(info),
    derived: hex(derived),
    messageKey: hex(derived.subarray(0, 32)),
    commitment: hex(derived.subarray(32)),
    nonce: hex(nonce),
    plaintext: hex(plaintext),
    message: hex(message),
    text: `rf1.${message.toString('base64url')}`,
  };
}

function row(fields: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([prefixed(utf8(name)), u32(utf8(value).length), utf8(value)]),
  );
  return Buffer.concat([u16(parts.length), ...parts]);
}

/** All vectors, computed. */
export function fieldVectors(): FieldVectors {
  const cell = { table: 'invoice', column: 'memo', row: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61' };
  const first = vector('a short text', cell, utf8('Paid by wire'), 0);
  const bytes = Buffer.from(first.message, 'hex');
  const changed = (at: number): string => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] as number) ^ 0x01;
    return hex(copy);
  };
  return {
    format: 'ringfence field message v1, suite 1',
    opens: [
      first,
      vector('no content', cell, Buffer.alloc(0), 1),
      vector('one block and a byte', cell, counting(17, 7), 2),
      vector('another purpose', { ...cell, purpose: 'export' }, utf8('Paid by wire'), 0),
      vector('names beyond ASCII', { table: 'Zähler', column: '値', row: '😀' }, utf8('é\u0000'), 3),
      vector('a row of three fields', { ...cell, column: '' }, row({ memo: 'Paid', iban: '', 名: '値' }), 4),
      vector('a row id of 300 bytes', { ...cell, row: 'r'.repeat(300) }, utf8('x'), 6),
      vector('4096 bytes', cell, counting(4096, 0), 5),
    ],
    refused: [
      { comment: 'format version 0', message: changed(0), code: 'crypto.unsupported_version' },
      { comment: 'suite 0', message: changed(1), code: 'crypto.unsupported_version' },
      { comment: 'another key id', message: changed(2), code: 'crypto.unknown_key_version' },
      { comment: 'salt changed', message: changed(18), code: 'crypto.decrypt_failed' },
      { comment: 'commitment changed', message: changed(42), code: 'crypto.decrypt_failed' },
      { comment: 'ciphertext changed', message: changed(74), code: 'crypto.decrypt_failed' },
      { comment: 'tag changed', message: changed(bytes.length - 1), code: 'crypto.decrypt_failed' },
      { comment: 'one byte cut off', message: hex(bytes.subarray(0, -1)), code: 'crypto.decrypt_failed' },
      { comment: 'one byte added', message: `${hex(bytes)}00`, code: 'crypto.decrypt_failed' },
      { comment: '89 bytes', message: hex(bytes.subarray(0, 89)), code: 'crypto.malformed_message' },
      { comment: 'nothing', message: '', code: 'crypto.malformed_message' },
    ],
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(VECTORS_PATH, `${JSON.stringify(fieldVectors(), null, 2)}\n`);
}
