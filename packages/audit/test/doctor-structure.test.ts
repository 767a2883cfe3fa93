/**
 * Guards that say something else in nearly the same letters: other parentheses, a cast, other letters in a string, a name in
 * quotes. Each is noticed, and what PostgreSQL writes differently by itself is no finding.
 */

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type AuditDoctorOptions, auditDoctor } from '../src/doctor/index.ts';
import { shapeOf } from '../src/doctor/sql-shape.ts';
import { type Fixture, fixture } from './fixture.ts';
import { executorOf } from './guards/play.ts';

let f: Fixture;
let client: pg.Client;
let options: AuditDoctorOptions;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  client = new pg.Client({ connectionString: f.database.superuserUrl });
  client.on('error', () => {});
  await client.connect();
  options = { appRole: f.database.app, checkpointerRole: f.database.keys, copierRole: f.database.queue };
});
afterAll(async () => {
  await client.end();
  await f.close();
});

/** What is found when a statement has run, but for the settings of the test server. */
async function foundAfter(statement: string): Promise<string[]> {
  await client.query('begin');
  try {
    await client.query(statement);
    const { findings } = await auditDoctor(executorOf(client), options);
    return findings
      .filter(({ rule }) => rule !== 'durability-off')
      .map(({ rule, object }) => `${rule} ${object}`);
  } finally {
    await client.query('rollback');
  }
}

const check = (table: string, name: string, expression: string) =>
  `alter table audit.${table} drop constraint ${name}, add constraint ${name} check (${expression})`;
const trigger = (table: string, name: string, shape: string) =>
  `drop trigger ${name} on audit.${table};
   create trigger ${name} ${shape}; alter table audit.${table} enable always trigger ${name}`;

const CHECKS: readonly (readonly [what: string, table: string, name: string, expression: string])[] = [
  [
    'a conjunction that became an alternative',
    'subject',
    'subject_state',
    '(((erased_at is null) = (erasure_event is null)) and erased_at is null) or erasing_at is not null',
  ],
  [
    'a sum that is divided as a whole',
    'tile',
    'tile_data',
    'octet_length(data) > 0 and octet_length(data) % 32 = 0 and (start + octet_length(data)) / 32 <= 256',
  ],
  [
    'a leaf over the first 63 bytes of a record only',
    'event',
    'event_leaf',
    `leaf = sha256(decode('00', 'hex') || convert_to(canon::name::text, 'UTF8'))`,
  ],
  [
    'a leaf over something else in the parentheses',
    'event',
    'event_leaf',
    `leaf = sha256(decode('00', 'hex')) || convert_to(canon, 'UTF8')`,
  ],
  [
    'a leaf over a prefix of other letters',
    'event',
    'event_leaf',
    `leaf = sha256(decode('01', 'hex') || convert_to(canon, 'UTF8'))`,
  ],
  ['a hash that is measured as text', 'seal', 'seal_hash', 'octet_length(hash::text) = 32'],
  ['a size that is cut to a yes or no', 'copy', 'copy_upto', 'upto::int::bool::int > 0'],
  ['a kind in other letters', 'copy', 'copy_kind', `kind in ('Segment', 'tile', 'checkpoint')`],
  ['a kind with a space in it', 'copy', 'copy_kind', `kind in ('seg ment', 'tile', 'checkpoint')`],
  ['a kind that may be empty', 'copy', 'copy_kind', `kind in ('segment', 'tile', 'checkpoint', '')`],
  ['a kind in one string', 'copy', 'copy_kind', `kind in ('segment'',''tile', 'checkpoint')`],
  [
    'two hashes of which one may be any',
    'checkpoint',
    'checkpoint_hashes',
    '(octet_length(root) = 32) = (octet_length(link) = 32)',
  ],
  ['a negation', 'seal', 'seal_seq', 'not (seq > 0)'],
  ['a comparison with itself', 'seal', 'seal_seq', 'seq > 0 is not null'],
  [
    'a place that may be null as well',
    'deployment_entry',
    'deployment_entry_bytes',
    '(octet_length(root) = 32 and octet_length(salt) = 32 and place >= 0) is not false',
  ],
];

describe('a check is noticed that holds', () => {
  test.each(CHECKS)('%s', async (_, table, name, expression) => {
    expect(await foundAfter(check(table, name, expression))).toEqual([
      `constraint-missing audit.${table}.${name}`,
    ]);
  });

  test('but is not enforced', async () => {
    const { rows } = await client.query(`select current_setting('server_version_num')::int as version`);
    if (rows[0].version < 180000) return;
    expect(await foundAfter(`${check('seal', 'seal_seq', 'seq > 0')} not enforced`)).toEqual([
      'constraint-missing audit.seal.seal_seq',
    ]);
  });

  test('for one column of other letters', async () => {
    const found = await foundAfter(
      `alter table audit.seal add column "EVENT_ID" uuid, drop constraint seal_event, add constraint seal_event unique (org_id, "EVENT_ID")`,
    );
    expect(found).toContain('constraint-missing audit.seal.seal_event');
  });
});

const FORGED = `
  create schema "Audit"; grant usage on schema "Audit" to public;
  create function "Audit".refuse_change() returns trigger language plpgsql as 'begin return new; end';
  create schema "AUDIT"; grant usage on schema "AUDIT" to public;
  create function "AUDIT".context(out org_id uuid, out actor text, out request_id text) language sql as 'select null::uuid, null::text, null::text';`;

describe('a trigger is noticed', () => {
  const RETURN = 'new.org_id <> old.org_id or new.subject <> old.subject or old.erased_at is not null or';
  test.each([
    [
      'whose condition groups otherwise',
      trigger(
        'subject',
        'refuse_return',
        `before update on audit.subject for each row when ((${RETURN} old.erasing_at is not null)
         and new.erasing_at is distinct from old.erasing_at) execute function audit.refuse_change()`,
      ),
      'audit.subject.refuse_return',
    ],
    [
      'whose condition compares a part',
      trigger(
        'head',
        'refuse_backward',
        `before update on audit.head for each row when (new.org_id <> old.org_id or new.seq::int2::int8 <= old.seq)
         execute function audit.refuse_change()`,
      ),
      'audit.head.refuse_backward',
    ],
    [
      'that calls a function of nearly the same name',
      `${FORGED} ${trigger('event', 'refuse_row_change', `before update or delete on audit.event for each row execute function "Audit".refuse_change()`)}`,
      'audit.event.refuse_row_change',
    ],
    [
      'that is for one column only',
      trigger(
        'event',
        'refuse_row_change',
        'before update of actor or delete on audit.event for each row execute function audit.refuse_change()',
      ),
      'audit.event.refuse_row_change',
    ],
    [
      'that does not see deletion',
      trigger(
        'event',
        'refuse_row_change',
        'before update or insert on audit.event for each row execute function audit.refuse_change()',
      ),
      'audit.event.refuse_row_change',
    ],
  ])('%s', async (_, statement, object) => {
    expect(await foundAfter(statement)).toEqual([`trigger-missing ${object}`]);
  });
});

describe('a policy is noticed', () => {
  const OWN = '(select (audit.context()).org_id)';
  test.each([
    ['that asks a function of nearly the same name', `org_id = (select ("AUDIT".context()).org_id)`],
    ['that compares as text', `org_id::text = ${OWN}::text`],
    ['that lets the unknown pass', `(org_id = ${OWN}) is not false`],
    ['that compares with the actor', `org_id = (select (audit.context()).actor::uuid)`],
    ['that asks for every row', `org_id = org_id`],
    ['that is negated', `not org_id = ${OWN}`],
    ['with an alternative', `org_id = ${OWN} or actor = 'user:mallory'`],
  ])('%s', async (_, expression) => {
    expect(
      await foundAfter(`${FORGED} alter policy read_own_org on audit.event using (${expression})`),
    ).toEqual(['policy-changed audit.event.read_own_org']);
  });

  test.each([(app: string) => app.toUpperCase(), (app: string) => `${app} using (true)`])(
    'for a role whose name reads like another',
    async (nameOf) => {
      const role = nameOf(f.database.app);
      const statement = `create role "${role}"; alter policy read_own_org on audit.event to "${role}"`;
      expect(await foundAfter(statement)).toEqual(['policy-changed audit.event.read_own_org']);
    },
  );
});

test('what is written otherwise and says the same is no finding', async () => {
  for (const statement of [
    check('seal', 'seal_seq', '((("seq")) > (0))'),
    check('copy', 'copy_kind', `kind = any (array['segment', 'tile'::text, 'checkpoint'])`),
    check(
      'subject',
      'subject_state',
      `(erased_at IS NULL) = (erasure_event IS NULL) AND ((erased_at IS NULL OR erasing_at IS NOT NULL))`,
    ),
    'alter policy read_own_org on audit.event using ((org_id) = (select ((audit.context())).org_id as mine))',
  ])
    expect(await foundAfter(statement), statement).toEqual([]);
});

/** Expressions over the columns of a table: as somebody writes them, with more or fewer parentheses. */
const { expression } = fc.letrec<{ number: string; text: string; bytes: string; expression: string }>(
  (tie) => {
    const binary = (operand: fc.Arbitrary<string>, ...operators: string[]) =>
      fc
        .tuple(operand, fc.constantFrom(...operators), operand, fc.boolean())
        .map(([left, operator, right, wrap]) =>
          wrap ? `(${left} ${operator} ${right})` : `${left} ${operator} ${right}`,
        );
    const literal = fc.constantFrom(`'a'`, `'A'`, `''`, `'a b'`, `'it''s'`, `'x (y) or'`);
    return {
      number: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom('a', 'b', '0', '7', '31'),
        binary(tie('number'), '+', '-', '*', '/', '%'),
        tie('bytes').map((bytes) => `octet_length(${bytes})`),
        fc.constantFrom('a::text::integer', '(c)::integer', 'length(c)'),
      ),
      text: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom('c', 'c::name::text', 'lower(c)'),
        literal,
        binary(tie('text'), '||'),
      ),
      bytes: fc.constantFrom(
        'd',
        'sha256(d)',
        'd || sha256(d)',
        `convert_to(c, 'UTF8')`,
        `decode('00', 'hex') || d`,
      ),
      expression: fc.oneof(
        { depthSize: 'medium', withCrossShrink: true },
        fc.constantFrom(
          'e',
          'c is null',
          'd is not null',
          'a is distinct from b',
          '(a is null) = (b is null)',
        ),
        fc
          .tuple(tie('number'), fc.constantFrom('=', '<>', '<', '>=', '!='), tie('number'))
          .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
        fc.tuple(tie('text'), literal, literal).map(([text, one, two]) => `(${text}) in (${one}, ${two})`),
        fc.tuple(tie('text'), literal).map(([text, one]) => `(c || ${text}) = ${one}`),
        binary(tie('expression'), 'and', 'or'),
        tie('expression').map((one) => `not (${one})`),
      ),
    };
  },
);

test('any expression has the shape of what PostgreSQL makes of it, and two have one shape as PostgreSQL has one text', async () => {
  await client.query('begin');
  await client.query('create table public.shaped (a int, b int, c text, d bytea, e boolean)');
  const deparsed = async (text: string): Promise<string | undefined> => {
    await client.query('savepoint s');
    try {
      await client.query(`alter table public.shaped add constraint one check (${text})`);
      const { rows } = await client.query(
        `select pg_get_constraintdef(oid) as definition from pg_constraint where conname = 'one'`,
      );
      return rows[0].definition as string;
    } catch (error) {
      if (/^(?:42|22012)/.test(String((error as { code?: unknown }).code))) return undefined; // does not type, or divides by zero
      throw error;
    } finally {
      await client.query('rollback to s');
    }
  };
  let compared = 0;
  try {
    await fc.assert(
      fc.asyncProperty(expression, expression, async (one, other) => {
        const [first, second] = [await deparsed(one), await deparsed(other)];
        if (first === undefined || second === undefined) return;
        compared += 1;
        expect(shapeOf(`check (${one})`)).toBe(shapeOf(first));
        expect(shapeOf(`check (${one})`) === shapeOf(`check (${other})`)).toBe(
          shapeOf(first) === shapeOf(second),
        );
        expect(shapeOf(first)).not.toMatch(/^unreadable/);
      }),
      { numRuns: 150 },
    );
  } finally {
    await client.query('rollback');
  }
  expect(compared).toBeGreaterThan(100);
});

test('a text that is no definition has a shape of its own', () => {
  for (const text of [
    `check (a = E'\\x41')`,
    'check (a = b',
    'check (case when a then b end)',
    'check (a between 1 and 2)',
    `check (a = $$x$$)`,
    'check (a[1] = 2)',
    'check (a is of (text))',
    'check ()',
  ])
    expect(shapeOf(text)).toBe(`unreadable: ${text}`);
});
