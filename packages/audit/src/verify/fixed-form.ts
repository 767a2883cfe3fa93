/**
 * What stands in every record and line as it is, or by its form: texts, times and UUIDs, compared four bytes at a time.
 * Invariant: nothing is read beyond the end of a source, where no text and no form stands.
 */

const HIGH_BITS = 0x80808080;

/** The same bytes, to be read four at a time. */
export function wordsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A text of four bytes or more. */
export interface FixedText {
  /** Bytes. */
  readonly length: number;
  /** Its words, little-endian; the last one ends where the text does, so it may begin in the one before. */
  readonly words: Int32Array;
}

/** A text to compare with. */
export function fixedText(characters: string): FixedText {
  const bytes = new TextEncoder().encode(characters);
  const text = { length: bytes.length, words: new Int32Array(Math.ceil(bytes.length / 4)) };
  copyText(wordsOf(bytes), 0, text);
  return text;
}

/** Takes a text of ASCII that is as long as the one before, a multiple of four. */
export function setText({ words }: FixedText, characters: string): void {
  for (let index = 0; index < words.length; index++) {
    const at = 4 * index;
    const low = characters.charCodeAt(at) | (characters.charCodeAt(at + 1) << 8);
    words[index] = low | (characters.charCodeAt(at + 2) << 16) | (characters.charCodeAt(at + 3) << 24);
  }
}

/** Takes the text of `text.length` bytes that stands at a place of a source, which has as many. */
export function copyText(source: DataView, at: number, { length, words }: FixedText): void {
  for (let index = 0; index < words.length; index++) {
    words[index] = source.getInt32(at + Math.min(4 * index, length - 4), true);
  }
}

/** Whether a text stands at a place. */
export function isAt(source: DataView, at: number, { length, words }: FixedText): boolean {
  if (at + length > source.byteLength) return false;
  const last = words.length - 1;
  for (let index = 0; index < last; index++) {
    if (source.getInt32(at + 4 * index, true) !== words[index]) return false;
  }
  return source.getInt32(at + length - 4, true) === words[last];
}

/** A text in which some places may have any digit, or any lower-case hex digit. */
interface Form extends FixedText {
  /** 0xff in each byte of a word that is not free. */
  readonly marks: Int32Array;
  /** Added to the bytes of a word: those from `a` on get their high bit. 0 where no letter may stand. */
  readonly fromA: number;
  /** The same for those behind `f`. */
  readonly behindF: number;
}

/** `YYYY-MM-DDTHH:MM:SS.ffffffZ`, by its digits. */
export const TIME: Form = formOf('0000-00-00T00:00:00.000000Z', false);
/** A lower-case UUID. */
export const UUID: Form = formOf('00000000-0000-0000-0000-000000000000', true);
/** SHA-256 in hex. */
export const DIGEST: Form = formOf('0'.repeat(64), true);

/** `0` is a free place. */
function formOf(text: string, hex: boolean): Form {
  const { length, words } = fixedText(text.replaceAll('0', '\0'));
  const { words: marks } = fixedText(text.replaceAll(/[^0]/g, '\u007f').replaceAll('0', '\0'));
  return {
    length,
    words,
    marks: marks.map((word) => word | ((word << 1) & HIGH_BITS)),
    fromA: hex ? 0x1f1f1f1f : 0,
    behindF: hex ? 0x19191919 : 0,
  };
}

/** Whether a text of this form stands at a place. */
export function hasForm(source: DataView, at: number, form: Form): boolean {
  const { length, words, marks, fromA, behindF } = form;
  if (at + length > source.byteLength) return false;
  for (let index = 0; index < words.length; index++) {
    const word = source.getInt32(at + Math.min(4 * index, length - 4), true);
    const mark = marks[index] as number;
    if ((word & mark) !== words[index]) return false;
    // Only bytes from 0x80 on carry into the next, and of those the first is neither a digit nor a letter.
    const digits = (word + 0x50505050) & ~(word + 0x46464646);
    const letters = (word + fromA) & ~(word + behindF);
    if ((digits | letters | mark | ~HIGH_BITS) !== -1) return false;
  }
  return true;
}
