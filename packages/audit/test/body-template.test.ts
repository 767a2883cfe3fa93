/**
 * `audit.append_from_template` called as its client never calls it: what it takes is what `audit.append` takes of the body that template
 * and values make, whatever MAC comes with them.
 */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { templateOf } from '../src/body-template.ts';
import { canonicalize } from '../src/index.ts';
import { expected, shaped } from './batch-oracle.ts';
import { isVerifiable, object } from './body-oracle.ts';
import { errorOf, type Fixture, fixture, ORG_A } from './fixture.ts';

interface Call {
  readonly template: string | null;
  readonly mac: Uint8Array | null;
  readonly targeted: boolean | null;
  readonly strings: string | null;
  readonly integers: string | null;
}

interface Answer {
  /** What template and values make; null when PostgreSQL's `format` refuses them. */
  readonly body: string | null;
  readonly refused: string | null;
  readonly event: string | null;
  readonly action: string | null;
  readonly target: string | null;
  readonly mac: Uint8Array | null;
}

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
  // As the app, each call on its own. What is refused has the rule for its answer, or the SQLSTATE.
  await sql
    .raw(`
    create function app.try_templates(templates text[], macs text[], targeted boolean[], strings text[], integers text[])
    returns table (place integer, id uuid, refused text, mac bytea) language plpgsql as $$
    #variable_conflict use_column
    begin
      for n in 1 .. cardinality(templates) loop
        place := n;
        id := gen_random_uuid();
        refused := null;
        mac := null;
        begin
          select a.template_mac into mac from audit.append_from_template(
            id, templates[n], decode(macs[n], 'hex'), targeted[n], strings[n], integers[n]::bigint[], false) a;
        exception when others then
          get stacked diagnostics refused = constraint_name;
          refused := coalesce(nullif(refused, ''), sqlstate);
        end;
        return next;
      end loop;
    end $$;
    create function app.try_format(template text, strings text, integers text) returns text language plpgsql as $$
    begin
      return format(template, variadic string_to_array(strings, '"') || integers::bigint[]::text[]);
    exception when others then
      return null;
    end $$;
    grant execute on all functions in schema app to ${f.database.app};`)
    .execute(f.superuser);
});

afterAll(() => f.close());

async function call(calls: readonly Call[]): Promise<readonly Answer[]> {
  const of = (name: keyof Call) =>
    calls.map((one) => {
      const value = one[name];
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    });
  const tried = await f.inOrg(ORG_A, (trx) =>
    sql<{ place: number; id: string; refused: string | null; mac: Uint8Array | null }>`
      select * from app.try_templates(${of('template')}::text[], ${of('mac')}::text[], ${of('targeted')}::boolean[],
        ${of('strings')}::text[], ${of('integers')}::text[]) order by place`.execute(trx),
  );
  const { rows } = await sql<Answer & { place: number }>`
    select c.place::integer, app.try_format(c.template, c.strings, c.integers) as body, e.canon as event, e.action, e.target
      from unnest(${of('template')}::text[], ${of('strings')}::text[], ${of('integers')}::text[], ${tried.rows.map(({ id }) => id)}::uuid[])
           with ordinality c(template, strings, integers, id, place)
      left join audit.event e on e.id = c.id order by c.place`.execute(f.superuser);
  return rows.map((row, n) => ({ ...row, ...tried.rows[n] }) as Answer);
}

/** Fails unless each was judged as its body is alone; says how many were taken. */
function judged(answers: readonly Answer[]): number {
  const wrong = answers.filter(({ body, refused, event, action, target }) => {
    const columns = body === null ? null : expected(body);
    if (columns === null || body === null) return refused === null || event !== null;
    return (
      refused !== null ||
      event?.includes(`"event":${body},"id":`) !== true ||
      !isVerifiable(body) ||
      action !== columns.action ||
      target !== columns.target
    );
  });
  expect(wrong).toEqual([]);
  return answers.filter(({ refused }) => refused === null).length;
}

/** What a body is sent as, with the MAC that the database gives for its template. */
async function known(body: string, targeted = body.includes('"target":')): Promise<Call> {
  const templated = templateOf(body, targeted);
  if (templated === undefined) throw new Error(`no template: ${body}`);
  const asked: Call = { ...templated, targeted, mac: null };
  const [answer] = await call([asked]);
  expect(answer).toMatchObject({ refused: null, body });
  expect(answer?.mac).toHaveLength(32);
  return { ...asked, mac: answer?.mac ?? null };
}

const BODY =
  '{"data":{"a":"one","b":2,"l":["two",{"c":-3}]},"note":"three","target":{"id":"four","type":"entry"},"type":"x.y"}';
const STRINGS = ['one', 'two', 'three', 'four'];

test('a body of a template with its MAC is recorded as it is, and not read', async () => {
  const one = await known(BODY);
  expect(one.template).toBe(
    '{"data":{"a":"%1$s","b":%5$s,"l":["%2$s",{"c":%6$s}]},"note":"%3$s","target":{"id":"%4$s","type":"entry"},"type":"x.y"}',
  );
  expect([one.strings, one.integers]).toEqual([STRINGS.join('"'), '{2,-3}']);
  const other = { ...one, strings: 'ä"😀%1$s""x:y', integers: '{9007199254740991,0}' };
  // Whatever is not read cannot be refused: with the gate shut, what has its MAC still comes in.
  await sql
    .raw(`alter function audit.read_body(text) rename to read_body_open;
      create function audit.read_body(body text) returns jsonb language sql as 'select null::jsonb'`)
    .execute(f.superuser);
  try {
    const answers = await call([one, other, { ...one, mac: null }]);
    expect(answers.map(({ refused }) => refused)).toEqual([null, null, 'audit.not_canonical']);
    expect(judged(answers.slice(0, 2))).toBe(2);
    expect(answers[1]?.body).toBe(
      '{"data":{"a":"ä","b":9007199254740991,"l":["😀%1$s",{"c":0}]},"note":"","target":{"id":"x:y","type":"entry"},"type":"x.y"}',
    );
    expect(answers[1]?.target).toBe('entry:x:y');
    expect(answers.slice(0, 2).map(({ mac }) => mac)).toEqual([null, null]);
  } finally {
    await sql
      .raw(
        'drop function audit.read_body(text); alter function audit.read_body_open(text) rename to read_body',
      )
      .execute(f.superuser);
  }
});

describe('is judged by the body it makes', () => {
  const strings = (...values: string[]): Partial<Call> => ({ strings: values.join('"') });
  const attacks: readonly (readonly [string, Partial<Call>])[] = [
    ['a backslash', strings('\\', 'two', 'three', 'four')],
    ['a backslash at the end of a string', strings('one\\', 'two', 'three', 'four')],
    ['an escape that is needed', strings('\\n', 'two', 'three', 'four')],
    ['an escape that is not', strings('\\u0041', 'two', 'three', 'four')],
    ['a line feed', strings('one\n', 'two', 'three', 'four')],
    ['the last control character', strings('\u001f', 'two', 'three', 'four')],
    ['a delete character, which has no escape', strings('\u007f', 'two', 'three', 'four')],
    ['one string fewer', strings('one', 'two', 'three')],
    [
      'a backslash in the place of a quote, and an integer in that of the string',
      { ...strings('\\', 'two', 'three'), integers: '{7,2,-3}' },
    ],
    [
      'a line feed in the place of a quote, and an integer in that of the string',
      { ...strings('\n', 'two', 'three'), integers: '{7,2,-3}' },
    ],
    ['one string more', strings('one', 'two', 'three', 'four', 'five')],
    ['one string more, for a number', { ...strings('one', 'two', 'three', 'four', '01'), integers: '{2}' }],
    ['members in a string', strings('one","z":"', 'two', 'three', 'four')],
    ['no strings', { strings: null }],
    ['one integer fewer', { integers: '{2}' }],
    ['one integer more', { integers: '{2,-3,4}' }],
    ['no integers', { integers: null }],
    ['null for an integer', { integers: '{2,null}' }],
    ['an integer that is not safe', { integers: '{9007199254740992,-3}' }],
    ['a negative one', { integers: '{2,-9007199254740992}' }],
    ['the largest and the smallest one', { integers: '{9007199254740991,-9007199254740991}' }],
    ['integers counted from 0', { integers: '[0:1]={2,-3}' }],
    ['a negative zero', { integers: '{-0,-3}' }],
    ['no target said', { targeted: false }],
    ['nothing said of a target', { targeted: null }],
    ['another MAC', { mac: new Uint8Array(32) }],
    ['an empty MAC', { mac: new Uint8Array() }],
    ['no MAC', { mac: null }],
    ['no template', { template: null }],
    ['a template without holes', { template: BODY }],
  ];
  test.each(attacks)('%s', async (_, change) => {
    const one = await known(BODY);
    judged(await call([{ ...one, ...change }]));
  });

  test.each([
    ['a space', ':{"a"', ': {"a"'],
    ['members out of order', '"a":"%1$s","b":%5$s', '"b":%5$s,"a":"%1$s"'],
    ['a name twice', '"b":%5$s', '"a":%5$s'],
    ['a hole for a name', '"note":"%3$s"', '"%3$s":"note"'],
    ['a hole for the type', '"type":"x.y"', '"type":"%3$s"'],
    ['a string hole for a number', '"b":%5$s', '"b":%3$s'],
    ['a number hole for a string', '"a":"%1$s"', '"a":"%5$s"'],
    ['a hole twice', '"%2$s"', '"%1$s"'],
    ['a width', '%5$s', '%5$3s'],
    ['the quotes of a literal', '"%1$s"', '%1$I'],
    ['a percent sign', '"note":"%3$s"', '"note":"%%"'],
    ['a reserved type', '"type":"x.y"', '"type":"row.changed"'],
    ["a member of the database's", '"note":"%3$s"', '"personal":"%3$s"'],
    ['another type', '"x.y"', '"x.z"'],
    ['another type of target', '"entry"', '"other"'],
    ['a space, a flag and numbers in front', '{"data"', '5 4 t {"data"'],
  ])('%s in the template, with the MAC of another', async (_, piece, other) => {
    const one = await known(BODY);
    expect(one.template).toContain(piece);
    const template = one.template?.replace(piece, () => other) ?? null;
    const answers = await call([
      { ...one, template },
      { ...one, template, mac: null },
    ]);
    judged(answers);
  });

  test('a body whose target is none of an event, with a MAC for the same text without one', async () => {
    const body = '{"data":{"target":{"id":"i","type":"t"},"x":"v"},"type":"x.y"}';
    const one = await known(body, false);
    judged(await call([{ ...one, targeted: true }]));
  });

  test('values of nothing', async () => {
    judged(await call([{ template: null, mac: null, targeted: null, strings: null, integers: null }]));
  });
});

test('no MAC is given for a template that is not the one of its body', async () => {
  const answers = await call(
    [
      { template: BODY, strings: '', integers: '{}' },
      { template: BODY.replace('"one"', '"%1$s"'), strings: 'one', integers: '{}' },
      { template: BODY.replace('2', '%1$s'), strings: '2', integers: '{}' },
      { template: '{"data":{"a%%":"%1$s"},"type":"x.y"}', strings: 'one', integers: '{}' },
      { template: '{"data":{"a":"%1$s"},"type":"x%%y"}', strings: 'one', integers: '{}' },
      { template: '{"data":{"a":"\\n%1$s"},"type":"x.y"}', strings: 'one', integers: '{}' },
      { template: '%1$s', strings: 'one', integers: '{}' },
      // A text that is a hole itself: filled in, the template is the same again.
      { template: '{"data":{"%1$s":"%1$s"},"type":"x.y"}', strings: '%1$s', integers: '{}' },
      { template: '{"data":{"a":"%1$s"},"type":"%1$s"}', strings: '%1$s', integers: '{}' },
      {
        template: '{"data":{"a":"%1$s"},"target":{"id":"%2$s","type":"%1$s"},"type":"x.y"}',
        strings: '%1$s"i',
        integers: '{}',
      },
    ].map((one) => ({ ...one, mac: null, targeted: one.template.includes('"target"') })),
  );
  judged(answers);
  expect(answers.map(({ mac }) => mac)).toEqual(answers.map(() => null));
});

/** Bodies of the usual form, half of them with no escape: the others have no template. */
const usual: fc.Arbitrary<string> = fc.oneof(
  shaped,
  shaped.map((body) => body.replace(/\\(u....|.)/g, '')).filter((body) => expected(body) !== null),
);

test('an event without an id is refused', async () => {
  const { template, mac, targeted, strings, integers } = await known(BODY);
  const run = f.inOrg(ORG_A, (trx) =>
    sql`select audit.append_from_template(null, ${template}, ${mac}, ${targeted}, ${strings}, ${integers}, false)`.execute(
      trx,
    ),
  );
  expect(await errorOf(run)).toMatchObject({ code: '22023', constraint: 'audit.not_canonical' });
});

test('client and database make the same template of 3 000 bodies, and both make none of the same', {
  timeout: 240_000,
}, async () => {
  let templated = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(usual, { minLength: 300, maxLength: 300 }), async (generated) => {
      const bodies = generated.filter((body) => expected(body) !== null);
      const targeted = bodies.map((body) => expected(body)?.target !== null);
      const { rows } = await sql<{ template: string | null }>`
        select (audit.template_of(b.body, b.body::jsonb)).template from unnest(${bodies}::text[]) with ordinality b(body, place)
         order by b.place`.execute(f.owner);
      const here = bodies.map((body, n) => templateOf(body, targeted[n] === true)?.template ?? null);
      const ending = /"type":"[^"]*"}$/; // what the SDK sends; the rest is for the database to refuse a template
      const differ = bodies.filter((body, n) => here[n] !== rows[n]?.template && ending.test(body));
      expect(differ).toEqual([]);
      templated += here.filter((template) => template !== null).length;
    }),
    { numRuns: 10, endOnFailure: true },
  );
  expect(templated).toBeGreaterThan(500);
});

const piece = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'aé%$1:{},'), maxLength: 4 }),
  fc.constantFrom('\\', '\n', '\\n', '"', '\u0001', '\u001f', '%1$s', '"a":"', '😀'),
);
const change = fc.record({
  strings: fc.array(fc.tuple(fc.nat(), piece), { maxLength: 3 }),
  drop: fc.constantFrom(0, 0, 0, 0, 1),
  integers: fc.array(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(2 ** 53, -(2 ** 53))), { maxLength: 3 }),
  kept: fc.constantFrom(true, true, false),
  swap: fc.constantFrom(false, false, false, true),
  flip: fc.constantFrom(false, false, false, false, true),
});

test('of 4 000 calls with MACs and changed values, those are taken whose bodies are canonical', {
  timeout: 240_000,
}, async () => {
  let taken = 0;
  let refused = 0;
  const body = fc.oneof(
    usual,
    object.map((data) => canonicalize({ data, outcome: 'success', type: 'x.y' })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(body, change), { minLength: 250, maxLength: 250 }), async (cases) => {
      const asked = cases.flatMap(([text, by]) => {
        const targeted = expected(text) !== null && expected(text)?.target !== null;
        const templated = expected(text) === null ? undefined : templateOf(text, targeted);
        return templated === undefined ? [] : [{ by, one: { ...templated, targeted, mac: null } as Call }];
      });
      const macs = await call(asked.map(({ one }) => one));
      judged(macs);
      const calls = asked.map(({ by, one }, n) => {
        const values = (one.strings ?? '').split('"');
        for (const [at, other] of by.strings) values[at % values.length] = other;
        const integers = by.kept ? one.integers : `{${by.integers.join(',')}}`;
        return {
          ...one,
          mac: macs[by.swap ? (n + 1) % macs.length : n]?.mac ?? null,
          targeted: one.targeted !== by.flip,
          strings: values.slice(by.drop).join('"'),
          integers,
        };
      });
      const answers = await call(calls);
      taken += judged(answers);
      refused += answers.filter((answer) => answer.refused !== null).length;
    }),
    { numRuns: 16, endOnFailure: true },
  );
  expect(taken).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(500);
});

test('nobody but the owner reads the keys, and each schema has its own', async () => {
  const denied = await errorOf(sql`select * from audit.template_key`.execute(f.app));
  expect(denied).toMatchObject({ code: '42501' });
  const helper = sql`select audit.template_of('{"type":"x.y"}', '{"type":"x.y"}')`;
  expect(await errorOf(helper.execute(f.app))).toMatchObject({ code: '42501' });
  const { rows } = await sql<{ keys: number; distinct: number; bytes: number }>`
    select count(*)::integer as keys, count(distinct substr(k.key, n.part * 32 + 1, 32))::integer as distinct,
           min(octet_length(k.key)) as bytes
      from audit.template_key t, lateral (values (t.inner_key), (t.outer_key)) k(key), generate_series(0, 1) n(part)`.execute(
    f.superuser,
  );
  expect(rows).toEqual([{ keys: 4, distinct: 4, bytes: 64 }]);
  const other = await fixture(inject('databaseUrl'), 1);
  try {
    const { rows: theirs } = await sql<{
      inner_key: Uint8Array;
    }>`select inner_key from audit.template_key`.execute(other.superuser);
    const { rows: ours } = await sql<{
      inner_key: Uint8Array;
    }>`select inner_key from audit.template_key`.execute(f.superuser);
    expect(theirs[0]?.inner_key).not.toEqual(ours[0]?.inner_key);
  } finally {
    await other.close();
  }
});
