/**
 * Memory for sealed messages. A fresh Uint8Array of a hundred bytes costs more than its encryption saves, so small
 * messages are carved from a 64 KiB block.
 * Invariant: the block holds ciphertext only, which is why Node's shared Buffer pool is not used for it.
 */

const SLAB_BYTES = 65_536;
const LARGEST_CARVED = 8192;

/** Allocator of message memory, one per keyring. */
export class MessageSlab {
  #block: ArrayBuffer = new ArrayBuffer(0);
  #next = 0;

  /** Zeroed memory of `length` bytes that is handed out once. */
  allocate(length: number): Uint8Array {
    if (length > LARGEST_CARVED) return new Uint8Array(length);
    if (this.#next + length > this.#block.byteLength) {
      this.#block = new ArrayBuffer(SLAB_BYTES);
      this.#next = 0;
    }
    const message = new Uint8Array(this.#block, this.#next, length);
    this.#next = (this.#next + length + 7) & ~7;
    return message;
  }
}
