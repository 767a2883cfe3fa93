/** What the database lets into the log is what the verifiers accept: the canonical form of one object, nothing else. */

import { CompiledQuery, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { RecordBytes } from '../src/verify/record-bytes.ts';
import { errorOf, type Fixture, fixture, ORG_A } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
});

afterAll(() => f.close());

async function taken(bodies: readonly string[]): Promise<readonly boolean[]> {
  const { rows } = await sql<{ taken: boolean }>`
    select audit.read_body(b.body) is not null as taken
      from unnest(${bodies}::text[]) with ordinality b(body, place) order by b.place`.execute(f.owner);
  return rows.map((row) => row.taken);
}

/** What `canonicalize` says: parsed and encoded again, it is the same text. */
function isCanonical(body: string): boolean {
  try {
    const value = parsed(body);
    return (
      typeof value === 'object' && value !== null && !Array.isArray(value) && canonicalize(value) === body
    );
  } catch {
    return false;
  }
}

/**
 * The value of a text. Names are parsed one by one and take the place of their code units in hexadecimal meanwhile, because
 * V8 14.6 (Node 26) takes an escaped name for one that an object before had, when the text of it begins like that: after
 * `JSON.parse('{"\\\\":1}')`, `JSON.parse('{"\\n":1}')` has the name of the first.
 */
function parsed(text: string): unknown {
  const named = text.replace(/("(?:[^"\\]|\\.)*")(\s*:)?/gs, (whole, literal: string, colon?: string) => {
    if (colon === undefined) return whole;
    const units = [...(JSON.parse(literal) as string).matchAll(/./gs)].map(([unit]) => unit.charCodeAt(0));
    return `"${units.map((unit) => unit.toString(16).padStart(4, '0')).join('')}"${colon}`;
  });
  return JSON.parse(named, (_, value: unknown) =>
    typeof value !== 'object' || value === null || Array.isArray(value)
      ? value
      : Object.fromEntries(Object.entries(value).map(([name, one]) => [nameOf(name), one])),
  );
}

function nameOf(hex: string): string {
  return hex.replace(/.{4}/g, (unit) => String.fromCharCode(Number.parseInt(unit, 16)));
}

const bytes = new RecordBytes();

/** What the verifiers say of a record with this body. */
function isVerifiable(body: string): boolean {
  bytes.setText(
    `{"actor":"a","at":"2026-01-02T03:04:05.678901Z","event":${body},"id":"${ORG_A}","org":"${ORG_A}","request":null,"v":1}`,
  );
  return bytes.problemAt() === undefined;
}

const CHARACTERS = [
  ...'aZ09_.,:;{}[]"\\/ !~',
  '\n',
  '\t',
  '\u0001',
  '\u0002',
  '\u0003',
  '\u000b',
  '\u001f',
  '\u007f',
  '\u2028',
  'é',
  '\ud7ff',
  '\ue000',
  '\uffff',
  '😀',
  '𐀀',
];
const text = fc.string({ unit: fc.constantFrom(...CHARACTERS), maxLength: 5 });
const leaf = fc.oneof(
  text,
  fc.maxSafeInteger(),
  fc.integer({ min: -20, max: 20 }),
  fc.boolean(),
  fc.constant(null),
);
const { object } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4, withCrossShrink: true }, leaf, tie('array'), tie('object')),
  array: fc.array(tie('value'), { maxLength: 4 }),
  object: fc.dictionary(text, tie('value'), { maxKeys: 6 }),
}));

test('takes 2 000 fuzzed objects in the form that canonicalize gives', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(object, { minLength: 400, maxLength: 400 }), async (objects) => {
      const bodies = objects.map((one) => canonicalize(one));
      const refused = await taken(bodies);
      expect(bodies.filter((_, n) => refused[n] !== true)).toEqual([]);
    }),
    { numRuns: 5, endOnFailure: true },
  );
});

/** One change of a text that may leave it JSON, but seldom canonical. */
const mutation = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('insert', 'replace', 'remove', 'swap', 'move'),
  by: fc.constantFrom(
    ...[
      ' ',
      '\n',
      '\t',
      '0',
      '-',
      '.0',
      'e1',
      '00',
      '1',
      '9007199254740993',
      '"',
      '\\',
      '\\/',
      '\\u0041',
      '\\u000A',
      '\\n',
      '\\"',
    ],
    ...[
      '\\u001f',
      '\\u001F',
      '\\b',
      '\\\\',
      ',',
      ':',
      '{}',
      '[]',
      '"a":1,',
      ',"z":1',
      ',"a":null',
      'null',
      'true',
      '\u0001',
      '\u0003',
      'é',
    ],
  ),
  from: fc.nat(),
});

function mutate(
  body: string,
  { at, kind, by, from }: { at: number; kind: string; by: string; from: number },
) {
  const place = at % (body.length + 1);
  const rest = body.slice(place + 1);
  if (kind === 'insert') return body.slice(0, place) + by + body.slice(place);
  if (kind === 'replace') return body.slice(0, place) + by + rest;
  if (kind === 'remove') return body.slice(0, place) + rest;
  const members = body.split(',');
  const [one, two] = [at % members.length, from % members.length];
  if (kind === 'swap') [members[one], members[two]] = [members[two] ?? '', members[one] ?? ''];
  else members.splice(one, 0, members[two] ?? '');
  return members.join(',');
}

test('agrees with canonicalize and with the verifier on 6 000 changed or disordered ones', {
  timeout: 120_000,
}, async () => {
  let accepted = 0;
  const changed = fc.tuple(object, fc.boolean(), fc.array(mutation, { maxLength: 2 }));
  await fc.assert(
    fc.asyncProperty(fc.array(changed, { minLength: 500, maxLength: 500 }), async (cases) => {
      const bodies = cases
        .map(([one, inOrder, mutations]) =>
          mutations.reduce(mutate, inOrder ? canonicalize(one) : JSON.stringify(one)),
        )
        .map((body) => body.replaceAll('\u0000', ''))
        .filter((body) => !/\p{Surrogate}/u.test(body)); // has no bytes to send
      const answers = await taken(bodies);
      const wrong = bodies.filter(
        (body, n) => answers[n] !== isCanonical(body) || answers[n] !== isVerifiable(body),
      );
      expect(wrong).toEqual([]);
      accepted += answers.filter(Boolean).length;
    }),
    { numRuns: 12, endOnFailure: true },
  );
  expect(accepted).toBeGreaterThan(100);
});

test.each([
  ['a space behind a colon', '{"outcome": "success","type":"x.y"}'],
  ['a space behind a comma', '{"outcome":"success", "type":"x.y"}'],
  ['a line feed at the end', '{"outcome":"success","type":"x.y"\n}'],
  ['a space in front', ' {"outcome":"success","type":"x.y"}'],
  ['a space behind', '{"outcome":"success","type":"x.y"} '],
  ['members out of order', '{"type":"x.y","outcome":"success"}'],
  ['members of a member out of order', '{"data":{"b":1,"a":2},"type":"x.y"}'],
  ['members out of order behind an object', '{"data":{"z":{},"y":1},"type":"x.y"}'],
  ['members out of order in a list', '{"data":{"l":["c",{"b":1,"a":2}]},"type":"x.y"}'],
  ['code points instead of code units', '{"data":{"\ue000":1,"\u{10000}":2},"type":"x.y"}'],
  ['a member twice', '{"type":"x.y","type":"x.y"}'],
  ['a member twice in a member', '{"data":{"a":"v","a":"w"},"type":"x.y"}'],
  ['a fraction', '{"data":{"n":1.0},"type":"x.y"}'],
  ['an exponent', '{"data":{"n":1e3},"type":"x.y"}'],
  ['a negative zero', '{"data":{"n":-0},"type":"x.y"}'],
  ['an integer that is not safe', '{"data":{"n":9007199254740992},"type":"x.y"}'],
  ['such an integer in a list', '{"data":{"n":[1,-9007199254740992]},"type":"x.y"}'],
  ['a number out of every range', '{"data":{"n":1e400000},"type":"x.y"}'],
  ['an escape that is not needed', '{"data":{"s":"\\u0041"},"type":"x.y"}'],
  ['an escaped slash', '{"data":{"s":"\\/"},"type":"x.y"}'],
  ['a long escape', '{"data":{"s":"\\u000a"},"type":"x.y"}'],
  ['an escape in capitals', '{"data":{"s":"\\u001F"},"type":"x.y"}'],
  ['a NUL', '{"data":{"s":"\\u0000"},"type":"x.y"}'],
  ['a lone surrogate', '{"data":{"s":"\\ud800"},"type":"x.y"}'],
  ['a pair of escapes', '{"data":{"s":"\\ud83d\\ude00"},"type":"x.y"}'],
  ['33 levels', `{"data":${'['.repeat(32)}${']'.repeat(32)},"type":"x.y"}`],
  ['thirty thousand levels', `{"data":${'['.repeat(30_000)}${']'.repeat(30_000)},"type":"x.y"}`],
  ['a list', '["type"]'],
  ['a string', '"type"'],
  ['two values', '{"type":"x.y"}{"type":"x.y"}'],
  ['no JSON', '{"type":"x.y"'],
  ['nothing', ''],
])('append refuses %s, and says so by a code', async (_, body) => {
  expect(isCanonical(body)).toBe(false);
  const query = CompiledQuery.raw('select * from audit.append(gen_random_uuid(), $1, true)', [body]);
  const error = await errorOf(f.inOrg(ORG_A, (trx) => trx.executeQuery(query)));
  expect(error).toMatchObject({ code: '22023', constraint: 'audit.not_canonical' });
  expect(String(error.message)).not.toContain('x.y');
});

test('takes 32 levels, escapes, lists, and names that only code units put in order', async () => {
  const bodies = [
    `{"data":${'['.repeat(31)}${']'.repeat(31)},"type":"x.y"}`,
    '{"data":{"a":[1,-2,"x",{"b":null,"c":[]}],"b":{}},"type":"x.y"}',
    '{"data":{"\\"":1,"\\\\":"\\\\\\"","a\\n":"\\u0001\\b"},"type":"x.y"}',
    '{"data":{"n":[9007199254740991,-9007199254740991,0]},"type":"x.y"}',
    '{"data":{"\u{10000}":2,"\ue000":1},"type":"x.y"}',
    '{"data":{":":":","[\\"":"\\":\\""},"type":"x.y"}',
  ];
  expect(bodies.map(isCanonical)).toEqual(bodies.map(() => true));
  expect(await taken(bodies)).toEqual(bodies.map(() => true));
});

test('a session cannot change what the gate understands', async () => {
  const body = '{"data":{"s":"\\u0041 \\\\ \\""},"type":"x.y"}';
  const query = CompiledQuery.raw('select * from audit.append(gen_random_uuid(), $1, true)', [body]);
  for (const setting of ['standard_conforming_strings = off', "search_path = 'app', pg_catalog"]) {
    const run = f.inOrg(ORG_A, async (trx) => {
      await sql.raw(`set local ${setting}`).execute(trx);
      await trx.executeQuery(query);
    });
    expect(await errorOf(run)).toMatchObject({ constraint: 'audit.not_canonical' });
  }
});
