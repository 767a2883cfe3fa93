/**
 * Random access to an encrypted file: reads only the chunks that a range touches. C2SP chunked-encryption,
 * "Implementation notes": a plaintext index i lies in chunk i / 16384, chunk k at 56 + k * 16400 (behind our header).
 * Invariants: the commitment is checked before any chunk is opened; the size is checked when the file is opened, by
 * authenticating the last chunk, as the specification demands before an offset relative to the end is used; every chunk
 * of a range is authenticated before any byte of that range is returned.
 */
import { openChunk } from './chunk-cipher.ts';
import { malformedFile } from './failures.ts';
import {
  CHUNK_BYTES,
  chunkOffset,
  encodeCell,
  type FileCell,
  type FileShape,
  PREFIX_BYTES,
  SEALED_CHUNK_BYTES,
  sealedSize,
  shapeOfFile,
} from './file-format.ts';
import { type FileKeySource, type FileKeys, fileKeys } from './key-source.ts';
import { type MessageKey, openMessage } from './message-key.ts';

/** Chunks fetched with one `read` of the source: 1 MiB, so that a long range takes no second copy of itself. */
const WINDOW_CHUNKS = 64;

/** Where the sealed bytes come from: a file, an object store with range requests, a buffer. It needs no trust. */
export interface RangeSource {
  /** Length of the sealed file, bytes. */
  readonly size: number;
  /** Reads exactly `length` bytes from `offset`; only ranges within `size` are asked for. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** An encrypted file opened for random access. */
export class SealedFile {
  /** Length of the plaintext, bytes; authenticated. */
  readonly size: number;
  readonly #keys: FileKeySource;
  readonly #cellContext: Uint8Array;
  readonly #table: string;
  readonly #source: RangeSource;
  readonly #prefix: Uint8Array;

  /** @internal Use `openFile`. */
  constructor(
    keys: FileKeySource,
    cellContext: Uint8Array,
    source: RangeSource,
    prefix: Uint8Array,
    size: number,
    table: string,
  ) {
    this.#keys = keys;
    this.#cellContext = cellContext;
    this.#table = table;
    this.#source = source;
    this.#prefix = prefix;
    this.size = size;
  }

  /**
   * Plaintext of the range; shorter than `length` only where the file ends. Reads the touched chunks, so at most
   * 32 KiB and 16 bytes per chunk more than asked for. The key is asked for anew each time: once the lease has ended or
   * the key is revoked, an open file can no longer be read.
   *
   * @throws TypeError when offset or length is not a non-negative safe integer.
   * @throws RingfenceCryptoError `crypto.decrypt_failed`, `crypto.malformed_message` when the source answers with too
   * few or too many bytes, or whatever the key source throws; and whatever the range source rejects with.
   */
  async read(offset: number, length: number): Promise<Uint8Array> {
    for (const value of [offset, length]) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new TypeError('offset and length of a range are whole numbers of bytes, not negative');
      }
    }
    const message = openMessage(this.#keys, this.#cellContext, this.#prefix, this.#table);
    const end = Math.min(this.size, offset + length);
    if (offset >= end) return new Uint8Array(0);
    const range = new Uint8Array(end - offset);
    try {
      const lastChunk = Math.floor((end - 1) / CHUNK_BYTES);
      for (let chunk = Math.floor(offset / CHUNK_BYTES); chunk <= lastChunk; chunk += WINDOW_CHUNKS) {
        await this.#readWindow(message, chunk, Math.min(lastChunk, chunk + WINDOW_CHUNKS - 1), range, offset);
      }
    } catch (error) {
      range.fill(0);
      throw error;
    }
    message.meter?.done(range.length);
    return range;
  }

  /** Opens chunks `first` to `last` and copies what lies in the range that starts at plaintext `offset`. */
  async #readWindow(
    message: MessageKey,
    first: number,
    last: number,
    range: Uint8Array,
    offset: number,
  ): Promise<void> {
    const from = chunkOffset(first);
    const end = Math.min(chunkOffset(last + 1), sealedSize(this.size));
    const sealed = await readExactly(this.#keys, this.#source, from, end - from);
    for (let chunk = first; chunk <= last; chunk++) {
      const at = (chunk - first) * SEALED_CHUNK_BYTES;
      const plaintext = openChunk(message, chunk, sealed.subarray(at, at + SEALED_CHUNK_BYTES));
      const position = chunk * CHUNK_BYTES - offset;
      const wanted = plaintext.subarray(Math.max(0, -position), range.length - position);
      range.set(wanted, Math.max(0, position));
      plaintext.fill(0);
    }
  }
}

async function readExactly(
  keys: FileKeySource,
  source: RangeSource,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) {
    throw malformedFile(keys.org, `its source answered ${bytes.length} bytes where ${length} were asked for`);
  }
  return bytes;
}

/**
 * Opens an encrypted file of the cell for random access. Reads the 78-byte prefix and the last chunk (at most 16 399
 * bytes), which proves that the size is the true one: a shortened or extended file is refused here. A chunk in between
 * is authenticated when a range touches it.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part, or the source no whole number as its size.
 * @throws RingfenceCryptoError `crypto.decrypt_failed`, `crypto.malformed_message`, `crypto.unsupported_version`,
 * `crypto.unknown_key_version`, or whatever the key source throws; and whatever the range source rejects with.
 * @example
 * ```ts
 * await using source = await fileSource('plan.dwg.sealed');
 * const plan = await openFile(keys, { table: 'plans', column: 'drawing', row: planId }, source);
 * const tail = await plan.read(plan.size - 1024, 1024);
 * ```
 */
export async function openFile(keys: FileKeys, cell: FileCell, source: RangeSource): Promise<SealedFile> {
  const keySource = fileKeys(keys);
  const cellContext = encodeCell(keySource.org, cell);
  if (!Number.isSafeInteger(source.size) || source.size < 0) {
    throw new TypeError('the size of a range source is a whole number of bytes');
  }
  const { size, lastChunk }: FileShape = shapeOfFile(keySource.org, source.size);
  const prefix = Uint8Array.from(await readExactly(keySource, source, 0, PREFIX_BYTES));
  const message = openMessage(keySource, cellContext, prefix, cell.table);
  const last = chunkOffset(lastChunk);
  openChunk(message, lastChunk, await readExactly(keySource, source, last, source.size - last)).fill(0);
  return new SealedFile(keySource, cellContext, source, prefix, size, cell.table);
}
