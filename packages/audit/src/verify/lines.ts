/**
 * Cuts a byte stream into lines that end with LF, in bounded memory: of a line longer than the limit only its length is
 * kept. Chunks are not copied but where a line crosses them.
 */

const LF = 0x0a;

/** Longest line of an export, bytes without LF. */
export const MAX_LINE_BYTES: number = 1 << 20;

/** Receives lines. */
export interface LineSink {
  /**
   * Takes the line that begins at `from` when it is one it knows, and answers where its LF stands; -1 when it is not, or its LF
   * does not stand before `to`. Some LF stands behind `from`.
   */
  take(chunk: Uint8Array, from: number, to: number): number;
  /** A line without its LF; its bytes are valid during the call only. */
  line(bytes: Uint8Array): void;
  /** A line longer than the limit. */
  tooLong(): void;
}

/** Cuts chunks into lines. */
export class LineCutter {
  readonly #sink: LineSink;
  readonly #limit: number;
  /** Pieces of the line that has not ended. */
  #pieces: Uint8Array[] = [];
  #length = 0;

  constructor(sink: LineSink, limitBytes: number) {
    this.#sink = sink;
    this.#limit = limitBytes;
  }

  /** Takes the next chunk. */
  push(bytes: Uint8Array): void {
    // A Buffer cuts and searches slower than what it is.
    const chunk = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    const last = chunk.lastIndexOf(LF);
    let from = 0;
    while (from <= last) {
      if (this.#length === 0) {
        const end = this.#sink.take(chunk, from, Math.min(last + 1, from + this.#limit + 1));
        if (end !== -1) {
          from = end + 1;
          continue;
        }
      }
      const to = chunk.indexOf(LF, from);
      if (this.#length === 0 && to - from <= this.#limit) this.#sink.line(chunk.subarray(from, to));
      else {
        this.#keep(chunk.subarray(from, to));
        this.#endLine();
      }
      from = to + 1;
    }
    if (from < chunk.length) this.#keep(chunk.slice(from));
  }

  /** Bytes behind the last LF. */
  get rest(): number {
    return this.#length;
  }

  #keep(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > this.#limit) this.#pieces = [];
    else this.#pieces.push(piece);
  }

  #endLine(): void {
    const length = this.#length;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#length = 0;
    if (length > this.#limit) {
      this.#sink.tooLong();
      return;
    }
    const line = new Uint8Array(length + 1);
    line[length] = LF;
    let at = 0;
    for (const piece of pieces) {
      line.set(piece, at);
      at += piece.length;
    }
    if (this.#sink.take(line, 0, line.length) === -1) this.#sink.line(line.subarray(0, length));
  }
}
