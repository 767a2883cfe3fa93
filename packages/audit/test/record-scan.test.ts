/** The scan of a record accepts exactly what parsing and canonical encoding would give back unchanged. */

import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { RecordBytes } from '../src/verify/record-bytes.ts';
import { recordOf } from './export-corpus.ts';

const record = new RecordBytes();

function accepts(event: string): boolean {
  record.setText(recordOf(1).canon.replace(/"event":\{.*\},"id"/s, () => `"event":${event},"id"`));
  return record.problemAt() === undefined;
}

function isCanonical(text: string): boolean {
  try {
    return canonicalize(JSON.parse(text)) === text;
  } catch {
    return false;
  }
}

test('refuses an actor or a name without its opening quote', () => {
  const { canon } = recordOf(1);
  for (const text of [canon.replace('"user:1"', 'xuser:1"'), canon.replace('"user:1"', '1","')]) {
    record.setText(text);
    expect(record.problemAt(), text).toBe('{"actor":'.length);
  }
  expect(accepts('{x"a":1}')).toBe(false);
  expect(accepts('{1a":1}')).toBe(false);
});

test('finds the one odd character of a string at every place of a word', () => {
  for (let length = 0; length <= 9; length++) {
    for (let place = 0; place <= length; place++) {
      for (let code = 0; code < 256; code++) {
        const plain = 'abcdefghi'.slice(0, length);
        const text = `{"a":"${plain.slice(0, place)}${String.fromCharCode(code)}${plain.slice(place)}"}`;
        if (accepts(text) !== isCanonical(text)) expect.fail(JSON.stringify(text));
      }
    }
  }
});

test('accepts what is canonical and nothing else', () => {
  const odd = [
    '{"b":1,"a":1}',
    '{"a":1,"a":1}',
    '{"a":-0}',
    '{"a":01}',
    '{"a":1.5}',
    '{"a":"\\u000a"}',
    '{"a":1,}',
    '{"a" :1}',
  ];
  for (const text of odd) expect(accepts(text), text).toBe(false);
  const key = fc.oneof(
    fc.constantFrom('a', 'aa', 'é', '\uffee', '😀', '\n'),
    fc.string({ unit: 'binary', maxLength: 3 }),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.integer(),
      fc.string({ unit: 'binary' }),
      fc.boolean(),
      fc.constant(null),
      tie('list'),
      tie('object'),
    ),
    list: fc.array(tie('value'), { maxLength: 3 }),
    object: fc.dictionary(key, tie('value'), { maxKeys: 4 }),
  }));
  fc.assert(
    fc.property(
      fc.dictionary(key, value, { maxKeys: 4 }),
      fc.nat(),
      fc.constantFrom('', ' ', '0', '"', ','),
      (event, at, put) => {
        const plain = JSON.stringify(event);
        expect(accepts(plain)).toBe(isCanonical(plain));
        const place = at % plain.length;
        const changed = plain.slice(0, place) + put + plain.slice(place + 1);
        if (changed.startsWith('{')) expect(accepts(changed), changed).toBe(isCanonical(changed));
      },
    ),
    { numRuns: 2_000 },
  );
});
