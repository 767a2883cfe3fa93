/**
 * Encrypted files as Node.js streams. Invariants: back-pressure reaches into a single large write (a chunk is only
 * processed while the reader has room), so memory stays bounded; a stream that is destroyed, for whatever reason, wipes
 * what it held back and forgets its key; an encryption that was cut short leaves a file that never opens.
 */
import { Transform, type TransformCallback } from 'node:stream';
import { type ChunkMachine, OpeningMachine, SealingMachine } from './chunk-machine.ts';
import type { FileCell } from './file-format.ts';
import type { FileKeys } from './key-source.ts';
import { fileKeys } from './key-source.ts';

const HIGH_WATER_MARK_BYTES = 65_536;

class ChunkTransform extends Transform {
  readonly #machine: ChunkMachine;
  #roomy = true;
  #resume: (() => void) | undefined;
  readonly #emit = (bytes: Uint8Array): void => {
    this.#roomy = this.push(bytes);
  };

  constructor(machine: ChunkMachine) {
    super({ highWaterMark: HIGH_WATER_MARK_BYTES });
    this.#machine = machine;
  }

  override _transform(piece: Uint8Array, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.#advance(piece, 0, callback);
  }

  override _flush(callback: TransformCallback): void {
    try {
      this.#machine.final(this.#emit);
    } catch (error) {
      callback(error as Error);
      return;
    }
    callback();
  }

  override _read(size: number): void {
    const resume = this.#resume;
    if (resume !== undefined) {
      this.#resume = undefined;
      resume();
      if (this.#resume !== undefined) return;
    }
    // Also behind a resumed piece: its callback may have been parked by `Transform`, to be called by this.
    super._read(size);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#resume = undefined;
    this.#machine.wipe();
    callback(error);
  }

  #advance(piece: Uint8Array, from: number, callback: TransformCallback): void {
    let position = from;
    try {
      while (position < piece.length) {
        this.#roomy = true;
        position = this.#machine.update(piece, position, this.#emit);
        // `push` may run a reader that destroys this stream.
        if (this.destroyed) return;
        if (!this.#roomy && position < piece.length) {
          this.#resume = () => this.#advance(piece, position, callback);
          return;
        }
      }
    } catch (error) {
      callback(error as Error);
      return;
    }
    callback();
  }
}

/**
 * A Node.js stream that encrypts what is written to it as one file of the cell, under the organisation's active file key.
 * The key is looked up at once, so a lost lease or a revoked key throws here; a stream that has begun runs to its end.
 * The output is `sealedSize(n)` bytes for n bytes of input, and is a complete file only when the stream has ended well.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @throws RingfenceCryptoError whatever the key source throws. The stream fails with `crypto.message_too_large` at 4 PiB.
 * @example
 * ```ts
 * const cell = { table: 'invoices', column: 'scan', row: invoiceId };
 * await pipeline(createReadStream('scan.pdf'), encryptTransform(keys, cell), createWriteStream('scan.pdf.sealed'));
 * ```
 */
export function encryptTransform(keys: FileKeys, cell: FileCell): Transform {
  return new ChunkTransform(new SealingMachine(fileKeys(keys), cell));
}

/**
 * A Node.js stream that decrypts a file of the cell. Every byte it releases has been authenticated, in its place; that
 * the file is whole is known only when the stream ends without error, so act on the content only then.
 *
 * The stream fails with a RingfenceCryptoError: `crypto.decrypt_failed` (altered, cut, or of another organisation or
 * cell), `crypto.malformed_message` (no sealed file, or cut where no file can end), `crypto.unsupported_version`,
 * `crypto.unknown_key_version`, or whatever the key source throws.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @example
 * ```ts
 * await pipeline(createReadStream('scan.pdf.sealed'), decryptTransform(keys, cell), createWriteStream('scan.pdf'));
 * ```
 */
export function decryptTransform(keys: FileKeys, cell: FileCell): Transform {
  return new ChunkTransform(new OpeningMachine(fileKeys(keys), cell));
}
