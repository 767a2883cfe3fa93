import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { z } from 'zod';
import fc from '../../../tools/fuzz.ts';
import { canonicalize, createAudit, defineEvents, parseOrgId, RingfenceAuditError } from '../src/index.ts';
import { errorOf, type Fixture, fixture, ORG_A } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const appendBody = (body: string) =>
  f.inOrg(ORG_A, (trx) => sql`select * from audit.append(gen_random_uuid(), ${body}, true)`.execute(trx));

test.each([
  ['a member after the body', '{"type":"a.b"},"actor":"user:ceo"'],
  ['an end of the record and a second one', '{"type":"a.b"},"v":1} {"x":{"a":1}'],
  ['a member twice', '{"type":"a.b","type":"c.d"}'],
  ['a member twice, spelt differently', '{"type":"a.b","ty\\u0070e":"c.d"}'],
  ['a member twice, deep inside', '{"data":{"x":[{"y":1,"y":2}]},"type":"a.b"}'],
  ['white space before', ' {"type":"a.b"}'],
  ['white space behind', '{"type":"a.b"}\n'],
  ['an array', '["type"]'],
  ['a scalar', '"type"'],
  ['nothing', ''],
  ['no type', '{"kind":"a.b"}'],
  ['a type that is no string', '{"type":{"a":1}}'],
  ['a NUL', '{"type":"a\\u0000b"}'],
  ['a lone surrogate', '{"type":"a\\ud800"}'],
  ['a comment', '{"type":"a.b"/*,*/}'],
  ['a number PostgreSQL alone accepts', '{"type":"a.b","n":NaN}'],
])('refuses a body with %s', async (_, body) => {
  expect(await errorOf(appendBody(body))).toMatchObject({ constraint: 'audit.not_canonical' });
});

test('keeps a forged actor, organisation and time inside the event, where they are only content', async () => {
  const body = '{"actor":"user:ceo","at":"2001-01-01","data":{"v":9},"org":"x","type":"a.b"}';
  const id = '0190f5d2-7b1c-7d34-9a51-00000000f0f0';
  await f.inOrg(ORG_A, (trx) => sql`select * from audit.append(${id}, ${body}, true)`.execute(trx));
  const { rows } = await sql<{ canon: string; actor: string }>`
    select canon, actor from audit.event where id = ${id}`.execute(f.superuser);
  const record = JSON.parse(rows[0]?.canon ?? '') as Record<string, unknown>;
  expect(record).toMatchObject({ actor: 'user:alice', org: ORG_A, v: 1, event: { actor: 'user:ceo' } });
  expect(rows[0]?.actor).toBe('user:alice');
});

test('refuses a body over 64 KiB before it is sent, and again in the database', async () => {
  const text = 'x'.repeat(70_000);
  const problem = { code: 'audit.event_too_large' };
  expect(() => f.audit.prepare('note.taken', { outcome: 'success', data: { text } })).toThrow(
    expect.objectContaining(problem),
  );
  // 40 000 characters of two bytes each: the bound is on bytes.
  expect(() =>
    f.audit.prepare('note.taken', { outcome: 'success', data: { text: 'é'.repeat(40_000) } }),
  ).toThrow(expect.objectContaining(problem));
  expect(await errorOf(appendBody(canonicalize({ type: 'a.b', text })))).toMatchObject({
    constraint: 'audit.event_too_large',
  });
});

test('refuses a receipt that is run twice', async () => {
  const receipt = f.audit.prepare('login.succeeded', { outcome: 'success' });
  await f.append(ORG_A, receipt);
  const again = f.inOrg(ORG_A, (trx) => trx.executeQuery(receipt.query));
  expect(await errorOf(again)).toMatchObject({ constraint: 'event_pkey', schema: 'audit' });
});

test.each<[string, () => unknown]>([
  ['an unknown event', () => f.audit.prepare('entry.erased' as 'login.succeeded', { outcome: 'success' })],
  [
    'an event named like a member of Object',
    () => f.audit.prepare('toString' as 'login.succeeded', { outcome: 'success' }),
  ],
  [
    'wrong data',
    () => f.audit.prepare('note.taken', { outcome: 'success', data: { text: 7 as unknown as string } }),
  ],
  [
    'data of an event without data',
    () => f.audit.prepare('login.succeeded', { outcome: 'success', data: {} } as never),
  ],
  ['a missing target', () => f.audit.prepare('entry.approved', { outcome: 'success' } as never)],
  [
    'an unknown field',
    () => f.audit.prepare('login.succeeded', { outcome: 'success', actor: 'user:ceo' } as never),
  ],
  ['an unknown outcome', () => f.audit.prepare('login.succeeded', { outcome: 'maybe' as 'success' })],
  ['an empty reason', () => f.audit.prepare('login.succeeded', { outcome: 'denied', reason: '' })],
])('refuses %s before any I/O', (_, prepare) => {
  expect(prepare).toThrow(expect.objectContaining({ code: 'audit.invalid_event' }));
});

test.each<[string, unknown]>([
  ['a float', 1.5],
  ['an unsafe integer', 2 ** 53],
  ['infinity', Number.POSITIVE_INFINITY],
  ['a bigint', 1n],
  ['a Date', new Date(0)],
  ['bytes', new Uint8Array(2)],
  ['a lone surrogate', 'a\ud800b'],
  ['a NUL', 'a\u0000b'],
  ['a function', () => 1],
  ['a hole in an array', [undefined]],
  ['a class', new (class Money {})()],
])('has no canonical form for %s', (_, value) => {
  const attempt = () =>
    f.audit.prepare('entry.approved', { target: 'e', outcome: 'success', after: { amount: value } });
  expect(attempt).toThrow(expect.objectContaining({ code: 'audit.not_canonical' }));
});

test('has no canonical form for what is nested without end', () => {
  const endless: Record<string, unknown> = {};
  endless['self'] = endless;
  expect(() => canonicalize(endless)).toThrow(RingfenceAuditError);
});

test('verifies an event nested as deep as the encoder allows', async () => {
  const nested = (levels: number): unknown => (levels === 0 ? 'x' : { a: nested(levels - 1) });
  const deep = defineEvents({ 'thing.seen': { data: z.unknown() } });
  const audit = createAudit({ events: deep, db: f.app });
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000dee70');
  const prepare = (levels: number) =>
    audit.prepare('thing.seen', { outcome: 'success', data: nested(levels) });
  expect(() => prepare(32)).toThrow(expect.objectContaining({ code: 'audit.not_canonical' }));
  await f.append(org, prepare(31));
  expect(await f.inOrg(org, (trx) => audit.verify(trx, org))).toMatchObject({ ok: true, checked: 1 });
});

test('orders members by UTF-16 code units and escapes as RFC 8785 says', () => {
  const value = {
    '\u20ac': 'Euro',
    '\r': 'CR',
    '\ufb33': 'Dalet',
    1: 'One',
    '\u{1f600}': 'Emoji',
    '\u0080': 'Ctl',
    ö: 'O',
  };
  expect(canonicalize(value)).toBe(
    '{"\\r":"CR","1":"One","\u0080":"Ctl","ö":"O","\u20ac":"Euro","\u{1f600}":"Emoji","\ufb33":"Dalet"}',
  );
  expect(canonicalize('\u20ac$\u000f\u000aA\'B"\\\\"/')).toBe('"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"');
  expect(canonicalize([-0, true, null])).toBe('[0,true,null]');
});

const text = fc
  .oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }))
  .filter((s) => !s.includes('\u0000'));
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    text,
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(text, tie('value'), { maxKeys: 5 }),
  ),
}));

test('encodes what it decodes to the same bytes', () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const encoded = canonicalize(value);
      expect(canonicalize(JSON.parse(encoded))).toBe(encoded);
    }),
    { numRuns: 2_000 },
  );
});

test('raises no false alarm over honest events with values of every kind', async () => {
  const free = defineEvents({ 'thing.seen': { target: 'thing', data: z.record(z.string(), z.unknown()) } });
  const audit = createAudit({ events: free, db: f.app });
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-00000000fa22');
  const actors = text.filter((s) => s !== '');
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(text, anyValue, { maxKeys: 6 }),
      text,
      actors,
      text,
      async (data, target, actor, request) => {
        const receipt = audit.prepare('thing.seen', {
          target: `t${target}`.slice(0, 200),
          outcome: 'success',
          data,
          after: data,
        });
        await f.append(org, receipt, { actor, request });
      },
    ),
    { numRuns: 400 },
  );
  const report = await f.inOrg(org, (trx) => audit.verify(trx, org, { pageSize: 77 }));
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ ok: true, checked: 400 });
});
