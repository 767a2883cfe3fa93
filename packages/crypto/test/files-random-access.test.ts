import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { sealChunk } from '../src/files/chunk-cipher.ts';
import { chunkOffset } from '../src/files/file-format.ts';
import {
  decryptTransform,
  encryptBytes,
  encryptStream,
  encryptTransform,
  fileSource,
  openFile,
  type RangeSource,
  sealedSize,
} from '../src/files/index.ts';
import { newMessage } from '../src/files/message-key.ts';
import {
  CELL,
  CHUNK,
  CountingSource,
  FixedFileKeys,
  flip,
  outcome,
  PREFIX,
  SEALED_CHUNK,
} from './files-setup.ts';

const keys = new FixedFileKeys();
const plaintext = new Uint8Array(randomBytes(4 * CHUNK + 1000));
const sealed = encryptBytes(keys, CELL, plaintext);

/** A sealed file of any size that is made while it is read: byte i of chunk k is (k + i) mod 251. */
class VirtualFile implements RangeSource {
  readonly size: number;
  readonly #plain: number;
  readonly #prefix: Uint8Array;
  readonly #message: ReturnType<typeof newMessage>['message'];
  count = 0;

  constructor(plain: number) {
    const { message, prefix } = newMessage(keys, CELL);
    this.#message = message;
    this.#prefix = prefix;
    this.#plain = plain;
    this.size = sealedSize(plain);
  }

  static plainChunk(chunk: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, index) => (chunk + index) % 251);
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.count += length;
    const out = new Uint8Array(length);
    const place = (bytes: Uint8Array, at: number): void => {
      const from = Math.max(0, offset - at);
      const to = Math.min(bytes.length, offset + length - at);
      if (from < to) out.set(bytes.subarray(from, to), at + from - offset);
    };
    place(this.#prefix, 0);
    const first = Math.max(0, Math.floor((offset - PREFIX) / SEALED_CHUNK));
    for (let chunk = first; chunkOffset(chunk) < Math.min(offset + length, this.size); chunk++) {
      const plain = VirtualFile.plainChunk(chunk, Math.min(CHUNK, this.#plain - chunk * CHUNK));
      let at = chunkOffset(chunk);
      sealChunk(this.#message, chunk, plain, (part) => {
        place(part, at);
        at += part.length;
      });
    }
    return Promise.resolve(out);
  }
}

describe('a file opened for random access', () => {
  it('returns any range as the whole file has it', async () => {
    const file = await openFile(keys, CELL, new CountingSource(sealed));
    expect(file.size).toBe(plaintext.length);
    const position = fc.oneof(
      fc.nat(plaintext.length + 10),
      fc.constantFrom(0, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK),
    );
    await fc.assert(
      fc.asyncProperty(position, position, async (offset, length) => {
        const range = await file.read(offset, length);
        expect(Buffer.from(range).equals(plaintext.subarray(offset, offset + length))).toBe(true);
      }),
    );
  });

  it('is shorter only at the end, and empty behind it', async () => {
    const file = await openFile(keys, CELL, new CountingSource(sealed));
    expect(await file.read(file.size - 5, 100)).toEqual(plaintext.slice(-5));
    expect(await file.read(file.size, 1)).toHaveLength(0);
    expect(await file.read(Number.MAX_SAFE_INTEGER, 1)).toHaveLength(0);
    expect(await file.read(10, 0)).toHaveLength(0);
  });

  it.each([0, 1, CHUNK - 1, CHUNK, 2 * CHUNK])('of %i bytes opens and reads whole', async (size) => {
    const content = plaintext.slice(0, size);
    const file = await openFile(keys, CELL, new CountingSource(encryptBytes(keys, CELL, content)));
    expect(file.size).toBe(size);
    expect(await file.read(0, size + 1)).toEqual(content);
  });

  it('reads at most 96 KiB to give 64 KiB of 1 GiB, opening included', async () => {
    for (const [size, offset] of [
      [2 ** 30, 0],
      [2 ** 30, 700_000_001],
      [2 ** 30 - 1, 2 ** 30 - 65_537],
      [2 ** 30 + 8000, 123_456_789],
    ] as const) {
      const source = new VirtualFile(size);
      const file = await openFile(keys, CELL, source);
      const opening = source.count;
      const range = await file.read(offset, 65_536);
      const first = Math.floor(offset / CHUNK);
      const expected = VirtualFile.plainChunk(first, CHUNK).subarray(offset % CHUNK);
      expect(Buffer.from(range.subarray(0, expected.length)).equals(expected)).toBe(true);
      expect(opening).toBeLessThanOrEqual(PREFIX + SEALED_CHUNK - 1);
      expect(source.count - opening).toBeLessThanOrEqual(5 * SEALED_CHUNK);
      // 173 bytes more only where the last chunk is almost full and the range unaligned.
      expect(source.count).toBeLessThanOrEqual(size === 2 ** 30 - 1 ? 5 * SEALED_CHUNK + 16_477 : 96 * 1024);
    }
  });

  it('crosses its 1 MiB windows without a seam, far behind 4 GiB', async () => {
    const source = new VirtualFile(5 * 2 ** 30);
    const file = await openFile(keys, CELL, source);
    const first = 270_000;
    const range = await file.read(first * CHUNK, 130 * CHUNK);
    for (let chunk = 0; chunk < 130; chunk++) {
      const expected = VirtualFile.plainChunk(first + chunk, CHUNK);
      expect(Buffer.from(range.subarray(chunk * CHUNK, (chunk + 1) * CHUNK)).equals(expected)).toBe(true);
    }
  });

  it('refuses a range that touches an altered chunk and serves the others', async () => {
    const file = await openFile(keys, CELL, new CountingSource(flip(sealed, PREFIX + 2 * SEALED_CHUNK + 9)));
    expect(await file.read(0, 2 * CHUNK)).toEqual(plaintext.slice(0, 2 * CHUNK));
    expect(await outcome(() => file.read(2 * CHUNK - 1, 2))).toBe('crypto.decrypt_failed');
    expect(await outcome(() => file.read(2 * CHUNK + 5000, 1))).toBe('crypto.decrypt_failed');
    expect(await file.read(3 * CHUNK, 50)).toEqual(plaintext.slice(3 * CHUNK, 3 * CHUNK + 50));
  });

  it('never believes a size that the last chunk does not prove', async () => {
    for (let size = 0; size < sealed.length; size += 61) {
      const source = { size, read: new CountingSource(sealed).read.bind(new CountingSource(sealed)) };
      expect(await outcome(() => openFile(keys, CELL, source))).not.toBe('opened');
    }
    const longer = new CountingSource(new Uint8Array([...sealed, 0]));
    expect(await outcome(() => openFile(keys, CELL, longer))).toBe('crypto.decrypt_failed');
  });

  it('refuses a source whose size is no number of bytes', async () => {
    for (const size of [Number.NaN, -1, 94.5, Number.POSITIVE_INFINITY]) {
      const source: RangeSource = { size, read: () => Promise.resolve(sealed) };
      await expect(openFile(keys, CELL, source)).rejects.toThrow(TypeError);
      expect(() => sealedSize(size)).toThrow(TypeError);
    }
  });

  it('refuses what a source answers in the wrong length', async () => {
    for (const change of [
      (bytes: Uint8Array) => bytes.slice(1),
      (bytes: Uint8Array) => new Uint8Array(bytes.length + 1),
    ]) {
      const honest = new CountingSource(sealed);
      let lying = false;
      const source: RangeSource = {
        size: sealed.length,
        read: async (offset, length) => {
          const bytes = await honest.read(offset, length);
          return lying ? change(bytes) : bytes;
        },
      };
      const file = await openFile(keys, CELL, source);
      lying = true;
      expect(await outcome(() => file.read(0, 10))).toBe('crypto.malformed_message');
      expect(await outcome(() => openFile(keys, CELL, source))).toBe('crypto.malformed_message');
    }
  });

  it('notices that the file behind it was replaced by another one of the same cell', async () => {
    let current = sealed;
    const source: RangeSource = {
      size: sealed.length,
      read: (offset, length) => Promise.resolve(current.slice(offset, offset + length)),
    };
    const file = await openFile(keys, CELL, source);
    current = encryptBytes(keys, CELL, plaintext);
    expect(await outcome(() => file.read(0, 10))).toBe('crypto.decrypt_failed');
  });

  it('can no longer be read once its key is revoked', async () => {
    const leased = new FixedFileKeys();
    const file = await openFile(leased, CELL, new CountingSource(encryptBytes(leased, CELL, plaintext)));
    expect(await file.read(0, 5)).toHaveLength(5);
    leased.revoked = true;
    expect(await outcome(() => file.read(0, 5))).toBe('crypto.key_revoked');
  });

  it('shows no key when it is printed', async () => {
    const file = await openFile(keys, CELL, new CountingSource(sealed));
    const streams = [encryptTransform(keys, CELL), decryptTransform(keys, CELL), encryptStream(keys, CELL)];
    for (const shown of [file, ...streams].map((each) => inspect(each, { depth: 20, showHidden: true }))) {
      expect(shown).not.toMatch(/KeyObject|baseNonce|fileKey/i);
    }
    expect(JSON.stringify(file)).toBe(`{"size":${plaintext.length}}`);
  });

  it('passes on the error of its source', async () => {
    const source: RangeSource = { size: 1000, read: () => Promise.reject(new Error('503 slow down')) };
    await expect(openFile(keys, CELL, source)).rejects.toThrow('503 slow down');
  });

  it('refuses offsets and lengths that are no whole, non-negative numbers', async () => {
    const file = await openFile(keys, CELL, new CountingSource(sealed));
    for (const value of [-1, 1.5, Number.NaN, 2 ** 53, '1' as unknown as number]) {
      await expect(file.read(value, 1)).rejects.toThrow(TypeError);
      await expect(file.read(0, value)).rejects.toThrow(TypeError);
    }
  });
});

describe('a file on disk', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sealed-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it('serves ranges and is closed by its block', async () => {
    const path = join(folder, 'plan.sealed');
    await writeFile(path, sealed);
    const opened = await (async () => {
      await using source = await fileSource(path);
      const file = await openFile(keys, CELL, source);
      expect(await file.read(CHUNK - 3, 6)).toEqual(plaintext.slice(CHUNK - 3, CHUNK + 3));
      return file;
    })();
    await expect(opened.read(0, 1)).rejects.toThrow();
  });

  it('is refused when it was truncated after it was opened', async () => {
    const path = join(folder, 'shrinking.sealed');
    await writeFile(path, sealed);
    await using source = await fileSource(path);
    const file = await openFile(keys, CELL, source);
    await truncate(path, PREFIX + SEALED_CHUNK + 100);
    expect(await file.read(0, CHUNK)).toEqual(plaintext.slice(0, CHUNK));
    expect(await outcome(() => file.read(CHUNK, 1))).toBe('crypto.malformed_message');
  });

  it('that does not exist rejects with the error of the file system', async () => {
    await expect(fileSource(join(folder, 'none'))).rejects.toThrow('ENOENT');
  });
});
