import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { RingfenceCryptoError } from '../src/errors.ts';
import { decryptBytes, encryptBytes, type FileCell } from '../src/files/index.ts';
import {
  CELL,
  CHUNK,
  concat,
  FixedFileKeys,
  flip,
  freshVersion,
  ORG,
  OTHER_ORG,
  outcome,
  PREFIX,
  READERS,
  SEALED_CHUNK,
  takeApart,
} from './files-setup.ts';

const readers = Object.entries(READERS);
const version = freshVersion();
const keys = new FixedFileKeys(ORG, [version]);
const plaintext = new Uint8Array(randomBytes(4 * CHUNK + 1000));
const sealed = encryptBytes(keys, CELL, plaintext);
const whole = new Uint8Array(randomBytes(2 * CHUNK));
const sealedWhole = encryptBytes(keys, CELL, whole);
const twin = encryptBytes(keys, CELL, plaintext);

const FAILED = 'crypto.decrypt_failed';
const MALFORMED = 'crypto.malformed_message';

function rebuilt(order: readonly number[]): Uint8Array {
  const { prefix, chunks } = takeApart(sealed);
  return concat([prefix, ...order.map((chunk) => chunks[chunk] as Uint8Array)]);
}

const spliced = (at: number): Uint8Array =>
  concat([sealed.slice(0, PREFIX + at * SEALED_CHUNK), twin.slice(PREFIX + at * SEALED_CHUNK)]);

const ALTERATIONS: readonly (readonly [string, Uint8Array, string])[] = [
  ['the empty input', new Uint8Array(0), MALFORMED],
  ['a plaintext met where a sealed file is due', plaintext, MALFORMED],
  ['two chunks exchanged', rebuilt([1, 0, 2, 3, 4]), FAILED],
  ['a chunk moved to the end', rebuilt([0, 2, 3, 1, 4]), FAILED],
  ['the first chunk dropped', rebuilt([1, 2, 3, 4]), FAILED],
  ['a middle chunk dropped', rebuilt([0, 1, 3, 4]), FAILED],
  ['a chunk duplicated', rebuilt([0, 1, 1, 2, 3, 4]), FAILED],
  ['the last chunk duplicated', rebuilt([0, 1, 2, 3, 4, 4]), FAILED],
  ['the last chunk moved forward', rebuilt([0, 1, 4]), FAILED],
  ['only the last chunk left', rebuilt([4]), FAILED],
  [
    'a chunk of another file of the same key and cell',
    concat([spliced(1).slice(0, PREFIX + 2 * SEALED_CHUNK), sealed.slice(PREFIX + 2 * SEALED_CHUNK)]),
    FAILED,
  ],
  ['the tail of another file of the same key and cell', spliced(2), FAILED],
  ['the last chunk of another file of the same key and cell', spliced(4), FAILED],
  ['the prefix of another file of the same key and cell', spliced(0), FAILED],
  ['another salt', concat([sealed.slice(0, 22), twin.slice(22, 46), sealed.slice(46)]), FAILED],
  ['another commitment', concat([sealed.slice(0, 46), twin.slice(46, 78), sealed.slice(78)]), FAILED],
  ['one byte appended', concat([sealed, new Uint8Array(1)]), FAILED],
  ['sixteen bytes appended', concat([sealed, new Uint8Array(16)]), FAILED],
  ['a chunk of zeros appended', concat([sealed, new Uint8Array(SEALED_CHUNK)]), FAILED],
  ['one byte appended to a file of whole chunks', concat([sealedWhole, new Uint8Array(1)]), FAILED],
  ['the last, empty chunk of a file of whole chunks dropped', sealedWhole.slice(0, -16), MALFORMED],
  ['all but one byte of the last, empty chunk', sealedWhole.slice(0, -1), MALFORMED],
  ['a file of whole chunks cut to one chunk', sealedWhole.slice(0, PREFIX + SEALED_CHUNK), MALFORMED],
  [
    'an empty last chunk put after an earlier chunk',
    concat([sealedWhole.slice(0, PREFIX + SEALED_CHUNK), sealedWhole.slice(-16)]),
    FAILED,
  ],
];

describe.each(readers)('%s', (_name, read) => {
  it('opens what nobody altered', async () => {
    expect(Buffer.from(await read(keys, CELL, sealed)).equals(plaintext)).toBe(true);
    expect(Buffer.from(await read(keys, CELL, sealedWhole)).equals(whole)).toBe(true);
  });

  it.each(ALTERATIONS)('refuses %s', async (_what, altered, code) => {
    expect(await outcome(() => read(keys, CELL, altered))).toBe(code);
  });

  it('refuses a cut at every chunk boundary and around it', async () => {
    for (let chunk = 0; chunk <= 4; chunk++) {
      for (const around of [-17, -16, -1, 0, 1, 15, 16, 17, 8000]) {
        const length = PREFIX + chunk * SEALED_CHUNK + around;
        if (length >= sealed.length) continue;
        const impossible = length < PREFIX + 16 || (length - PREFIX) % SEALED_CHUNK < 16;
        const code = await outcome(() => read(keys, CELL, sealed.slice(0, length)));
        expect([length, code]).toEqual([length, impossible ? MALFORMED : FAILED]);
      }
    }
  });

  it('refuses a flipped byte at the start, middle, end and tag of every chunk', async () => {
    for (let chunk = 0; chunk <= 4; chunk++) {
      const start = PREFIX + chunk * SEALED_CHUNK;
      const end = Math.min(start + SEALED_CHUNK, sealed.length);
      for (const at of [start, (start + end) >> 1, end - 17, end - 16, end - 1]) {
        expect(await outcome(() => read(keys, CELL, flip(sealed, at, 0x80)))).toBe(FAILED);
      }
    }
  });

  it.each([
    ['another table', { ...CELL, table: 'receipts' }],
    ['another column', { ...CELL, column: 'thumbnail' }],
    ['another row', { ...CELL, row: '0190f5d2-0000-7000-8000-000000000002' }],
    ['a cell with table and column run together', { table: 'invoicess', column: 'can', row: CELL.row }],
  ] as [string, FileCell][])('refuses a file of %s', async (_what, cell) => {
    expect(await outcome(() => read(keys, cell, sealed))).toBe(FAILED);
  });

  it('refuses a file of another organisation, even under the same key bytes and key id', async () => {
    expect(await outcome(() => read(new FixedFileKeys(OTHER_ORG, [version]), CELL, sealed))).toBe(FAILED);
  });

  it('refuses a file under another key with the same key id', async () => {
    const [keyId] = version;
    const confused = new FixedFileKeys(ORG, [[keyId, new Uint8Array(randomBytes(32))]]);
    expect(await outcome(() => read(confused, CELL, sealed))).toBe(FAILED);
  });

  it('refuses a header that names another key version, known or unknown', async () => {
    const [otherId, otherKey] = freshVersion();
    const renamed = concat([sealed.slice(0, 6), otherId, sealed.slice(22)]);
    expect(await outcome(() => read(keys, CELL, renamed))).toBe('crypto.unknown_key_version');
    const both = new FixedFileKeys(ORG, [version, [otherId, otherKey]]);
    expect(await outcome(() => read(both, CELL, renamed))).toBe(FAILED);
    // Even two key ids of one and the same key: the header is part of the derivation.
    const alias = new FixedFileKeys(ORG, [version, [otherId, version[1]]]);
    expect(await outcome(() => read(alias, CELL, renamed))).toBe(FAILED);
  });

  it('fails with the error of the key source once the key is revoked', async () => {
    const revoked = new FixedFileKeys(ORG, [version]);
    revoked.revoked = true;
    expect(await outcome(() => read(revoked, CELL, sealed))).toBe('crypto.key_revoked');
  });

  it('gives one text for all authentication failures, and no secret in any property', async () => {
    const secret = new TextEncoder().encode('TOP-SECRET-PLAINTEXT');
    const small = encryptBytes(keys, CELL, secret);
    const texts = new Set<string>();
    for (const altered of [
      flip(small, 30),
      flip(small, 50),
      flip(small, 80),
      flip(small, small.length - 1),
    ]) {
      const error: unknown = await read(keys, CELL, altered).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(RingfenceCryptoError);
      texts.add((error as RingfenceCryptoError).message);
      const shown = inspect(error, { depth: 10, showHidden: true });
      const needles = [
        'SECRET',
        Buffer.from(version[1]).toString('hex'),
        Buffer.from(version[1]).toString('base64'),
      ];
      for (const needle of needles) expect(shown).not.toContain(needle);
      expect((error as RingfenceCryptoError).cause).toBeUndefined();
    }
    expect(texts.size).toBe(1);
  });
});

describe('exhaustively, on a short file', () => {
  const short = encryptBytes(keys, CELL, randomBytes(40));

  it('refuses every single flipped bit', async () => {
    const codes = new Set<string>();
    for (let at = 0; at < short.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const code = await outcome(() => decryptBytes(keys, CELL, flip(short, at, 1 << bit)));
        codes.add(`${at < 4 ? 'magic' : at < 6 ? 'version' : at < 22 ? 'key id' : 'rest'}: ${code}`);
      }
    }
    expect([...codes].sort()).toEqual([
      'key id: crypto.unknown_key_version',
      'magic: crypto.malformed_message',
      'rest: crypto.decrypt_failed',
      'version: crypto.unsupported_version',
    ]);
  });

  it('refuses every shorter length', async () => {
    for (let length = 0; length < short.length; length++) {
      const code = await outcome(() => decryptBytes(keys, CELL, short.slice(0, length)));
      expect([length, code]).toEqual([length, length < PREFIX + 16 ? MALFORMED : FAILED]);
    }
  });
});
