/** A batch that reads one event of a kind takes of the next ones what the gate would take of each alone, and nothing else. */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { agrees, append, shaped } from './batch-oracle.ts';
import { isCanonical, mutate, mutation } from './body-oracle.ts';
import { type Fixture, fixture, kyselyOf, type Tables } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
});

afterAll(() => f.close());

/** Changes aimed at the strings and at the places between them. */
const aimed = fc.record({
  at: fc.nat(),
  by: fc.constantFrom(
    '"',
    '\\',
    '\\"',
    '\u0001',
    '\n',
    '%',
    '_',
    ',',
    ':',
    '"a":1,',
    '","',
    '":"',
    '","b":"',
    '{',
    '}',
    ' ',
    'é',
    '😀',
    '',
  ),
  over: fc.integer({ min: 0, max: 3 }),
});

test('of 8 000 changed bodies of the same kinds, a batch takes those that are canonical', {
  timeout: 240_000,
}, async () => {
  let accepted = 0;
  const variants = fc.array(
    fc.tuple(fc.array(aimed, { maxLength: 2 }), fc.array(mutation, { maxLength: 1 })),
    {
      minLength: 30,
      maxLength: 30,
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(shaped, variants), { minLength: 10, maxLength: 10 }),
      async (kinds) => {
        const bodies = kinds
          .flatMap(([body, changes]) => [
            body,
            ...changes.map(([aims, mutations]) => {
              const changed = aims.reduce((text, { at, by, over }) => {
                const place = at % (text.length + 1);
                return text.slice(0, place) + by + text.slice(place + over);
              }, body);
              return mutations.reduce(mutate, changed);
            }),
          ])
          .map((body) => body.replaceAll('\u0000', ''))
          .filter((body) => !/\p{Surrogate}/u.test(body));
        accepted += await agrees(f, bodies);
      },
    ),
    { numRuns: 26, endOnFailure: true },
  );
  expect(accepted).toBeGreaterThan(1_000);
});

const FIRST =
  '{"data":{"a_b":"v","acb":"u","l":["a",":","b"],"n":1},"note":"x%","target":{"id":"7","type":"entry"},"type":"x.y"}';

test.each([
  ['a quote that ends a string', FIRST.replace('"v"', '"v","a":"w"')],
  ['a name where a wildcard of LIKE would be', FIRST.replace('a_b', 'azb')],
  ['names out of order behind a wildcard', FIRST.replace('a_b', 'z_b')],
  ['another number', FIRST.replace('"n":1', '"n":1.0')],
  ['an element that became a name', FIRST.replace('["a",":","b"]', '["a":":","b"]')],
  ['a space between', FIRST.replace('"a",":"', '"a" ,":"')],
  ['a backslash', FIRST.replace('"v"', '"\\v"')],
  ['an escape that is not needed', FIRST.replace('"v"', '"\\u0041"')],
  ['an escaped quote for a quote', FIRST.replace('"v","l":["a"', '"v\\",\\"l\\":["a"')],
  ['a control character', FIRST.replace('"v"', '"\u0001"')],
  ['a line feed', FIRST.replace('"v"', '"\n"')],
  ['an object for a string', FIRST.replace('"v"', '{"v":"w"}')],
  ['a quote moved from one string to another', FIRST.replace('"v"', '"v').replace('"x%"', '"x"%"')],
  ['a member behind the last', `${FIRST.slice(0, -1)},"zone":"z"}`],
  ['another member first', FIRST.replace('{"data"', '{"changes":"c","data"')],
  ['a member twice', FIRST.replace('"note"', '"data":"d","note"')],
  ['an id that is no string', FIRST.replace('"id":"7"', '"id":7')],
  ['a space in front', ` ${FIRST}`],
  ['a line feed behind', `${FIRST}\n`],
  ['half of it', FIRST.slice(0, 40)],
])('behind an event that it took, a batch judges %s by itself', async (_, body) => {
  expect(isCanonical(FIRST)).toBe(true);
  await agrees(f, [FIRST, body, FIRST.replace('"v"', '"w"'), body]);
});

test('escapes in the first event do not make room for quotes in the next', async () => {
  const escaped = FIRST.replace('"v"', '"\\n\\n\\n\\n"');
  expect(isCanonical(escaped)).toBe(true);
  await agrees(f, [escaped, FIRST.replace('"v"', '"v","a":"w"'), escaped, FIRST]);
  const quoted = FIRST.replace('"v"', '"\\",\\"n\\":\\""');
  expect(isCanonical(quoted)).toBe(true);
  await agrees(f, [quoted, quoted.replaceAll('\\"', '"'), FIRST]);
});

test('a type is read of each event: what is reserved stays so behind one of the same form', async () => {
  const bodies = ['subject.erased', 'row.updated'].map((type) => FIRST.replace('x.y', type));
  const answers = await append(f, [FIRST, ...bodies, FIRST.replace('"type":"entry"', '"type":"row.x"')]);
  expect(answers.map(({ refused }) => refused)).toEqual([
    null,
    'audit.not_canonical',
    'audit.not_canonical',
    null,
  ]);
  expect(answers.map(({ action, target }) => [action, target])).toEqual([
    ['x.y', 'entry:7'],
    [null, null],
    [null, null],
    ['x.y', 'row.x:7'],
  ]);
});

test('a nested target is not taken for the target, and a member behind the type is no reason to misread it', async () => {
  const inner = '"target":{"id":"1","type":"t"},"type":"u"}';
  await agrees(f, [
    `{"data":{${inner},"type":"x.y"}`,
    `{"data":{${inner},"type":"x.z"}`,
    `{"type":"x.y","zone":{${inner}}`,
    `{"type":"row.y","zone":{${inner}}`,
    `{"type":"x.y","zone":"z"}`,
    `{"type":"row.y","zone":"y"}`,
  ]);
});

test('an event of the same form that is too large, or has no id, is refused by itself', async () => {
  const large = FIRST.replace('"v"', `"${'v'.repeat(70_000)}"`);
  expect((await append(f, [FIRST, large, FIRST])).map(({ refused }) => refused)).toEqual([
    null,
    'audit.event_too_large',
    null,
  ]);
});

test('bodies of more strings than LIKE can hold apart, and of more kinds than a batch keeps, are read', async () => {
  const many = (value: string) =>
    `{"data":{"l":[${Array(20_000).fill('""').join()}],"s":"${value}"},"type":"x.y"}`;
  await agrees(f, [many('a'), many('b'), many('b').replace('""]', '"",]')]);
  const kinds = Array.from({ length: 12 }, (_, n) => `{"data":{"k${n}":"v"},"type":"x.y"}`);
  await agrees(f, [
    ...kinds,
    ...kinds.map((body) => body.replace('"v"', '"w"')),
    ...kinds.map((body) => body.replace('"v"', '"\\w"')),
  ]);
});

test('a body of 20 000 strings does not exhaust the stack of a server that gives little, nor take its batch along', async () => {
  const name = new URL(f.database.appUrl).pathname.slice(1);
  // LIKE recurses once for each wildcard, and of that many needs more than this: 54001, which fails the whole statement.
  await sql.raw(`alter database ${name} set max_stack_depth = '512kB'`).execute(f.superuser);
  const app = kyselyOf<Tables>(f.database.appUrl, 1);
  try {
    const many = (value: string) => `{"data":[${Array(20_000).fill('""').join()},"${value}"],"type":"x.y"}`;
    const answers = await append(f, [many('a'), many('b'), FIRST, many('c')], app);
    expect(answers.map(({ refused, action }) => [refused, action])).toEqual(
      Array.from({ length: 4 }, () => [null, 'x.y']),
    );
  } finally {
    await app.destroy();
    await sql.raw(`alter database ${name} reset max_stack_depth`).execute(f.superuser);
  }
});
