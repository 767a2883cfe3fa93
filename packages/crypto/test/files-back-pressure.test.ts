import { PassThrough, Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import { describe, expect, it } from 'vitest';
import { decryptTransform, encryptBytes, encryptStream, encryptTransform } from '../src/files/index.ts';
import { CELL, CHUNK, FixedFileKeys, PREFIX, pieces, SEALED_CHUNK } from './files-setup.ts';

const keys = new FixedFileKeys();

describe('back-pressure', () => {
  const LARGE = 256 * CHUNK;

  it.each([
    ['encryptTransform', () => encryptTransform(keys, CELL), () => new Uint8Array(LARGE)],
    [
      'decryptTransform',
      () => decryptTransform(keys, CELL),
      () => encryptBytes(keys, CELL, new Uint8Array(LARGE)),
    ],
  ] as const)('%s queues little of one huge write until it is read', async (_name, make, input) => {
    const transform = make();
    const bytes = input();
    transform.end(bytes);
    await new Promise(setImmediate);
    expect(transform.readableLength).toBeGreaterThan(0);
    expect(transform.readableLength).toBeLessThanOrEqual(65_536 + SEALED_CHUNK);
    let most = 0;
    let total = 0;
    for await (const part of transform) {
      total += (part as Uint8Array).length;
      most = Math.max(most, transform.readableLength);
    }
    expect(most).toBeLessThanOrEqual(65_536 + SEALED_CHUNK);
    expect(Math.abs(total - bytes.length)).toBe(PREFIX + 257 * 16);
  });

  it.each([1000, 10_007, 16_401, 65_536, 200_000])(
    'never stalls a reader that takes all there is at once, with pieces of %i bytes',
    async (size) => {
      const content = new Uint8Array(20 * CHUNK + 1);
      const source = Readable.from(pieces(content, size)).pipe(encryptTransform(keys, CELL));
      const stream = source.pipe(decryptTransform(keys, CELL));
      let total = 0;
      stream.on('readable', () => {
        for (;;) {
          const part = stream.read(stream.readableLength || undefined) as Uint8Array | null;
          if (part === null) break;
          total += part.length;
        }
      });
      await finished(stream);
      expect(total).toBe(content.length);
    },
    5000,
  );

  it('keeps a Node.js source from running ahead of a consumer that has stopped', async () => {
    let produced = 0;
    const source = new Readable({
      highWaterMark: 65_536,
      read() {
        produced += 65_536;
        this.push(new Uint8Array(65_536));
      },
    });
    const stopped = new PassThrough({ highWaterMark: 65_536 });
    source.pipe(encryptTransform(keys, CELL)).pipe(stopped);
    let before = -1;
    while (before !== produced) {
      before = produced;
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    expect(produced).toBeLessThanOrEqual(8 * 65_536);
    source.destroy();
  });

  it('keeps a web source from running ahead of a consumer that has stopped', async () => {
    let produced = 0;
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        produced += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    const reader = source.pipeThrough(encryptStream(keys, CELL)).getReader();
    await reader.read();
    let before = -1;
    while (before !== produced) {
      before = produced;
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    expect(produced).toBeLessThanOrEqual(8 * 65_536);
    await reader.cancel();
  });
});
