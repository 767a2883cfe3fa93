import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expand } from '@noble/hashes/hkdf.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { chunkNonce, openChunk, sealChunk } from '../src/files/chunk-cipher.ts';
import { type Emit, SealingMachine } from '../src/files/chunk-machine.ts';
import { encodeCell, encodeHeader, shapeOfFile } from '../src/files/file-format.ts';
import {
  decryptBytes,
  decryptStream,
  decryptTransform,
  encryptBytes,
  encryptStream,
  encryptTransform,
  type FileCell,
  sealedSize,
} from '../src/files/index.ts';
import { deriveMessage, newMessage } from '../src/files/message-key.ts';
import { parseOrgId } from '../src/org-id.ts';
import {
  CELL,
  CHUNK,
  concat,
  FixedFileKeys,
  flip,
  freshVersion,
  ORG,
  outcome,
  PREFIX,
  READERS,
  SEALED_CHUNK,
} from './files-setup.ts';

interface VectorCase extends FileCell {
  readonly name: string;
  readonly org: string;
  readonly keyId: string;
  readonly fileKey: string;
  readonly salt: string;
  readonly context: string;
  readonly derivedKey: string;
  readonly baseNonce: string;
  readonly commitment: string;
  readonly chunkNonces: readonly string[];
  readonly plaintextLength: number;
  readonly sealed?: string;
  readonly sealedLength: number;
  readonly sealedSha256: string;
}

interface RefusedVector {
  readonly name: string;
  readonly case: string;
  readonly code: string;
  readonly truncate?: number;
  readonly append?: string;
  readonly flip?: number;
  readonly swap?: readonly [number, number];
  readonly org?: string;
  readonly row?: string;
}

interface Vectors {
  readonly cases: readonly VectorCase[];
  readonly refused: readonly RefusedVector[];
}

const VECTORS_PATH = new URL('../vectors/file-v1.json', import.meta.url).pathname;
const READER_PATH = new URL('./file_reader.py', import.meta.url).pathname;
const vectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8')) as Vectors;

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');

function keysOf(vector: VectorCase, org: string = vector.org): FixedFileKeys {
  return new FixedFileKeys(parseOrgId(org), [[bytes(vector.keyId), bytes(vector.fileKey)]]);
}

function plaintextOf(vector: VectorCase): Uint8Array {
  return Uint8Array.from({ length: vector.plaintextLength }, (_, index) => index % 251);
}

function sealVector(vector: VectorCase): Uint8Array {
  const machine = new SealingMachine(keysOf(vector), vector, bytes(vector.salt));
  const parts: Uint8Array[] = [];
  const emit: Emit = (part) => parts.push(Uint8Array.from(part));
  const plaintext = plaintextOf(vector);
  for (let at = 0; at < plaintext.length; ) at = machine.update(plaintext, at, emit);
  machine.final(emit);
  return concat(parts);
}

function altered(sealed: Uint8Array, change: RefusedVector): Uint8Array {
  const cut = concat([sealed.slice(0, change.truncate), bytes(change.append ?? '')]);
  const flipped = change.flip === undefined ? cut : flip(cut, change.flip);
  if (change.swap === undefined) return flipped;
  const [a, b] = change.swap.map((chunk) => PREFIX + chunk * SEALED_CHUNK) as [number, number];
  flipped.set(sealed.subarray(b, b + SEALED_CHUNK), a);
  flipped.set(sealed.subarray(a, a + SEALED_CHUNK), b);
  return flipped;
}

describe('test vectors of the format', () => {
  it.each(vectors.cases.map((vector) => [vector.name, vector] as const))(
    'seals and opens "%s" byte for byte, with every intermediate value',
    async (_name, vector) => {
      const context = concat([encodeHeader(bytes(vector.keyId)), encodeCell(parseOrgId(vector.org), vector)]);
      const derived = deriveMessage(bytes(vector.fileKey), bytes(vector.salt), context);
      expect(hex(context)).toBe(vector.context);
      expect(hex(derived)).toBe(vector.derivedKey + vector.baseNonce + vector.commitment);
      const nonces = vector.chunkNonces.map((_nonce, chunk) =>
        hex(chunkNonce(bytes(vector.baseNonce), chunk, new Uint8Array(12))),
      );
      expect(nonces).toEqual(vector.chunkNonces);
      const sealed = sealVector(vector);
      expect(sealed.length).toBe(vector.sealedLength);
      expect(createHash('sha256').update(sealed).digest('hex')).toBe(vector.sealedSha256);
      if (vector.sealed !== undefined) expect(hex(sealed)).toBe(vector.sealed);
      for (const read of Object.values(READERS)) {
        expect(hex(await read(keysOf(vector), vector, sealed))).toBe(hex(plaintextOf(vector)));
      }
    },
  );

  it.each(vectors.refused.map((vector) => [vector.name, vector] as const))(
    'refuses "%s" with the stated code in every reader',
    async (_name, change) => {
      const vector = vectors.cases.find(({ name }) => name === change.case) as VectorCase;
      const sealed = altered(sealVector(vector), change);
      const cell = { table: vector.table, column: vector.column, row: change.row ?? vector.row };
      for (const [reader, read] of Object.entries(READERS)) {
        const code = await outcome(() => read(keysOf(vector, change.org), cell, sealed));
        expect([reader, code]).toEqual([reader, change.code]);
      }
    },
  );
});

function pythonWithCryptography(): boolean {
  try {
    execFileSync('python3', ['-c', 'import cryptography.hazmat.primitives.ciphers.aead'], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!pythonWithCryptography())('second reader (python3 with its cryptography package)', () => {
  it('agrees on every vector and every refusal', () => {
    const answer = execFileSync('python3', [READER_PATH, 'vectors', VECTORS_PATH], { encoding: 'utf8' });
    expect(answer).toBe(`${vectors.cases.length} cases, ${vectors.refused.length} refusals\n`);
  });

  it('opens a file that was sealed here', () => {
    const keys = new FixedFileKeys();
    const [fileKey] = keys.versions.values();
    const plaintext = randomBytes(3 * CHUNK + 5);
    const sealed = encryptBytes(keys, CELL, plaintext);
    const args = [READER_PATH, 'open', hex(fileKey as Uint8Array), ORG, CELL.table, CELL.column, CELL.row];
    const opened = execFileSync('python3', args, { input: sealed, maxBuffer: 1 << 20 });
    expect(opened.equals(plaintext)).toBe(true);
  });
});

describe('key derivation and nonces', () => {
  it('is HKDF-Expand-SHA-512 as a second implementation computes it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 24, maxLength: 24 }),
        fc.uint8Array({ maxLength: 300 }),
        (fileKey, salt, context) => {
          // HMAC pads its key with zeros, so the longer PRK that the other implementation insists on is the same one.
          const info = concat([
            Buffer.from('c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0'),
            salt,
            context,
          ]);
          expect(hex(deriveMessage(fileKey, salt, context))).toBe(
            hex(expand(sha512, concat([fileKey, new Uint8Array(32)]), info, 76)),
          );
        },
      ),
    );
  });

  it('XORs the chunk number into the last five bytes of the base nonce, up to 38 bits', () => {
    const base = fc.uint8Array({ minLength: 12, maxLength: 12 });
    fc.assert(
      fc.property(base, fc.integer({ min: 0, max: 2 ** 38 - 1 }), (baseNonce, chunk) => {
        const expected = BigInt(`0x${hex(baseNonce)}`) ^ BigInt(chunk);
        expect(hex(chunkNonce(baseNonce, chunk, new Uint8Array(12)))).toBe(
          expected.toString(16).padStart(24, '0'),
        );
      }),
    );
  });

  it('never seals or opens a chunk numbered 2^38 or above', async () => {
    const { message } = newMessage(new FixedFileKeys(), CELL);
    const parts: Uint8Array[] = [];
    sealChunk(message, 2 ** 38 - 1, Uint8Array.of(7), (part) => parts.push(part));
    expect(openChunk(message, 2 ** 38 - 1, concat(parts))).toEqual(Buffer.from([7]));
    const seal = (): void => sealChunk(message, 2 ** 38, Uint8Array.of(7), () => undefined);
    expect(await outcome(seal)).toBe('crypto.message_too_large');
    expect(await outcome(() => openChunk(message, 2 ** 38, concat(parts)))).toBe('crypto.message_too_large');
  });

  it('gives every file its own salt, key and commitment', () => {
    const keys = new FixedFileKeys();
    const prefixes = Array.from({ length: 50 }, () => hex(encryptBytes(keys, CELL, new Uint8Array(0))));
    expect(new Set(prefixes.map((sealed) => sealed.slice(44, 92))).size).toBe(50);
    expect(new Set(prefixes.map((sealed) => sealed.slice(92, 156))).size).toBe(50);
  });
});

describe('layout', () => {
  it('is header, salt, commitment and chunks of 16 KiB of which the last is short', () => {
    const keys = new FixedFileKeys();
    for (const size of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 17]) {
      const sealed = encryptBytes(keys, CELL, randomBytes(size));
      const chunks = Math.floor(size / CHUNK) + 1;
      expect(sealed.length).toBe(22 + 56 + size + chunks * 16);
      expect(sealed.length).toBe(sealedSize(size));
      expect(hex(sealed.subarray(0, 22))).toBe(`52464e430102${hex(keys.activeKeyId)}`);
    }
  });

  it('maps sealed length to plaintext length and back for every length', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 - 1 }), (size) => {
        const shape = shapeOfFile(ORG, sealedSize(size));
        expect(shape).toEqual({ size, lastChunk: Math.floor(size / CHUNK) });
      }),
    );
  });

  it('accepts exactly the lengths that some plaintext has', () => {
    const valid = new Set(Array.from({ length: 3 * CHUNK }, (_, size) => sealedSize(size)));
    for (let length = 0; length < sealedSize(3 * CHUNK); length++) {
      let accepted = true;
      try {
        shapeOfFile(ORG, length);
      } catch {
        accepted = false;
      }
      if (accepted !== valid.has(length)) throw new Error(`length ${length}`);
    }
  });
});

describe('cell context', () => {
  it('encodes two different cells to different bytes', () => {
    const part = fc.string({ minLength: 1, maxLength: 6, unit: 'binary' });
    const cell = fc.record({ table: part, column: part, row: part });
    fc.assert(
      fc.property(cell, cell, (a, b) => {
        fc.pre(a.table !== b.table || a.column !== b.column || a.row !== b.row);
        expect(hex(encodeCell(ORG, a))).not.toBe(hex(encodeCell(ORG, b)));
      }),
      { numRuns: 50 },
    );
    const shifted = [
      { table: 'ab', column: 'c', row: 'd' },
      { table: 'a', column: 'bc', row: 'd' },
      { table: 'a', column: 'b', row: 'cd' },
    ];
    expect(new Set(shifted.map((each) => hex(encodeCell(ORG, each)))).size).toBe(3);
  });

  it('refuses parts that are empty, over-long, no strings, or have no UTF-8 form', () => {
    const keys = new FixedFileKeys();
    const parts: readonly unknown[] = ['', 'x'.repeat(1025), '\ud800', 5, undefined];
    for (const part of parts) {
      for (const name of ['table', 'column', 'row']) {
        const cell = { ...CELL, [name]: part } as FileCell;
        expect(() => encryptBytes(keys, cell, new Uint8Array(1))).toThrow(TypeError);
        expect(() => encryptTransform(keys, cell)).toThrow(TypeError);
        expect(() => decryptTransform(keys, cell)).toThrow(TypeError);
        expect(() => encryptStream(keys, cell)).toThrow(TypeError);
        expect(() => decryptStream(keys, cell)).toThrow(TypeError);
        expect(() => decryptBytes(keys, cell, sealedSample(keys))).toThrow(TypeError);
      }
    }
  });

  it('opens a file of an older key version after rotation', async () => {
    const [old, recent] = [freshVersion(), freshVersion()];
    const sealed = encryptBytes(new FixedFileKeys(ORG, [old]), CELL, randomBytes(20_000));
    const rotated = new FixedFileKeys(ORG, [old, recent]);
    expect(decryptBytes(rotated, CELL, sealed)).toHaveLength(20_000);
    const resealed = encryptBytes(rotated, CELL, new Uint8Array(1));
    expect(await outcome(() => decryptBytes(new FixedFileKeys(ORG, [old]), CELL, resealed))).toBe(
      'crypto.unknown_key_version',
    );
  });
});

function sealedSample(keys: FixedFileKeys): Uint8Array {
  return encryptBytes(keys, CELL, Uint8Array.of(1, 2, 3));
}
