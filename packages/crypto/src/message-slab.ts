/**
 * Memory for sealed messages. A fresh Uint8Array of a hundred bytes costs more than its encryption saves, so small
 * messages are carved from a 64 KiB block.
 * Invariants: the block holds ciphertext only, which is why Node's shared Buffer pool is not used for it. Nobody takes the
 * block away: a byte stream, a worker or `transfer()` that was given one message would leave all others of the block,
 * those of other organisations too, with a length of zero.
 */
import { markAsUntransferable } from 'node:worker_threads';

const SLAB_BYTES = 65_536;
const LARGEST_CARVED = 8192;

/** Allocator of message memory, one per keyring. */
export class MessageSlab {
  #block: ArrayBuffer = new ArrayBuffer(0);
  #next = 0;
  readonly #largest = canBeKept() ? LARGEST_CARVED : 0;

  /** Zeroed memory of `length` bytes that is handed out once. */
  allocate(length: number): Uint8Array {
    if (length > this.#largest) return new Uint8Array(length);
    if (this.#next + length > this.#block.byteLength) {
      this.#block = new ArrayBuffer(SLAB_BYTES);
      markAsUntransferable(this.#block);
      this.#next = 0;
    }
    const message = new Uint8Array(this.#block, this.#next, length);
    this.#next = (this.#next + length + 7) & ~7;
    return message;
  }
}

/** False before Node 24, where the mark holds for messages between threads alone: then each message has its own memory. */
function canBeKept(): boolean {
  const probe = new ArrayBuffer(1) as ArrayBuffer & { transfer(): ArrayBuffer };
  markAsUntransferable(probe);
  try {
    probe.transfer();
    return false;
  } catch {
    return true;
  }
}
