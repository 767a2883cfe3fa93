/**
 * The messages of a flight as one run of bytes: Parse, Bind, Describe, Execute, Close and Sync of the extended query protocol
 * (PostgreSQL documentation, "Message Formats"). One buffer and one write: message by message, even corked, they cost more
 * than all the rest of a point read.
 *
 * Invariant: a length prefix counts what was written after it, never what was announced, so no value can shift a message.
 * Leaves to others: what a value looks like (the driver's mapping has made it text, bytes or null) and the limits of the
 * protocol (`statementOf`).
 */

/** Parameters that one Bind message can count. */
export const MAX_PARAMETERS = 65_535;

/** Bytes to begin with: a point read and its context take some 400. */
const INITIAL_BYTES = 1_024;
/** Longest text that is given room for the longest encoding instead of being measured. */
const UNMEASURED = 1_024;
/** Longest text that is written character by character while it is ASCII: a call of the encoder costs more. */
const SHORT = 40;

/** Of the unnamed portal, without a limit of rows. All bytes of these three are ASCII. */
const EXECUTE = 'E\0\0\0\t\0\0\0\0\0';
/** Of the unnamed portal. */
const DESCRIBE = 'D\0\0\0\u0006P\0';
const SYNC = 'S\0\0\0\u0004';

/** Writes messages one after another. */
export class FlightMessages {
  #bytes: Buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  #end = 0;

  /** Everything written so far; the caller's from then on. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#end);
  }

  /** Parses a text under a name; the empty name is the unnamed statement. */
  parse(name: string, text: string): void {
    const start = this.#begin('P');
    this.#zeroEnded(name);
    this.#zeroEnded(text);
    this.#int16(0); // types are for the server to infer
    this.#finish(start);
  }

  /** Binds values to a statement, in the unnamed portal; results are asked for as text. */
  bind(statement: string, values: readonly unknown[]): void {
    const start = this.#begin('B');
    this.#zeroEnded('');
    this.#zeroEnded(statement);
    this.#int16(values.length);
    for (const value of values) this.#int16(value instanceof Uint8Array ? 1 : 0);
    this.#int16(values.length);
    for (const value of values) this.#value(value);
    this.#int16(1); // one format for all results: text
    this.#int16(0);
    this.#finish(start);
  }

  /** Asks for the result columns of the unnamed portal. */
  describe(): void {
    this.#text(DESCRIBE);
  }

  /** Executes the unnamed portal to its end. */
  execute(): void {
    this.#text(EXECUTE);
  }

  /** Closes a prepared statement; no error when there is none of that name. */
  close(name: string): void {
    const start = this.#begin('C');
    this.#zeroEnded(`S${name}`);
    this.#finish(start);
  }

  /** Ends the flight. */
  sync(): void {
    this.#text(SYNC);
  }

  #value(value: unknown): void {
    const start = this.#end;
    this.#int32(-1); // no value; any other counts its bytes
    if (value === null || value === undefined) return;
    if (value instanceof Uint8Array) {
      this.#room(value.length);
      this.#bytes.set(value, this.#end);
      this.#end += value.length;
    } else this.#text(String(value));
    this.#bytes.writeInt32BE(this.#end - start - 4, start);
  }

  #begin(code: string): number {
    this.#text(code);
    const start = this.#end;
    this.#int32(0);
    return start;
  }

  #finish(start: number): void {
    this.#bytes.writeInt32BE(this.#end - start, start);
  }

  #zeroEnded(text: string): void {
    this.#text(text);
    this.#text('\0');
  }

  #text(text: string): void {
    this.#room(text.length <= UNMEASURED ? text.length * 3 : Buffer.byteLength(text));
    if (text.length <= SHORT && this.#ascii(text)) return;
    this.#end += this.#bytes.write(text, this.#end);
  }

  /** Writes a text for which there is room, if it is ASCII. */
  #ascii(text: string): boolean {
    let end = this.#end;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return false;
      this.#bytes[end++] = code;
    }
    this.#end = end;
    return true;
  }

  #int16(value: number): void {
    this.#room(2);
    this.#bytes[this.#end++] = value >>> 8;
    this.#bytes[this.#end++] = value;
  }

  #int32(value: number): void {
    this.#room(4);
    this.#end = this.#bytes.writeInt32BE(value, this.#end);
  }

  #room(length: number): void {
    const needed = this.#end + length;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
