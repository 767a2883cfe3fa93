/**
 * A file on disk as a range source. It reads what is asked for and interprets nothing; the file needs no trust.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { RangeSource } from './random-access.ts';

/** A range source over an open file; closed with `close()` or by `await using`. */
export class FileSource implements RangeSource, AsyncDisposable {
  /** Length of the file when it was opened, bytes. */
  readonly size: number;
  readonly #handle: FileHandle;

  /** @internal Use `fileSource`. */
  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.size = size;
  }

  /** Reads `length` bytes from `offset`; fewer when the file has become shorter since it was opened. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Closes the file at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens a file on disk as a range source for `openFile`. Rejects with the error of `node:fs` when it cannot be opened.
 *
 * @example
 * ```ts
 * await using source = await fileSource('plan.dwg.sealed');
 * ```
 */
export async function fileSource(path: string | URL): Promise<FileSource> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    return new FileSource(handle, size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}
