/**
 * The chunk machines: push-based, synchronous cores of every stream, one for each direction. They know no stream API.
 * Implements C2SP chunked-encryption, "Message chunking" and "Implementation notes".
 * Invariants: at most one chunk is held back; the opening machine emits a chunk's plaintext only once that chunk has
 * authenticated, and ends well only behind a short last chunk; after a failure or `wipe` a machine does nothing more.
 */
import { openChunk, sealChunk } from './chunk-cipher.ts';
import { malformedFile } from './failures.ts';
import {
  CHUNK_BYTES,
  encodeCell,
  type FileCell,
  PREFIX_BYTES,
  SEALED_CHUNK_BYTES,
  TAG_BYTES,
  truncatedFile,
} from './file-format.ts';
import type { FileKeySource } from './key-source.ts';
import { type MessageKey, newMessage, openMessage } from './message-key.ts';

/** Takes the bytes a machine has finished. */
export type Emit = (bytes: Uint8Array) => void;

/** Turns input pieces of any size into output pieces. */
export interface ChunkMachine {
  /** Consumes input from position `from`, finishing at most one chunk; returns the position reached. */
  update(input: Uint8Array, from: number, emit: Emit): number;
  /** Ends the message: nothing was complete before this has returned. */
  final(emit: Emit): void;
  /** Overwrites held-back bytes and forgets the key. Harmless when repeated. */
  wipe(): void;
}

/** Holds back the bytes of one incomplete unit. */
class Remainder {
  readonly #bytes: Uint8Array;
  #length = 0;

  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Takes as much as fits below `limit`; returns the position reached in the input. */
  fill(input: Uint8Array, from: number, limit: number): number {
    const end = Math.min(input.length, from + limit - this.#length);
    this.#bytes.set(input.subarray(from, end), this.#length);
    this.#length += end - from;
    return end;
  }

  clear(): void {
    this.#length = 0;
  }

  wipe(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }
}

function spent(): TypeError {
  return new TypeError('this stream has ended or failed: each file needs a new one');
}

/** Plaintext in, sealed file out. */
export class SealingMachine implements ChunkMachine {
  readonly #held = new Remainder(CHUNK_BYTES);
  #message: MessageKey | undefined;
  #prefix: Uint8Array | undefined;
  #chunk = 0;

  /** `salt` is for test vectors only; a salt must never repeat. */
  constructor(keys: FileKeySource, cell: FileCell, salt?: Uint8Array) {
    const { message, prefix } = newMessage(keys, cell, salt);
    this.#message = message;
    this.#prefix = prefix;
  }

  update(input: Uint8Array, from: number, emit: Emit): number {
    const message = this.#begin(emit);
    if (this.#held.length === 0 && input.length - from >= CHUNK_BYTES) {
      const end = from + CHUNK_BYTES;
      sealChunk(message, this.#chunk++, input.subarray(from, end), emit);
      return end;
    }
    const reached = this.#held.fill(input, from, CHUNK_BYTES);
    if (this.#held.length === CHUNK_BYTES) {
      sealChunk(message, this.#chunk++, this.#held.bytes, emit);
      this.#held.clear();
    }
    return reached;
  }

  final(emit: Emit): void {
    // Always shorter than a full chunk, possibly empty: its shortness is the end-of-message signal.
    const message = this.#begin(emit);
    const bytes = this.#chunk * CHUNK_BYTES + this.#held.length;
    sealChunk(message, this.#chunk, this.#held.bytes, emit);
    message.meter?.done(bytes);
    this.wipe();
  }

  wipe(): void {
    this.#held.wipe();
    this.#message = undefined;
    this.#prefix = undefined;
  }

  #begin(emit: Emit): MessageKey {
    if (this.#message === undefined) throw spent();
    if (this.#prefix !== undefined) {
      const prefix = this.#prefix;
      this.#prefix = undefined;
      emit(prefix);
    }
    return this.#message;
  }
}

/** Sealed file in, plaintext out, chunk by authenticated chunk. */
export class OpeningMachine implements ChunkMachine {
  readonly #held = new Remainder(SEALED_CHUNK_BYTES);
  readonly #keys: FileKeySource;
  readonly #cellContext: Uint8Array;
  readonly #table: string;
  #message: MessageKey | undefined;
  #spent = false;
  #chunk = 0;

  constructor(keys: FileKeySource, cell: FileCell) {
    this.#keys = keys;
    this.#cellContext = encodeCell(keys.org, cell);
    this.#table = cell.table;
  }

  update(input: Uint8Array, from: number, emit: Emit): number {
    if (this.#spent) throw spent();
    if (this.#message === undefined) {
      const reached = this.#held.fill(input, from, PREFIX_BYTES);
      if (this.#held.length === PREFIX_BYTES) {
        this.#message = openMessage(this.#keys, this.#cellContext, this.#held.bytes, this.#table);
        this.#held.clear();
      }
      return reached;
    }
    if (this.#held.length === 0 && input.length - from >= SEALED_CHUNK_BYTES) {
      const end = from + SEALED_CHUNK_BYTES;
      emit(openChunk(this.#message, this.#chunk++, input.subarray(from, end)));
      return end;
    }
    const reached = this.#held.fill(input, from, SEALED_CHUNK_BYTES);
    if (this.#held.length === SEALED_CHUNK_BYTES) {
      emit(openChunk(this.#message, this.#chunk++, this.#held.bytes));
      this.#held.clear();
    }
    return reached;
  }

  final(emit: Emit): void {
    if (this.#spent) throw spent();
    const { org } = this.#keys;
    if (this.#message === undefined) throw malformedFile(org, 'it ends before its first chunk');
    // A full chunk was opened when it filled up, so what is left is shorter: the last chunk, or a truncated file.
    if (this.#held.length < TAG_BYTES) {
      this.#message.meter?.failed();
      throw truncatedFile(org);
    }
    const plaintext = openChunk(this.#message, this.#chunk, this.#held.bytes);
    this.#message.meter?.done(this.#chunk * CHUNK_BYTES + plaintext.length);
    if (plaintext.length > 0) emit(plaintext);
    this.wipe();
  }

  wipe(): void {
    this.#held.wipe();
    this.#message = undefined;
    this.#spent = true;
  }
}
