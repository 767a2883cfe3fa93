/**
 * The tokens of canonical JSON (RFC 8785 and docs/formats/audit-chain-v1.md §1) as bytes: where one that begins here ends.
 * Invariant: no bytes make it throw; what does not end as a token should is the complement of the place where it went wrong,
 * which is negative. A control character ends every token, so none is read beyond one.
 */

import { type FixedText, fixedText, isAt } from './fixed-form.ts';

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** Bytes of a JSON string that stand for themselves. */
export const PLAIN: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
);
/** Those that need no second look: 1 byte of UTF-8. */
const ASCII_PLAIN: Uint8Array = PLAIN.map((plain, byte) => (byte < 0x80 ? plain : 0));

/** What stands behind a backslash in canonical JSON, and the character meant (RFC 8785 §3.2.2.2). */
export const SHORT_ESCAPES: Readonly<Record<number, number>> = {
  34: 0x22,
  92: 0x5c,
  98: 0x08,
  102: 0x0c,
  110: 0x0a,
  114: 0x0d,
  116: 0x09,
};

const TRUE = fixedText('true');
const FALSE = fixedText('false');
/** The literal. */
export const NULL: FixedText = fixedText('null');

/** UTF-8 of a text. */
export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Whether these bytes stand at a place. */
export function standsAt(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let index = 0; index < expected.length; index++) {
    if (bytes[at + index] !== expected[index]) return false;
  }
  return true;
}

/** Whether a byte is a decimal digit. */
export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

/** The high bit of each byte of a word that does not stand for itself in ASCII, at least of the first one that does not. */
function oddBytes(word: number): number {
  // `^ 2` puts the quote below 0x21 and no other byte of 0x20 and above; a borrow comes from an odd byte only.
  return (word | ((word ^ 0x02020202) - 0x21212121) | ((word ^ 0x5c5c5c5c) - 0x01010101)) & 0x80808080;
}

/** Behind the string whose opening quote stands at `from`; `words` are the same bytes. */
export function stringEnd(bytes: Uint8Array, words: DataView, from: number): number {
  if (bytes[from] !== QUOTE) return ~from;
  const lastWord = bytes.length - 4;
  let at = from + 1;
  for (;;) {
    let odd = 0;
    while (at <= lastWord) {
      odd = oddBytes(words.getInt32(at, true));
      if (odd !== 0) break;
      at += 4;
    }
    if (odd !== 0) at += (31 - Math.clz32(odd & -odd)) >> 3;
    else while (ASCII_PLAIN[bytes[at] as number] === 1) at++;
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at + 1;
    const length =
      byte >= 0x80
        ? sequenceLength(bytes, at)
        : byte === BACKSLASH
          ? escapeLength(bytes, at, bytes.length)
          : 0;
    if (length === 0) return ~at;
    at += length;
  }
}

/** Behind the literal or integer that begins at `from` with this byte. */
export function scalarEnd(bytes: Uint8Array, words: DataView, from: number, byte: number): number {
  const literal = byte === 0x74 ? TRUE : byte === 0x66 ? FALSE : byte === 0x6e ? NULL : undefined;
  if (literal === undefined) return integerEnd(bytes, from);
  return isAt(words, from, literal) ? from + literal.length : ~from;
}

function integerEnd(bytes: Uint8Array, from: number): number {
  const first = bytes[from] === MINUS ? from + 1 : from;
  let at = first;
  while (isDigit(bytes[at] as number)) at++;
  const digits = at - first;
  if (digits === 0 || digits > 16) return ~from;
  if (bytes[first] === ZERO && (digits > 1 || first !== from)) return ~from;
  return digits < 16 || Number.isSafeInteger(valueAt(bytes, from, at)) ? at : ~from;
}

/** RFC 8785 §3.2.3 sorts by UTF-16 code units; of names in ASCII without escapes the bytes have the same order. */
export function namesInOrder(
  bytes: Uint8Array,
  lastFrom: number,
  lastTo: number,
  from: number,
  to: number,
): boolean {
  for (let index = 1; ; index++) {
    const last = bytes[lastFrom + index] as number;
    const next = bytes[from + index] as number;
    if (last >= 0x80 || next >= 0x80 || last === BACKSLASH || next === BACKSLASH) break;
    const lastEnds = lastFrom + index === lastTo - 1;
    const nextEnds = from + index === to - 1;
    if (lastEnds || nextEnds) return lastEnds && !nextEnds;
    if (last !== next) return last < next;
  }
  return (valueAt(bytes, lastFrom, lastTo) as string) < (valueAt(bytes, from, to) as string);
}

/** The value of JSON that was accepted. */
export function valueAt(bytes: Uint8Array, from: number, to: number): unknown {
  return JSON.parse(new TextDecoder().decode(bytes.subarray(from, to)));
}

/** Whether accepted JSON is the JSON of this value, which is a string: what is plain ASCII in it is compared in place. */
export function isStringAt(bytes: Uint8Array, from: number, to: number, value: unknown): boolean {
  if (typeof value !== 'string') return false;
  return isPlainAt(bytes, from + 1, to - 1, value) || valueAt(bytes, from, to) === value;
}

/** Whether these bytes are this text, and none of them is special in JSON or beyond ASCII. */
export function isPlainAt(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  return text.length === to - from && isTextAt(bytes, from, text, ASCII_PLAIN);
}

/** Whether a text of ASCII stands here, in bytes that are marked. */
export function isTextAt(bytes: Uint8Array, from: number, text: string, marked?: Uint8Array): boolean {
  for (let index = 0; index < text.length; index++) {
    const byte = bytes[from + index] as number;
    if (byte !== text.charCodeAt(index) || marked?.[byte] === 0) return false;
  }
  return true;
}

/** Length of the canonical escape at a backslash, 2 or 6; 0 when none stands there. U+0000 is no part of the profile. */
export function escapeLength(source: Uint8Array, at: number, to: number): number {
  if (at + 2 > to) return 0;
  if (SHORT_ESCAPES[source[at + 1] as number] !== undefined) return 2;
  if (at + 6 > to || source[at + 1] !== 0x75 || source[at + 2] !== 0x30 || source[at + 3] !== 0x30) return 0;
  const high = source[at + 4] as number;
  const low = source[at + 5] as number;
  const isHex = (low >= 0x30 && low <= 0x39) || (low >= 0x61 && low <= 0x66);
  if ((high !== 0x30 && high !== 0x31) || !isHex) return 0;
  const control = controlOf(source, at);
  const hasShort =
    control === 0x08 || control === 0x09 || control === 0x0a || control === 0x0c || control === 0x0d;
  return control === 0 || hasShort ? 0 : 6;
}

/** The control character that the escape of six bytes here stands for. */
export function controlOf(source: Uint8Array, at: number): number {
  const low = source[at + 5] as number;
  return ((source[at + 4] as number) - 0x30) * 16 + (low <= 0x39 ? low - 0x30 : low - 0x57);
}

/** Length of the well-formed UTF-8 sequence of 2 to 4 bytes here (Unicode, table 3-7); 0 when it is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  const second = bytes[at + 1] as number;
  if (first < 0xc2 || first > 0xf4) return 0;
  if (first < 0xe0) return isTail(second) ? 2 : 0;
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most || !isTail(bytes[at + 2] as number)) return 0;
  if (first < 0xf0) return 3;
  return isTail(bytes[at + 3] as number) ? 4 : 0;
}

function isTail(byte: number): boolean {
  return byte >= 0x80 && byte <= 0xbf;
}
