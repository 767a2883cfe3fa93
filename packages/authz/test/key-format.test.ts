/** The text of a key: what a scanner and the parser take for one, and what they do not. */

import { describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { checksum, KeyFormat } from '../src/keys/key-format.ts';

const format = new KeyFormat('ldg', 'live');
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

describe('a key', () => {
  test('is found by the pattern for scanners in a text, and parses', () => {
    const { text, id, authenticated } = format.draw();
    const [found] = new RegExp(format.scannerPattern).exec(`Authorization: Bearer ${text}\n`) ?? [];
    expect(found).toBe(text);
    expect(format.parse(text)).toEqual({ id, authenticated });
    expect(text).toMatch(/^ldg_live_[0-9A-Za-z]{55}$/);
  });

  test('has a checksum anybody can compute: CRC-32 of zlib, in base62', () => {
    // CRC-32/ISO-HDLC check value: 0xcbf43926 for "123456789".
    let value = 0;
    for (const digit of checksum('123456789')) value = value * 62 + ALPHABET.indexOf(digit);
    expect(value).toBe(0xcbf43926);
    expect(checksum('')).toBe('000000');
  });

  test('never comes twice and uses the whole alphabet', () => {
    const drawn = Array.from({ length: 2_000 }, () => format.draw().text);
    expect(new Set(drawn).size).toBe(drawn.length);
    const counts = new Map<string, number>();
    const secrets = drawn.map((text) => text.slice(9, 9 + 49)).join('');
    for (const char of secrets) counts.set(char, (counts.get(char) ?? 0) + 1);
    expect(counts.size).toBe(62);
    // Without bias each has 1,581 of 98,000; a bias by modulo 256 gives eight of them 25% more. Ten deviations apart.
    const mean = secrets.length / 62;
    for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(6.5 * Math.sqrt(mean));
  });
});

describe('is no key', () => {
  const { text } = format.draw();

  test('a key with any one character changed', () => {
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom(...ALPHABET), (at, char) => {
        fc.pre(text[at] !== char);
        expect(format.parse(text.slice(0, at) + char + text.slice(at + 1))).toBeUndefined();
      }),
      { numRuns: 2_000 },
    );
  });

  test('a key with two characters swapped', () => {
    for (let at = 9; at < text.length - 1; at += 1) {
      if (text[at] === text[at + 1]) continue;
      const swapped = `${text.slice(0, at)}${text[at + 1]}${text[at]}${text.slice(at + 2)}`;
      expect(format.parse(swapped)).toBeUndefined();
    }
  });

  test('a part of a key, or a key and more', () => {
    for (let length = 0; length < text.length; length += 1) {
      expect(format.parse(text.slice(0, length))).toBeUndefined();
      expect(format.parse(text.slice(text.length - length))).toBeUndefined();
    }
    for (const more of [
      `${text}0`,
      `0${text}`,
      ` ${text}`,
      `${text} `,
      `${text}\n`,
      `${text}\0`,
      text.repeat(2),
    ]) {
      expect(format.parse(more)).toBeUndefined();
    }
    expect(format.parse(text + 'A'.repeat(10_000_000))).toBeUndefined();
  });

  test('a key in another spelling: case, full-width forms, combining marks, a right-to-left mark', () => {
    for (const other of [
      text.toUpperCase(),
      text.toLowerCase(),
      text.replace('ldg', '\uff4cdg'),
      text.replace('_', '\uff3f'),
      `\u200f${text.slice(1)}`,
      `${text.slice(0, -1)}\u0301`,
      `${text.slice(0, 20)}\u0661${text.slice(21)}`,
      `${text.slice(0, 20)}\ud83d\ude00${text.slice(22)}`,
    ]) {
      if (other !== text) expect(format.parse(other)).toBeUndefined();
    }
  });

  test('a key of another environment or application, whatever its checksum', () => {
    const forms = [
      ['ldg', 'test'],
      ['ldgl', 'ive'],
      ['ld', 'glive'],
      ['abc', 'live'],
    ] as const;
    for (const [prefix, type] of forms) {
      expect(format.parse(new KeyFormat(prefix, type).draw().text)).toBeUndefined();
    }
    // Relabelled with a fitting checksum it parses, and the MAC refuses it: the label is part of what is authenticated.
    const foreign = new KeyFormat('ldg', 'test').draw().authenticated.replace('_test_', '_live_');
    expect(format.parse(foreign + checksum(foreign))?.authenticated).toBe(foreign);
  });

  test('anything that is no string, and any string at all', () => {
    for (const value of [
      undefined,
      null,
      1,
      {},
      [text],
      Object(text),
      { length: 64, startsWith: () => true },
    ]) {
      expect(format.parse(value)).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (any) => {
        expect(format.parse(any)).toBeUndefined();
      }),
      { numRuns: 2_000 },
    );
  });
});

test('prefix and type are plain, so that a label reads one way', () => {
  for (const wrong of ['', 'a', 'A1', '1a', 'a_b', 'a-b', 'a'.repeat(13), 'é1', 'a\n']) {
    expect(() => new KeyFormat(wrong, 'live')).toThrow(TypeError);
    expect(() => new KeyFormat('ldg', wrong)).toThrow(TypeError);
  }
});
