/** What the database lets into the log is what the verifiers accept: the canonical form of one object, nothing else. */

import { CompiledQuery, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { isCanonical, isVerifiable, mutate, mutation, object } from './body-oracle.ts';
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
