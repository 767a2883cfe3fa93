/** Events of a batch that differ in their numbers are taken as the gate would take each alone, and read once for each kind. */
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

/** Numbers wherever a frame may hold one, and where it may not. */
const COUNTED =
  '{"data":{"a":1,"b":{"c":-20},"d":[{"e":300}],"f":[4,5],"l":[6,"s",7]},"n":0,"note":"v","target":{"id":"7","type":"entry"},"type":"x.y"}';
const NUMBER = /(?<=[:,[])-?\d+(?=[,}\]])/g;

/** The body with another text for each of its numbers. */
function renumbered(body: string, numbers: readonly string[]): string {
  let n = 0;
  return body.replace(NUMBER, (number) => numbers[n++] ?? number);
}

const NUMBERS = [
  ...['0', '1', '-1', '42', '999999999999999', '-999999999999999'],
  ...['9007199254740991', '-9007199254740991', '9007199254740992', '-9007199254740992', '1000000000000000'],
  ...[
    '-0',
    '00',
    '01',
    '-01',
    '+1',
    '1.0',
    '1.5',
    '.5',
    '1.',
    '1e3',
    '1E3',
    '1e-1',
    '10e0',
    '0x1',
    '1_0',
    '--1',
    '1-1',
  ],
  ...[
    '',
    '-',
    ' 1',
    '1 ',
    '1\n',
    '\t1',
    '1,2',
    '1}',
    '{1',
    '1]',
    '[1',
    '{}',
    '[]',
    '[1]',
    '1,"z":2',
    '}',
    ']',
  ],
  ...[
    '1:2',
    ':1',
    '1:',
    'null',
    'true',
    '"1"',
    'NaN',
    'Infinity',
    '１',
    '٣',
    '1\u00a0',
    '1%',
    '%',
    '_',
    '1\\',
    '1"',
    '\u0001',
  ],
];

test.each(NUMBERS)(
  'behind an event that it took, a batch judges %j for a number by itself',
  async (number) => {
    expect(isCanonical(COUNTED)).toBe(true);
    const places = [...COUNTED.matchAll(NUMBER)].length;
    expect(places).toBe(8);
    const bodies = Array.from({ length: places }, (_, place) =>
      renumbered(COUNTED, [...Array.from({ length: place }, () => '8'), number]),
    );
    await agrees(f, [COUNTED, ...bodies, COUNTED]);
    // As the first event too: what a frame is made of it takes no more than another.
    await agrees(f, [renumbered(COUNTED, [number]), ...bodies.slice(1), COUNTED]);
  },
);

test('of 4 000 events that differ in their numbers, a batch takes those that are canonical', {
  timeout: 240_000,
}, async () => {
  let accepted = 0;
  const number = fc.oneof(
    { weight: 6, arbitrary: fc.maxSafeInteger().map(String) },
    { weight: 6, arbitrary: fc.integer({ min: -20, max: 2_000 }).map(String) },
    { weight: 1, arbitrary: fc.constantFrom(...NUMBERS) },
  );
  const events = fc.array(
    fc.tuple(fc.array(number, { minLength: 12, maxLength: 12 }), fc.array(mutation, { maxLength: 1 })),
    { minLength: 40, maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(shaped, events), { minLength: 5, maxLength: 5 }), async (kinds) => {
      const bodies = kinds
        .flatMap(([body, ones]) =>
          ones.map(([numbers, mutations], n) =>
            mutations.slice(0, n % 3 === 2 ? 1 : 0).reduce(mutate, renumbered(body, numbers)),
          ),
        )
        .map((body) => body.replaceAll('\u0000', ''))
        .filter((body) => !/\p{Surrogate}/u.test(body));
      accepted += await agrees(f, bodies);
    }),
    { numRuns: 20, endOnFailure: true },
  );
  expect(accepted).toBeGreaterThan(1_500);
});

test('of 40 events that count, a batch reads the first of each kind', async () => {
  const name = new URL(f.database.appUrl).pathname.slice(1);
  await sql.raw(`alter database ${name} set track_functions = 'pl'`).execute(f.superuser);
  const app = kyselyOf<Tables>(f.database.appUrl, 1);
  try {
    const read = await app.transaction().execute(async (trx) => {
      const bodies = Array.from({ length: 40 }, (_, n) =>
        n % 4 === 3
          ? `{"data":{"n":${n}},"type":"x.z"}`
          : renumbered(COUNTED, [`${n}`, `${-n - 1}`, `${n ** 8}`, '4', '5', '6', '7', `${n * 1_000}`]),
      );
      const answers = await append(f, bodies, trx);
      expect(answers.filter(({ refused }) => refused !== null)).toEqual([]);
      const { rows } = await sql<{ calls: number }>`
        select calls::integer from pg_stat_xact_user_functions where schemaname = 'audit' and funcname = 'read_body'`.execute(
        trx,
      );
      return rows[0]?.calls;
    });
    expect(read).toBe(2 + 4); // the four behind them that append adds are too few for a frame
  } finally {
    await app.destroy();
    await sql.raw(`alter database ${name} reset track_functions`).execute(f.superuser);
  }
});
