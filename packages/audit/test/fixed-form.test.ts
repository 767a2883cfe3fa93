/** Texts and forms that are compared four bytes at a time are what they are byte by byte, and nothing stands beyond the end. */

import { expect, test } from 'vitest';
import {
  copyText,
  DIGEST,
  fixedText,
  hasForm,
  isAt,
  setText,
  TIME,
  UUID,
  wordsOf,
} from '../src/verify/fixed-form.ts';

const FORMS = [
  { form: TIME, example: '2026-03-03T10:11:12.131415Z', pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/ },
  {
    form: UUID,
    example: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60',
    pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  },
  { form: DIGEST, example: '0123456789abcdef'.repeat(4), pattern: /^[0-9a-f]{64}$/ },
];

/** A text with one byte before and one behind it. */
function framed(text: string): Uint8Array {
  return Uint8Array.from(`x${text}x`, (character) => character.charCodeAt(0));
}

test('a form is its pattern, whatever byte stands at each place and beside it', () => {
  for (const { form, example, pattern } of FORMS) {
    const bytes = framed(example);
    for (let place = 1; place <= example.length; place++) {
      const next = place === example.length ? 1 : place + 1;
      const kept = [bytes[place] as number, bytes[next] as number] as const;
      for (let byte = 0; byte < 256; byte++) {
        for (const beside of [kept[1], byte, 0xff]) {
          bytes[place] = byte;
          bytes[next] = beside;
          const text = String.fromCharCode(...bytes.subarray(1, -1));
          if (hasForm(wordsOf(bytes), 1, form) !== pattern.test(text)) expect.fail(text);
        }
      }
      [bytes[place], bytes[next]] = kept;
    }
  }
});

test('no text and no form stands where the source ends before it', () => {
  for (const { form, example } of FORMS) {
    const bytes = framed(example).subarray(0, -1);
    const text = fixedText(example);
    expect(hasForm(wordsOf(bytes), 1, form)).toBe(true);
    expect(isAt(wordsOf(bytes), 1, text)).toBe(true);
    // The memory goes on behind the source.
    const short = bytes.subarray(0, -1);
    expect(hasForm(wordsOf(short), 1, form)).toBe(false);
    expect(isAt(wordsOf(short), 1, text)).toBe(false);
    expect(isAt(wordsOf(short), 1_000, text)).toBe(false);
  }
});

test('a text of any length stands where all its bytes do, and nowhere else', () => {
  for (let length = 4; length <= 13; length++) {
    const text = 'abcdefghijklm'.slice(0, length);
    const bytes = framed(text);
    expect(isAt(wordsOf(bytes), 1, fixedText(text))).toBe(true);
    expect(isAt(wordsOf(bytes), 0, fixedText(text))).toBe(false);
    for (let place = 1; place <= length; place++) {
      const changed = bytes.with(place, 0x7a);
      expect(isAt(wordsOf(changed), 1, fixedText(text)), `${text} ${place}`).toBe(false);
    }
  }
});

test('a text that is taken from characters is the one that is taken from bytes', () => {
  const { example } = FORMS[1] as { example: string };
  const fromCharacters = fixedText('0'.repeat(36));
  const fromBytes = fixedText('0'.repeat(36));
  setText(fromCharacters, example);
  copyText(wordsOf(framed(example)), 1, fromBytes);
  expect(fromCharacters).toEqual(fixedText(example));
  expect(fromBytes).toEqual(fixedText(example));
});
