import { createDecipheriv, randomBytes } from 'node:crypto';
import { Readable, type Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream, WritableStream } from 'node:stream/web';
import { afterEach, describe, expect, it, vi } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type Emit, OpeningMachine, SealingMachine } from '../src/files/chunk-machine.ts';
import {
  decryptBytes,
  decryptStream,
  decryptTransform,
  encryptBytes,
  encryptStream,
  encryptTransform,
} from '../src/files/index.ts';
import {
  CELL,
  CHUNK,
  collect,
  concat,
  FixedFileKeys,
  flip,
  outcome,
  PREFIX,
  pieces,
  SEALED_CHUNK,
} from './files-setup.ts';

const keys = new FixedFileKeys();
const plaintext = new Uint8Array(randomBytes(4 * CHUNK + 1000));
const sealed = encryptBytes(keys, CELL, plaintext);

afterEach(() => {
  vi.restoreAllMocks();
});

/** Cuts bytes at the given points, which may lie anywhere and coincide. */
function cut(bytes: Uint8Array, points: readonly number[]): Uint8Array[] {
  const sorted = [
    0,
    ...[...points].map((point) => point % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  return sorted.slice(1).map((end, at) => bytes.slice(sorted[at], end));
}

const throughNode = (parts: Uint8Array[], transform: Transform): Promise<Uint8Array> =>
  collect(Readable.from(parts).compose(transform));
const throughWeb = (parts: Uint8Array[], stream: ReturnType<typeof encryptStream>): Promise<Uint8Array> =>
  collect(ReadableStream.from<Uint8Array>(parts).pipeThrough(stream));

/** Remembers every buffer the library reserves for held-back bytes. */
function watchHeldBuffers(): Uint8Array[] {
  const held: Uint8Array[] = [];
  const original = Buffer.allocUnsafeSlow.bind(Buffer);
  vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((size) => {
    const buffer = original(size);
    if (size === CHUNK || size === SEALED_CHUNK) held.push(buffer);
    return buffer;
  });
  return held;
}

const isBlank = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

describe('pieces of any size', () => {
  const points = fc.array(fc.nat(), { maxLength: 12 });
  const sizes = fc.oneof(
    fc.nat(100),
    fc.nat(3 * CHUNK),
    fc.constantFrom(0, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK),
  );

  it('make no difference to Node.js streams', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, points, points, async (size, write, read) => {
        const content = plaintext.slice(0, size);
        const file = await throughNode(cut(content, write), encryptTransform(keys, CELL));
        expect(Buffer.from(decryptBytes(keys, CELL, file)).equals(content)).toBe(true);
        const opened = await throughNode(cut(file, read), decryptTransform(keys, CELL));
        expect(Buffer.from(opened).equals(content)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('make no difference to web streams', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, points, points, async (size, write, read) => {
        const content = plaintext.slice(0, size);
        const file = await throughWeb(cut(content, write), encryptStream(keys, CELL));
        expect(Buffer.from(decryptBytes(keys, CELL, file)).equals(content)).toBe(true);
        const opened = await throughWeb(cut(file, read), decryptStream(keys, CELL));
        expect(Buffer.from(opened).equals(content)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('may be single bytes', async () => {
    const content = plaintext.slice(0, 300);
    const file = await throughNode(pieces(content, 1), encryptTransform(keys, CELL));
    expect(await throughWeb(pieces(file, 1), decryptStream(keys, CELL))).toEqual(content);
  });

  it('may reuse one buffer from write to write', async () => {
    const shared = new Uint8Array(1000);
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < plaintext.length; at += 1000) {
        const part = plaintext.subarray(at, at + 1000);
        shared.set(part);
        yield shared.subarray(0, part.length);
      }
    }
    const parts: Uint8Array[] = [];
    const machine = new SealingMachine(keys, CELL);
    const emit: Emit = (part) => parts.push(part);
    for await (const part of source())
      for (let at = 0; at < part.length; ) at = machine.update(part, at, emit);
    machine.final(emit);
    expect(Buffer.from(decryptBytes(keys, CELL, concat(parts))).equals(plaintext)).toBe(true);
  });

  it('of anything but bytes are refused', async () => {
    const stream = ReadableStream.from(['text'] as unknown as Uint8Array[]).pipeThrough(
      encryptStream(keys, CELL),
    );
    await expect(collect(stream)).rejects.toThrow(TypeError);
  });

  it('come out of web streams as plain Uint8Arrays', async () => {
    const out = ReadableStream.from([plaintext]).pipeThrough(encryptStream(keys, CELL));
    for await (const part of out) expect(part.constructor).toBe(Uint8Array);
  });
});

describe('a decrypting stream', () => {
  it('releases no byte of a chunk before the last byte of its tag has come', () => {
    const single = new OpeningMachine(keys, CELL);
    let released = 0;
    for (const [at, byte] of sealed.entries()) {
      single.update(Uint8Array.of(byte), 0, (part) => {
        released += part.length;
      });
      const complete = Math.max(0, Math.floor((at + 1 - PREFIX) / SEALED_CHUNK));
      if (released !== complete * CHUNK) throw new Error(`${released} bytes released after ${at + 1}`);
    }
  });

  it.each(['node', 'web'])('releases exactly the chunks before an altered one (%s)', async (kind) => {
    for (const chunk of [0, 1, 3, 4]) {
      const altered = flip(sealed, PREFIX + chunk * SEALED_CHUNK + 40);
      const parts: Uint8Array[] = [];
      const run = async (): Promise<void> => {
        const input = pieces(altered, 50_000);
        const stream: AsyncIterable<Uint8Array> =
          kind === 'node'
            ? Readable.from(input).pipe(decryptTransform(keys, CELL))
            : ReadableStream.from<Uint8Array>(input).pipeThrough(decryptStream(keys, CELL));
        for await (const part of stream) parts.push(part);
      };
      expect(await outcome(run)).toBe('crypto.decrypt_failed');
      const released = concat(parts);
      // A failing stream may drop authenticated chunks it had queued, but never adds one.
      expect(released.length).toBeLessThanOrEqual(chunk * CHUNK);
      expect(Buffer.from(released).equals(plaintext.subarray(0, released.length))).toBe(true);
    }
  });

  it('checks the commitment before it decrypts anything', async () => {
    const decrypted = watchDecryption();
    expect(await outcome(() => decryptBytes(keys, CELL, flip(sealed, 50)))).toBe('crypto.decrypt_failed');
    expect(decrypted).toHaveLength(0);
  });

  it('wipes the plaintext of a chunk that fails to authenticate', async () => {
    const decrypted = watchDecryption();
    expect(await outcome(() => decryptBytes(keys, CELL, flip(sealed, PREFIX + CHUNK + 3)))).toBe(
      'crypto.decrypt_failed',
    );
    expect(decrypted.map((part) => part.length)).toEqual([CHUNK]);
    expect(decrypted.every(isBlank)).toBe(true);
  });

  it('wipes chunks that had authenticated when a one-shot call fails later', async () => {
    const decrypted = watchDecryption();
    expect(await outcome(() => decryptBytes(keys, CELL, flip(sealed, sealed.length - 1)))).toBe(
      'crypto.decrypt_failed',
    );
    expect(decrypted).toHaveLength(5);
    expect(decrypted.every(isBlank)).toBe(true);
  });
});

/** Collects every plaintext buffer node:crypto hands out, as the library got it. */
function watchDecryption(): Uint8Array[] {
  const out: Uint8Array[] = [];
  const sample = createDecipheriv('aes-256-gcm', randomBytes(32), randomBytes(12));
  const prototype = Object.getPrototypeOf(sample) as { update: (data: Uint8Array) => Buffer };
  const original = prototype.update;
  vi.spyOn(prototype, 'update').mockImplementation(function (this: unknown, data: Uint8Array): Buffer {
    const plain = original.call(this, data);
    out.push(plain);
    return plain;
  });
  return out;
}

describe('a stream cut short', () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield plaintext.slice(0, 2 * CHUNK + 500);
    throw new Error('the disk is gone');
  }

  it('surfaces the error of its source, wipes what it held, and leaves a file that never opens', async () => {
    const held = watchHeldBuffers();
    const transform = encryptTransform(keys, CELL);
    const written: Uint8Array[] = [];
    const sink = new Writable({
      write(part: Uint8Array, _encoding, done) {
        written.push(part);
        done();
      },
    });
    await expect(pipeline(failing, transform, sink)).rejects.toThrow('the disk is gone');
    expect(transform.destroyed).toBe(true);
    expect(held).toHaveLength(1);
    expect(held.every(isBlank)).toBe(true);
    expect(await outcome(() => decryptBytes(keys, CELL, concat(written)))).toBe('crypto.malformed_message');
  });

  it('surfaces the error of its source through web streams, wipes, and leaves a file that never opens', async () => {
    const held = watchHeldBuffers();
    const written: Uint8Array[] = [];
    const sink = new WritableStream<Uint8Array>({ write: (part) => void written.push(part) });
    const run = ReadableStream.from<Uint8Array>(failing())
      .pipeThrough(encryptStream(keys, CELL))
      .pipeTo(sink);
    await expect(run).rejects.toThrow('the disk is gone');
    expect(held).toHaveLength(1);
    expect(held.every(isBlank)).toBe(true);
    expect(await outcome(() => decryptBytes(keys, CELL, concat(written)))).not.toBe('opened');
  });

  it('wipes when the consumer of a web stream cancels', async () => {
    const held = watchHeldBuffers();
    const { readable, writable } = encryptStream(keys, CELL);
    const writer = writable.getWriter();
    const reader = readable.getReader();
    await writer.write(plaintext.slice(0, 1000));
    expect((await reader.read()).value).toHaveLength(PREFIX);
    expect(held.some(isBlank)).toBe(false);
    await reader.cancel();
    expect(held.every(isBlank)).toBe(true);
    await expect(writer.write(plaintext)).rejects.toThrow();
  });

  it('wipes when the producer of a web stream aborts', async () => {
    const held = watchHeldBuffers();
    const { readable, writable } = encryptStream(keys, CELL);
    const writer = writable.getWriter();
    await writer.write(plaintext.slice(0, 1000));
    await writer.abort(new Error('upload cancelled'));
    expect(held.every(isBlank)).toBe(true);
    await expect(collect(readable)).rejects.toThrow('upload cancelled');
  });

  it('wipes when the consumer of a Node.js stream goes away', async () => {
    const held = watchHeldBuffers();
    const transform = encryptTransform(keys, CELL);
    const sink = new Writable({ write: (_part, _encoding, done) => done(new Error('client hung up')) });
    await expect(
      pipeline(Readable.from([plaintext.slice(0, 1000), plaintext]), transform, sink),
    ).rejects.toThrow('client hung up');
    expect(held.every(isBlank)).toBe(true);
  });

  it('wipes when a web stream fails to authenticate', async () => {
    const held = watchHeldBuffers();
    const altered = flip(sealed, PREFIX + 5);
    const out = ReadableStream.from<Uint8Array>(pieces(altered)).pipeThrough(decryptStream(keys, CELL));
    expect(await outcome(() => collect(out))).toBe('crypto.decrypt_failed');
    expect(held).toHaveLength(1);
    expect(held.every(isBlank)).toBe(true);
  });

  it('accepts nothing after it was destroyed, even in the middle of a large write', async () => {
    const held = watchHeldBuffers();
    const transform = encryptTransform(keys, CELL);
    transform.write(new Uint8Array(64 * CHUNK + 5));
    transform.destroy();
    const error = await new Promise((resolve) => transform.write(plaintext, resolve));
    expect(error).toMatchObject({ code: 'ERR_STREAM_DESTROYED' });
    expect(held.every(isBlank)).toBe(true);
  });

  it('ends an iteration that breaks off with a destroyed, wiped stream', async () => {
    const held = watchHeldBuffers();
    const transform = decryptTransform(keys, CELL);
    for await (const part of Readable.from(pieces(sealed)).pipe(transform)) {
      expect(part.length).toBeGreaterThanOrEqual(CHUNK);
      break;
    }
    expect(transform.destroyed).toBe(true);
    expect(held.every(isBlank)).toBe(true);
  });

  it('cannot be continued by its machine', () => {
    for (const machine of [new SealingMachine(keys, CELL), new OpeningMachine(keys, CELL)]) {
      machine.wipe();
      expect(() => machine.update(plaintext, 0, () => undefined)).toThrow(TypeError);
      expect(() => machine.final(() => undefined)).toThrow(TypeError);
    }
  });

  it('throws at once when the key is revoked before it begins', async () => {
    const revoked = new FixedFileKeys();
    revoked.revoked = true;
    expect(await outcome(() => encryptTransform(revoked, CELL))).toBe('crypto.key_revoked');
    expect(await outcome(() => encryptStream(revoked, CELL))).toBe('crypto.key_revoked');
  });
});
