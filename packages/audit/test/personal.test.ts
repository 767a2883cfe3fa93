/** Personal parts: committed to in the chain, sealed beside it, opened one by one. */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { canonicalize, createAudit, parseOrgId } from '../src/index.ts';
import { createPersonalAudit } from '../src/personal/index.ts';
import { verifyDisclosure } from '../src/verify/index.ts';
import { errorOf, ORG_A, ORG_B } from './fixture.ts';
import { type PersonalFixture, personalEvents, personalFixture } from './personal-fixture.ts';

let p: PersonalFixture;

beforeAll(async () => {
  p = await personalFixture(inject('databaseUrl'));
});

afterAll(() => p.f.close());

const reveal = (
  org: typeof ORG_A,
  event: string,
  field: Parameters<typeof p.personal.reveal>[3] = 'data.email',
) => p.f.inOrg(org, (trx) => p.personal.reveal(trx, org, event, field));

async function recordOf(event: string): Promise<string> {
  const { rows } = await sql<{ canon: string }>`select canon from audit.event where id = ${event}`.execute(
    p.f.superuser,
  );
  return rows[0]?.canon ?? '';
}

/** Runs a statement as somebody who switched the guards of personal values off. */
const tamper = (statement: string) =>
  p.f.superuser.transaction().execute(async (trx) => {
    await sql`alter table audit.personal disable trigger all`.execute(trx);
    await sql.raw(statement).execute(trx);
    await sql`alter table audit.personal enable trigger all`.execute(trx);
    for (const name of ['refuse_row_change', 'refuse_change', 'refuse_deletion']) {
      await sql`alter table audit.personal enable always trigger ${sql.id(name)}`.execute(trx);
    }
  });

test('records what is personal as commitments only, and verifies', async () => {
  const receipt = await p.personal.prepare(ORG_A, 'member.invited', {
    subject: 'u-1',
    target: 'm-1',
    outcome: 'success',
    reason: 'new hire',
    note: 'met Ada at the fair',
    data: { email: 'ada@example.org', role: 'auditor', ip: '203.0.113.7' },
    before: { iban: 'DE02', role: 'none' },
    after: { iban: 'DE03', role: 'auditor' },
  });
  await p.f.append(ORG_A, receipt);
  const record = await recordOf(receipt.id);
  const digest = expect.stringMatching(/^[0-9a-f]{64}$/);
  expect(JSON.parse(record).event).toEqual({
    type: 'member.invited',
    outcome: 'success',
    reason: 'new hire',
    target: { type: 'member', id: 'm-1' },
    data: { role: 'auditor' },
    changes: { role: { from: 'none', to: 'auditor' } },
    personal: {
      subject: 'u-1',
      fields: { 'data.email': digest, 'data.ip': digest, 'changes.iban': digest, note: digest },
    },
  });
  const opened = await reveal(ORG_A, receipt.id, 'changes.iban');
  expect(opened).toEqual({
    event: receipt.id,
    name: 'changes.iban',
    value: { from: 'DE02', to: 'DE03' },
    salt: digest,
  });
  expect(verifyDisclosure(record, JSON.parse(JSON.stringify(opened)))).toBe(true);
  expect(await reveal(ORG_A, receipt.id, 'note')).toMatchObject({ value: 'met Ada at the fair' });
  const report = await p.f.inOrg(ORG_A, (trx) => p.audit.verify(trx, ORG_A));
  expect(report).toMatchObject({ ok: true, findings: [] });
});

test('keeps values of any script and of many bytes, and refuses what is too long', async () => {
  const email = `${'\u{1f600}é\u202e'.repeat(2_000)}@例え.テスト`;
  const event = await p.invite(ORG_A, 'пользователь-\u{1f600}', email);
  const opened = await reveal(ORG_A, event);
  expect(opened.value).toBe(email);
  expect(verifyDisclosure(await recordOf(event), opened)).toBe(true);
  const long = p.invite(ORG_A, 'u-1', 'x'.repeat(65_535));
  expect(await errorOf(long)).toMatchObject({ code: 'audit.event_too_large' });
  expect((await reveal(ORG_A, await p.invite(ORG_A, 'u-1', 'x'.repeat(65_534)))).value).toHaveLength(65_534);
});

test.each(['', 'x'.repeat(201), 'a\u0000b', 'a\ud800', undefined])(
  'refuses %j as a subject',
  async (subject) => {
    const run = p.personal.prepare(ORG_A, 'consent.given', {
      subject: subject as string,
      outcome: 'success',
      data: { answer: true },
    });
    expect(await errorOf(run)).toMatchObject({ code: 'audit.invalid_event' });
  },
);

test('refuses to prepare a personal event where its values would enter the chain in clear', () => {
  expect(() =>
    p.audit.prepare('consent.given' as never, { outcome: 'success', data: { answer: true } } as never),
  ).toThrow(TypeError);
});

test('no error message holds a personal value', async () => {
  const secret = 'ada.secret@example.org';
  for (const data of [
    { email: `${secret}\ud800`, role: 'r' },
    { email: 7, role: secret },
    { email: secret },
  ]) {
    const run = p.personal.prepare(ORG_A, 'member.invited', {
      subject: 'u-1',
      target: 'm',
      outcome: 'success',
      data: data as never,
    });
    const error = await errorOf(run);
    expect(String(error.message)).not.toContain('secret');
  }
});

test('writes neither commitment nor value when the transaction rolls back', async () => {
  const receipt = await p.personal.prepare(ORG_A, 'consent.given', {
    subject: 'u-rollback',
    outcome: 'success',
    data: { answer: true },
  });
  const run = p.f.inOrg(ORG_A, async (trx) => {
    await trx.executeQuery(receipt.query);
    throw new Error('business rule');
  });
  await expect(run).rejects.toThrow('business rule');
  const { rows } = await sql`select from audit.personal where event_id = ${receipt.id}
    union all select from audit.event where id = ${receipt.id}`.execute(p.f.superuser);
  expect(rows).toHaveLength(0);
});

test('a yes and a no look alike: salted, padded, and not to be guessed from the commitment', async () => {
  const seen: { length: number; commitment: string }[] = [];
  for (const answer of [true, false]) {
    const receipt = await p.personal.prepare(ORG_A, 'consent.given', {
      subject: 'u-2',
      outcome: 'success',
      data: { answer },
    });
    await p.f.append(ORG_A, receipt);
    const { rows } = await sql<{ length: number }>`
      select octet_length(ciphertext) as length from audit.personal where event_id = ${receipt.id}`.execute(
      p.f.superuser,
    );
    const commitment = JSON.parse(await recordOf(receipt.id)).event.personal.fields['data.answer'] as string;
    seen.push({ length: rows[0]?.length ?? 0, commitment });
  }
  expect(seen[0]?.length).toBe(seen[1]?.length);
  const guesses = ['true', 'false'].flatMap((value) =>
    ['', '00'.repeat(32)].map((salt) => {
      const name = Buffer.from('data.answer');
      const head = Buffer.from([0x03, ...Buffer.from(salt, 'hex'), 0, 0, 0, name.length, ...name]);
      const input = Buffer.concat([head, Buffer.from([0, 0, 0, value.length]), Buffer.from(value)]);
      return createHash('sha256').update(input).digest('hex');
    }),
  );
  for (const { commitment } of seen) expect(guesses).not.toContain(commitment);
});

test('commits to the same value differently each time', async () => {
  const events = [
    await p.invite(ORG_A, 'u-1', 'same@example.org'),
    await p.invite(ORG_A, 'u-1', 'same@example.org'),
  ];
  const commitments = await Promise.all(
    events.map(
      async (event) => JSON.parse(await recordOf(event)).event.personal.fields['data.email'] as string,
    ),
  );
  expect(new Set(commitments).size).toBe(2);
});

test('an opened field proves nothing but itself', async () => {
  const event = await p.invite(ORG_A, 'u-1', 'ada@example.org', { ip: 'ada@example.org' });
  const other = await p.invite(ORG_A, 'u-1', 'ada@example.org');
  const record = await recordOf(event);
  const opened = await reveal(ORG_A, event);
  expect(verifyDisclosure(record, opened)).toBe(true);
  expect(verifyDisclosure(record, { ...opened, value: 'eve@example.org' })).toBe(false);
  expect(verifyDisclosure(record, { ...opened, name: 'data.ip' })).toBe(false);
  expect(verifyDisclosure(record, { ...opened, salt: '00'.repeat(32) })).toBe(false);
  expect(verifyDisclosure(record, { ...opened, salt: opened.salt.toUpperCase() })).toBe(false);
  expect(verifyDisclosure(record, { ...opened, event: other })).toBe(false);
  expect(verifyDisclosure(await recordOf(other), { ...opened, event: other })).toBe(false);
  for (const junk of [null, undefined, 7, {}, { ...opened, name: 'toString' }, { ...opened, value: 1.5 }]) {
    expect(verifyDisclosure(record, junk as never)).toBe(false);
  }
  for (const junk of ['', 'null', '{}', '[]', `{"id":"${event}","event":null}`]) {
    expect(verifyDisclosure(junk, opened)).toBe(false);
  }
});

test('opens no value that was moved between events, fields, subjects or organisations', async () => {
  const first = await p.invite(ORG_A, 'u-1', 'one@example.org', { ip: '192.0.2.1' });
  const second = await p.invite(ORG_A, 'u-1', 'two@example.org', { ip: '192.0.2.2' });
  const foreign = await p.invite(ORG_B, 'u-1', 'foreign@example.org');
  const put = (from: string, field: string) =>
    tamper(`update audit.personal set ciphertext = (select ciphertext from audit.personal
      where event_id = '${from}' and field = '${field}') where event_id = '${first}' and field = 'data.email'`);
  for (const [from, field] of [
    [second, 'data.email'],
    [first, 'data.ip'],
    [foreign, 'data.email'],
  ] as const) {
    await put(from, field);
    await expect(reveal(ORG_A, first)).rejects.toThrow();
  }
  await tamper(`update audit.personal set subject = 'u-9' where event_id = '${second}'`);
  expect(await errorOf(reveal(ORG_A, second))).toMatchObject({ code: 'audit.personal_tampered' });
});

test('opens no value that its event did not commit to, though the key sealed it for this very place', async () => {
  const event = await p.invite(ORG_A, 'u-1', 'true@example.org');
  const cell = { table: 'audit.personal', column: 'data.email', row: event };
  for (const plaintext of [
    Buffer.concat([Buffer.alloc(32), Buffer.from([0, 0, 0, 3]), Buffer.from('"x"'), Buffer.alloc(25)]),
    Buffer.alloc(64, 0xff),
    Buffer.alloc(3),
  ]) {
    const forged = Buffer.from(await p.subjects.seal(ORG_A, 'u-1', plaintext, cell)).toString('hex');
    await tamper(`update audit.personal set ciphertext = '\\x${forged}' where event_id = '${event}'`);
    expect(await errorOf(reveal(ORG_A, event))).toMatchObject({ code: 'audit.personal_tampered' });
  }
});

test('tells a value that was taken away from one that was erased', async () => {
  const event = await p.invite(ORG_A, 'u-1', 'gone@example.org');
  await tamper(`delete from audit.personal where event_id = '${event}'`);
  expect(await errorOf(reveal(ORG_A, event))).toMatchObject({ code: 'audit.personal_tampered' });
});

test('shows no organisation the values of another, and says so', async () => {
  const event = await p.invite(ORG_B, 'u-1', 'b@example.org');
  expect(await errorOf(reveal(ORG_A, event))).toMatchObject({ code: 'audit.no_personal_field' });
  const borrowed = p.f.inOrg(ORG_A, (trx) => p.personal.reveal(trx, ORG_B, event, 'data.email'));
  expect(await errorOf(borrowed)).toMatchObject({ code: 'audit.other_org' });
  const { rows } = await p.f.inOrg(ORG_A, (trx) =>
    sql<{ org_id: string }>`select org_id from audit.personal union select org_id from audit.subject`.execute(
      trx,
    ),
  );
  expect(rows).toEqual([{ org_id: ORG_A }]);
  expect(await errorOf(sql`select from audit.personal`.execute(p.f.app))).toMatchObject({
    constraint: 'audit.no_context',
  });
});

test('refuses an event whose values were sealed for another organisation', async () => {
  const receipt = await p.personal.prepare(ORG_B, 'consent.given', {
    subject: 'u-1',
    outcome: 'success',
    data: { answer: true },
  });
  const run = p.f.inOrg(ORG_A, (trx) => trx.executeQuery(receipt.query));
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.other_org' });
});

test.each<[string, unknown[], unknown[]]>([
  ['a value without a commitment', ['data.answer', 'data.more'], [Buffer.from('x'), Buffer.from('x')]],
  ['a commitment without a value', [], []],
  ['another field', ['data.email'], [Buffer.from('x')]],
  ['a field twice', ['data.answer', 'data.answer'], [Buffer.from('x'), Buffer.from('x')]],
  ['fewer values than fields', ['data.answer'], []],
])('refuses %s', async (_, fields, values) => {
  const { query } = await p.personal.prepare(ORG_A, 'consent.given', {
    subject: 'u-1',
    outcome: 'success',
    data: { answer: true },
  });
  const parameters = [...query.parameters.slice(0, 4), fields, values];
  const run = p.f.inOrg(ORG_A, (trx) => trx.executeQuery({ ...query, parameters }));
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.not_canonical' });
});

const COMMITMENT = 'ab'.repeat(32);
test.each<[string, object]>([
  ['an erasure that nobody carried out', { type: 'subject.erased', target: { id: 'u-1', type: 'subject' } }],
  ['a row change that no trigger saw', { type: 'row.deleted', target: { id: '1', type: 'entry' } }],
  ['a commitment that is none', { personal: { fields: { 'data.answer': 'none' }, subject: 'u-1' } }],
  ['a commitment in capitals', { personal: { fields: { 'data.answer': 'AB'.repeat(32) }, subject: 'u-1' } }],
  ['a number for a commitment', { personal: { fields: { 'data.answer': 5 }, subject: 'u-1' } }],
  [
    'a member in front of the fields',
    { personal: { a: 1, fields: { 'data.answer': COMMITMENT }, subject: 'u-1' } },
  ],
  ['a subject that is a number', { personal: { fields: { 'data.answer': COMMITMENT }, subject: 5 } }],
  [
    'a subject of any length',
    { personal: { fields: { 'data.answer': COMMITMENT }, subject: 'u'.repeat(201) } },
  ],
  ['a part that no event has', { personal: { fields: { type: COMMITMENT }, subject: 'u-1' } }],
  ['no fields', { personal: { fields: [COMMITMENT], subject: 'u-1' } }],
  ['no personal parts', { personal: 'data.answer' }],
])('refuses %s from whoever calls the function itself', async (_, members) => {
  const personal = { fields: { 'data.answer': COMMITMENT }, subject: 'u-1' };
  const event = { outcome: 'success', personal, type: 'consent.given', ...members };
  const named = Object.keys((event.personal as { fields?: object }).fields ?? { 'data.answer': '' });
  const run = p.f.inOrg(ORG_A, (trx) =>
    sql`select from audit.append_with_personal(${ORG_A}, gen_random_uuid(), ${canonicalize(event)}, true,
      ${named}::text[], array['x'::bytea])`.execute(trx),
  );
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.not_canonical' });
});

test('knows neither events nor fields that are not there', async () => {
  const event = await p.invite(ORG_A, 'u-1', 'a@example.org');
  for (const [id, field] of [
    [parseOrgId('0190f5d2-7b1c-7d34-9a51-00000000dead'), 'data.email'],
    ['not a uuid', 'data.email'],
    [event, 'data.ip'],
    [event, 'toString'],
  ] as const) {
    expect(await errorOf(reveal(ORG_A, id, field as 'data.email'))).toMatchObject({
      code: 'audit.no_personal_field',
    });
  }
});

test('refuses a catalogue whose marks name nothing', () => {
  for (const personal of [[], ['target'], ['data.'], ['data.x', 'data.x'], ['actor'], ['data.x\u0000']]) {
    const catalogue = { ...personalEvents, 'a.b': { data: personalEvents['consent.given'].data, personal } };
    expect(() => createAudit({ events: catalogue, db: p.f.app })).toThrow(TypeError);
    expect(() =>
      createPersonalAudit({ events: catalogue, audit: p.audit as never, subjects: p.subjects }),
    ).toThrow(TypeError);
  }
  const without = { 'a.b': { personal: ['data.email'] } };
  expect(() => createAudit({ events: without, db: p.f.app })).toThrow(TypeError);
});
