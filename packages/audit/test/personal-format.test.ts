/** The worked example of docs/formats/audit-personal-v1.md, and the plaintext's format under every input. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { decodeValue, encodeValue } from '../src/personal/sealed-value.ts';
import { commitmentOf } from '../src/verify/disclosure.ts';
import { verifyDisclosure } from '../src/verify/index.ts';

const DOCUMENT = readFileSync(new URL('../../../docs/formats/audit-personal-v1.md', import.meta.url), 'utf8');
const [, example = ''] = /```text\n([\s\S]+?)\n```/.exec(DOCUMENT) ?? [];
const values = new Map(
  example.split('\n').map((line): [string, string] => [line.slice(0, 14).trim(), line.slice(14)]),
);
const value = (name: string) => values.get(name) ?? '';
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());

test.each([1, 2])('the worked example holds for field %i', (n) => {
  const salt = Buffer.from(value(`salt ${n}`), 'hex');
  const inputs: string[] = [];
  const recording = (bytes: Uint8Array) => {
    inputs.push(hex(bytes));
    return sha256(bytes);
  };
  const commitment = commitmentOf(recording, salt, value(`name ${n}`), value(`value ${n}`));
  expect(inputs).toEqual([value(`input ${n}`)]);
  expect(hex(commitment)).toBe(value(`commitment ${n}`));
  expect(canonicalize(JSON.parse(value(`value ${n}`)))).toBe(value(`value ${n}`));
  const plaintext = encodeValue(value(`name ${n}`), { salt, value: value(`value ${n}`) });
  expect(hex(plaintext)).toBe(value(`plaintext ${n}`));
  const record = value('record');
  expect(canonicalize(JSON.parse(record))).toBe(record);
  expect(hex(sha256(Buffer.from(`\0${record}`)))).toBe(value('leaf'));
  const disclosure = {
    event: '0195606c-7b1c-7d34-9a51-3f2e8c1b0001',
    name: value(`name ${n}`),
    value: JSON.parse(value(`value ${n}`)),
    salt: value(`salt ${n}`),
  };
  expect(verifyDisclosure(record, disclosure)).toBe(true);
  expect(verifyDisclosure(record, disclosure, sha256)).toBe(true);
  for (const other of [1, 2].filter((one) => one !== n)) {
    expect(verifyDisclosure(record, { ...disclosure, name: value(`name ${other}`) })).toBe(false);
  }
});

const text = fc.string({ unit: 'grapheme', maxLength: 200 });
const salts = fc.uint8Array({ minLength: 32, maxLength: 32 });

test('a plaintext gives back what went in, and its length is a multiple of 64', () => {
  fc.assert(
    fc.property(salts, text, (salt, plain) => {
      const plaintext = encodeValue('note', { salt, value: plain });
      expect(plaintext.length % 64).toBe(0);
      expect(decodeValue(plaintext)).toEqual({ salt, value: plain });
    }),
  );
});

test('has one plaintext for a value, and reads no other bytes as one', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.tuple(salts, text, fc.nat(), fc.nat(255)).map(([salt, plain, at, byte]) => {
          const plaintext = encodeValue('note', { salt, value: plain });
          plaintext[at % plaintext.length] = byte;
          return plaintext;
        }),
      ),
      (bytes) => {
        const decoded = decodeValue(bytes);
        if (decoded !== undefined) expect(hex(encodeValue('note', decoded))).toBe(hex(bytes));
      },
    ),
    { numRuns: 2_000 },
  );
});

test('no two pairs of name and value have the same input', () => {
  fc.assert(
    fc.property(text, text, text, text, (name, plain, otherName, otherPlain) => {
      fc.pre(name !== otherName || plain !== otherPlain);
      const salt = new Uint8Array(32);
      const one = hex(commitmentOf((bytes) => bytes, salt, name, plain));
      expect(hex(commitmentOf((bytes) => bytes, salt, otherName, otherPlain))).not.toBe(one);
    }),
  );
});
