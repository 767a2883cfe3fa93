/**
 * Encrypted files as web streams, for `fetch` bodies and other runtimes' streams. Invariants: as in `node-streams.ts`,
 * but a single written piece is processed whole, because a transformer cannot wait for its reader within one piece:
 * memory is bounded by the largest piece written.
 */
import { type QueuingStrategy, TransformStream } from 'node:stream/web';
import { type ChunkMachine, OpeningMachine, SealingMachine } from './chunk-machine.ts';
import type { FileCell } from './file-format.ts';
import { type FileKeys, fileKeys } from './key-source.ts';

const HIGH_WATER_MARK_BYTES = 65_536;

/** The bytes as a plain `Uint8Array` rather than a `Buffer`, over the same memory. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function machineStream(machine: ChunkMachine): TransformStream<Uint8Array, Uint8Array> {
  const orWipe = (step: () => void): void => {
    try {
      step();
    } catch (error) {
      machine.wipe();
      throw error;
    }
  };
  // Not `ByteLengthQueuingStrategy`: a piece it cannot measure errors the writable side and leaves the reader waiting.
  const strategy: QueuingStrategy<Uint8Array> = {
    highWaterMark: HIGH_WATER_MARK_BYTES,
    size: (piece) => (piece instanceof Uint8Array ? piece.length : 1),
  };
  return new TransformStream<Uint8Array, Uint8Array>(
    {
      transform: (piece, controller) =>
        orWipe(() => {
          if (!(piece instanceof Uint8Array)) throw new TypeError('a file stream takes Uint8Array pieces');
          let position = 0;
          while (position < piece.length) {
            position = machine.update(piece, position, (bytes) => controller.enqueue(plainBytes(bytes)));
          }
        }),
      flush: (controller) => orWipe(() => machine.final((bytes) => controller.enqueue(plainBytes(bytes)))),
      cancel: () => machine.wipe(),
    },
    strategy,
    strategy,
  );
}

/**
 * A web `TransformStream` that encrypts what is written to it as one file of the cell, under the organisation's active
 * file key. The key is looked up at once; a stream that has begun runs to its end.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @throws RingfenceCryptoError whatever the key source throws. The stream fails with `crypto.message_too_large` at 4 PiB.
 * @example
 * ```ts
 * const cell = { table: 'invoices', column: 'scan', row: invoiceId };
 * await upload.stream().pipeThrough(encryptStream(keys, cell)).pipeTo(object.writable);
 * ```
 */
export function encryptStream(keys: FileKeys, cell: FileCell): TransformStream<Uint8Array, Uint8Array> {
  return machineStream(new SealingMachine(fileKeys(keys), cell));
}

/**
 * A web `TransformStream` that decrypts a file of the cell. Every byte it releases has been authenticated, in its place;
 * that the file is whole is known only when the stream closes without error, so act on the content only then.
 *
 * The stream fails with a RingfenceCryptoError: `crypto.decrypt_failed` (altered, cut, or of another organisation or
 * cell), `crypto.malformed_message` (no sealed file, or cut where no file can end), `crypto.unsupported_version`,
 * `crypto.unknown_key_version`, or whatever the key source throws.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @example
 * ```ts
 * return new Response(sealed.body.pipeThrough(decryptStream(keys, cell)));
 * ```
 */
export function decryptStream(keys: FileKeys, cell: FileCell): TransformStream<Uint8Array, Uint8Array> {
  return machineStream(new OpeningMachine(fileKeys(keys), cell));
}
