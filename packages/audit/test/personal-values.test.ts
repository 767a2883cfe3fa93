/** Verification of a database tells an erasure from a personal value that somebody took away. */
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { type PersonalFixture, personalFixture } from './personal-fixture.ts';

let p: PersonalFixture;
let org: OrgId;
let number = 0;

beforeAll(async () => {
  p = await personalFixture(inject('databaseUrl'));
});
beforeEach(() => {
  org = parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(++number).padStart(12, '0')}`);
});
afterAll(() => p.f.close());

const verify = (pageSize = 2_000) => p.f.inOrg(org, (trx) => p.audit.verify(trx, org, { pageSize }));

/** What a superuser does with the guards off. */
async function asSuperuser(statement: string): Promise<void> {
  await p.f.superuser.transaction().execute(async (trx) => {
    const { rows } = await sql<{
      table: string;
      name: string;
    }>`select tgrelid::regclass::text as table, tgname as name
      from pg_trigger where tgrelid in ('audit.personal'::regclass, 'audit.subject'::regclass) and not tgisinternal`.execute(
      trx,
    );
    for (const { table, name } of rows)
      await sql.raw(`alter table ${table} disable trigger ${name}`).execute(trx);
    await sql.raw(statement).execute(trx);
    for (const { table, name } of rows)
      await sql.raw(`alter table ${table} enable always trigger ${name}`).execute(trx);
  });
}

test('an erased subject is counted as erased, and is no damage, on whatever page', async () => {
  await p.invite(org, 'u-1', 'ada@example.org', { note: 'n' });
  await p.invite(org, 'u-2', 'bob@example.org');
  await p.invite(org, 'u-1', 'ada2@example.org');
  expect(await verify()).toMatchObject({ ok: true, erased: 0 });
  await p.erase(org, 'u-1');
  for (const pageSize of [1, 2, 2_000]) {
    expect(await verify(pageSize)).toMatchObject({ ok: true, findings: [], erased: 3, checked: 4 });
  }
});

test('a value that is gone without an erasure is found, and one erasure does not cover for another subject', async () => {
  await p.invite(org, 'u-1', 'ada@example.org', { note: 'n' });
  const taken = await p.invite(org, 'u-2', 'bob@example.org', { note: 'n' });
  await p.erase(org, 'u-1');
  await asSuperuser(`delete from audit.personal where event_id = '${taken}' and field = 'note'`);
  expect(await verify()).toMatchObject({
    ok: false,
    erased: 2,
    findings: [
      {
        class: 'deleted',
        seq: 2,
        eventId: taken,
        detail: 'the personal value note is gone, and the log knows of no erasure',
      },
    ],
  });
});

test('the state of a subject is not believed: only an event in the log is an erasure', async () => {
  const taken = await p.invite(org, 'u-1', 'ada@example.org');
  await asSuperuser(`update audit.subject set erasing_at = now(), erased_at = now(), erasure_event = '${taken}'
    where org_id = '${org}'; delete from audit.personal where org_id = '${org}'`);
  expect(await verify()).toMatchObject({ ok: false, erased: 0, findings: [{ class: 'deleted', seq: 1 }] });
});

test('an erasure in the log of another organisation says nothing here', async () => {
  await p.invite(org, 'u-1', 'ada@example.org');
  const here = org;
  org = parseOrgId('0190f5d2-7b1c-7d34-9a51-ffffffffffff');
  await p.invite(org, 'u-1', 'ada@example.org');
  await p.erase(org, 'u-1');
  org = here;
  await asSuperuser(`delete from audit.personal where org_id = '${org}'`);
  expect(await verify()).toMatchObject({ ok: false, findings: [{ class: 'deleted' }] });
  // Also for a reader who sees both.
  expect(await p.audit.verify(p.f.superuser, org)).toMatchObject({ ok: false, erased: 0 });
});

test('a value under another subject, which an erasure would miss, is found', async () => {
  const event = await p.invite(org, 'u-1', 'ada@example.org');
  await asSuperuser(`update audit.personal set subject = 'u-2' where org_id = '${org}'`);
  expect((await verify()).findings).toMatchObject([{ class: 'edited', seq: 1, eventId: event }]);
});

test('a value beside a record that did not commit to it is found', async () => {
  const event = await p.invite(org, 'u-1', 'ada@example.org');
  await asSuperuser(`insert into audit.personal values ('${org}', '${event}', 'note', 'u-1', '\\x00')`);
  expect((await verify()).findings).toMatchObject([{ class: 'inserted', seq: 1, eventId: event }]);
});

test('an erasure that is under way is neither damage nor yet an erasure', async () => {
  await p.invite(org, 'u-1', 'ada@example.org');
  p.subjects.failAfterDestruction = new Error('the process dies here');
  await expect(p.erase(org, 'u-1')).rejects.toThrow('dies here');
  expect(await verify()).toMatchObject({ ok: true, erased: 0 });
});
