/** `audit.canonical_json` and `canonicalize` are one function in two languages. */

import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { errorOf, type Fixture, fixture } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 1);
});

afterAll(() => f.close());

async function inSql(texts: readonly string[]): Promise<readonly string[]> {
  const { rows } = await sql<{ text: string }>`
    select audit.canonical_json(v.item::jsonb) as text
      from unnest(${texts}::text[]) with ordinality v(item, place) order by v.place`.execute(f.owner);
  return rows.map(({ text }) => text);
}

/** Strings that jsonb can hold, with the characters on which orders and escapes differ. */
const text = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.string({
      unit: fc.constantFrom(
        'a',
        'Z',
        '"',
        '\\',
        '\n',
        '\u0001',
        '\u007f',
        '\u2028',
        'é',
        '\ud7ff',
        '\ue000',
        '\uffff',
        '😀',
        '𐀀',
        '\u{10ffff}',
      ),
      maxLength: 6,
    }),
    fc.constantFrom('__proto__', 'constructor', 'toString', ''),
  )
  .filter((one) => !one.includes('\u0000') && !/\p{Surrogate}/u.test(one));
const leaf = fc.oneof(
  text,
  fc.maxSafeInteger(),
  fc.integer(),
  fc.constant(0),
  fc.boolean(),
  fc.constant(null),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 5, withCrossShrink: true }, leaf, tie('array'), tie('object')),
  array: fc.array(tie('value'), { maxLength: 5 }),
  object: fc.dictionary(text, tie('value'), { maxKeys: 8 }),
}));

test('both give the same bytes for 4 000 fuzzed values', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(value, { minLength: 400, maxLength: 400 }), async (values) => {
      // Its own property, as JSON.parse makes it: a `__proto__` of a literal would be lost on the way.
      const texts = values.map((one) => JSON.stringify(one));
      const parsed = texts.map((one) => JSON.parse(one) as unknown);
      expect(await inSql(texts)).toEqual(parsed.map((one) => canonicalize(one)));
    }),
    { numRuns: 10 },
  );
});

test('sorts members by UTF-16 code units, not by code points', async () => {
  const object = '{"\ue000":1,"\u{10000}":2,"\uffff":3,"a":4,"é":5,"":6,"aa":7,"Z":8}';
  const [found] = await inSql([object]);
  expect(found).toBe(canonicalize(JSON.parse(object)));
  expect(found).toBe('{"":6,"Z":8,"a":4,"aa":7,"é":5,"\u{10000}":2,"\ue000":1,"\uffff":3}');
});

test('makes strings of numbers that are not safe integers, digit by digit', async () => {
  const cases = {
    '9007199254740991': '9007199254740991',
    '-9007199254740991': '-9007199254740991',
    '9007199254740992': '"9007199254740992"',
    '-0': '0',
    '0.0': '"0.0"',
    '1.50': '"1.50"',
    '1e3': '1000',
    '1e-7': '"0.0000001"',
    '1e20': '"100000000000000000000"',
    '123456789012345678901234567890.5': '"123456789012345678901234567890.5"',
  };
  expect(await inSql(Object.keys(cases))).toEqual(Object.values(cases));
});

test('takes 32 levels and refuses the next, as the other does', async () => {
  const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
  expect(await inSql([nested(32)])).toEqual([nested(32)]);
  expect(canonicalize(JSON.parse(nested(32)))).toBe(nested(32));
  expect(await errorOf(inSql([nested(33)]))).toMatchObject({ constraint: 'audit.not_canonical' });
  expect(() => canonicalize(JSON.parse(nested(33)))).toThrow('nested deeper');
});
