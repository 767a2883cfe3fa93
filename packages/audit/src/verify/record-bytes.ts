/**
 * The bytes of one record as they are hashed, in a buffer that is used again for the next: a leading 0x00 (the prefix of a
 * leaf), the record, and a 0x00 behind it that stops every scan. Invariant: bytes go in as they are stored; an escaped
 * source loses its escapes and nothing else.
 */
import { BACKSLASH, controlOf, escapeLength, PLAIN, QUOTE, SHORT_ESCAPES } from './canonical-bytes.ts';
import { wordsOf } from './fixed-form.ts';
import { RecordScan } from './record-scan.ts';

/** Most bytes kept between records. */
const KEPT_BYTES = 1 << 20;
/** Longest view kept, bytes. */
const KEPT_VIEWS = 2_048;

/** Both halves of a surrogate pair are in it; only a lone one has the property of the pattern below. */
const SURROGATE = /[\ud800-\udfff]/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** A record's bytes. */
export class RecordBytes {
  /** The buffer: 0x00, the record, 0x00, then whatever an earlier record left. */
  bytes: Uint8Array = new Uint8Array(4_096);
  /** The buffer, to be read four bytes at a time. */
  words: DataView = wordsOf(this.bytes);
  /** Where the record ends. It begins at 1. */
  end = 1;
  /** Where its members stand, once problemAt has accepted it. */
  readonly scan: RecordScan = new RecordScan();
  /** False when the text held a lone surrogate, which has no bytes. */
  #wellFormed = true;
  /** Whether the scan has accepted this record already. */
  #scanned = false;

  readonly #utf8 = new TextEncoder();
  /** Views of the buffer from its beginning, by length. */
  #views: (Uint8Array | undefined)[] = [];

  /** Takes a record as text. */
  setText(text: string): void {
    this.#reserve(text.length * 3);
    const { written } = this.#utf8.encodeInto(text, this.bytes.subarray(1));
    this.end = 1 + written;
    this.bytes[this.end] = 0;
    this.#scanned = false;
    // As many bytes as characters: all is ASCII.
    this.#wellFormed = written === text.length || !(SURROGATE.test(text) && LONE_SURROGATE.test(text));
  }

  /** Takes a record as it stands from one place of a source to another. */
  setBytes(source: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from);
    this.bytes.set(source.subarray(from, to), 1);
    this.end = 1 + to - from;
    this.bytes[this.end] = 0;
    this.#wellFormed = true;
    this.#scanned = false;
  }

  /**
   * Takes the canonical record that begins at a place of a source: it shows itself where it ends. Answers the place behind it;
   * a negative number, and nothing is taken, when none begins there. A control character must stand somewhere behind.
   */
  setCanonical(source: Uint8Array, from: number): number {
    const to = this.scan.endOf(source, from);
    if (to < 0) return to;
    this.setBytes(source, from, to);
    this.scan.moveBy(1 - from);
    this.#scanned = true;
    return to;
  }

  /** Undefined for a canonical record; else the offset in it, from 0, from which it is none. */
  problemAt(): number | undefined {
    if (this.#scanned) return undefined;
    const to = this.#wellFormed ? this.scan.endOf(this.bytes, 1) : ~1;
    this.#scanned = to === this.end;
    return this.#scanned ? undefined : Math.min(to < 0 ? ~to : to, this.end) - 1;
  }

  /**
   * Takes the content of the canonical JSON string that begins at `from`, without its quotes. Answers where its closing
   * quote stands, or -1 when none does before `to` or the content is not canonical.
   */
  setEscaped(source: Uint8Array, from: number, to: number): number {
    this.#wellFormed = true;
    this.#scanned = false;
    let out = this.bytes;
    // Room for what may follow: a string is longer than what it says.
    let room = out.length - 2;
    let at = from;
    let end = 1;
    for (;;) {
      const stop = Math.min(to, at + room - end);
      let byte = 0;
      while (at < stop) {
        byte = source[at] as number;
        if (PLAIN[byte] !== 1) break;
        out[end++] = byte;
        at++;
      }
      if (at === stop) {
        if (at >= to) return -1;
        this.#grow(end);
        out = this.bytes;
        room = out.length - 2;
        continue;
      }
      if (byte === QUOTE) break;
      const escaped = source[at + 1] as number;
      if (byte === BACKSLASH && at + 1 < to && (escaped === QUOTE || escaped === BACKSLASH)) {
        out[end++] = escaped;
        at += 2;
        continue;
      }
      const length = byte === BACKSLASH ? escapeLength(source, at, to) : 0;
      if (length === 0) return -1;
      out[end++] = length === 2 ? (SHORT_ESCAPES[escaped] as number) : controlOf(source, at);
      at += length;
    }
    this.end = end;
    out[end] = 0;
    return at;
  }

  /** What the leaf is the hash of. Valid until the next record. */
  get leafInput(): Uint8Array {
    const { end } = this;
    if (end >= KEPT_VIEWS) return this.bytes.subarray(0, end);
    // A view costs as much as a third of a hash, and records have few lengths.
    const view = this.#views[end] ?? this.bytes.subarray(0, end);
    this.#views[end] = view;
    return view;
  }

  /** More room, with what was written up to `end`. */
  #grow(end: number): void {
    const written = this.bytes.subarray(0, end);
    this.#renew(2 * this.bytes.length);
    this.bytes.set(written);
  }

  #reserve(length: number): void {
    const kept = this.bytes.length;
    if (kept < length + 2) this.#renew(Math.max(2 * kept, length + 2));
    else if (kept > KEPT_BYTES && length + 2 <= KEPT_BYTES) this.#renew(KEPT_BYTES);
  }

  #renew(length: number): void {
    this.bytes = new Uint8Array(length);
    this.words = wordsOf(this.bytes);
    this.#views = [];
  }
}
