/**
 * Cuts a stream of bytes into blocks of whole lines, each copied once. Invariant: every byte pushed comes out once, in order, in
 * a block or in `rest`, and none of the memory of a chunk is kept: a stream may use it again.
 */

const LF = 0x0a;

/** Cuts blocks. */
export class BlockCutter {
  readonly #size: number;
  /** Memory of blocks that are done with. */
  readonly #spare: Uint8Array[] = [];
  #bytes: Uint8Array;
  #length = 0;

  /** `size` is the bytes of a block, at most. */
  constructor(size: number) {
    this.#size = size;
    this.#bytes = new Uint8Array(size);
  }

  /** Takes what there is room for, and says how much. */
  take(chunk: Uint8Array): number {
    const taken = Math.min(chunk.length, this.#size - this.#length);
    this.#bytes.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), this.#length);
    this.#length += taken;
    return taken;
  }

  /** Whether the next block is as long as one may be. */
  get isFull(): boolean {
    return this.#length === this.#size;
  }

  /** The whole lines that were taken; undefined when no line ends among them. */
  cut(): Uint8Array | undefined {
    const end = this.#bytes.lastIndexOf(LF, this.#length - 1) + 1;
    if (end === 0 || this.#length === 0) return undefined;
    const bytes = this.#bytes;
    const rest = this.#length - end;
    this.#bytes = this.#spare.pop() ?? new Uint8Array(this.#size);
    this.#bytes.set(bytes.subarray(end, end + rest));
    this.#length = rest;
    return bytes.subarray(0, end);
  }

  /** What was taken and not cut. */
  rest(): Uint8Array {
    const rest = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return rest;
  }

  /** Takes back the memory of a block. */
  reuse(block: Uint8Array): void {
    this.#spare.push(new Uint8Array(block.buffer));
  }
}
