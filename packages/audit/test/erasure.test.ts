/** Erasure of a data subject: one key, all rows, an event in the chain, and nothing left of what was personal. */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { errorOf, ORG_A, ORG_B } from './fixture.ts';
import { type PersonalFixture, personalFixture } from './personal-fixture.ts';

let p: PersonalFixture;

beforeAll(async () => {
  p = await personalFixture(inject('databaseUrl'));
});

afterAll(() => p.f.close());

const reveal = (org: OrgId, event: string) =>
  p.f.inOrg(org, (trx) => p.personal.reveal(trx, org, event, 'data.email'));
const verify = (org: OrgId) => p.f.inOrg(org, (trx) => p.audit.verify(trx, org));
const unfinished = (org: OrgId) => p.f.inOrg(org, (trx) => p.personal.unfinished(trx, org));

async function valuesOf(org: OrgId, subject: string): Promise<number> {
  const { rows } = await sql`
    select from audit.personal where org_id = ${org} and subject = ${subject}`.execute(p.f.superuser);
  return rows.length;
}

test('destroys one key, deletes all values of the subject and nobody else, and chains an event', async () => {
  const events = [];
  for (let n = 0; n < 5; n++) events.push(await p.invite(ORG_A, 'u-1', `ada${n}@example.org`, { note: 'n' }));
  const kept = await p.invite(ORG_A, 'u-2', 'bob@example.org');
  const foreign = await p.invite(ORG_B, 'u-1', 'other-org@example.org');
  const before = await verify(ORG_A);

  const erasure = await p.erase(ORG_A, 'u-1');

  expect(erasure).toMatchObject({ removed: 10, orgSeq: before.head.seq + 1 });
  expect(p.subjects.destructions).toBe(1);
  expect(await valuesOf(ORG_A, 'u-1')).toBe(0);
  for (const event of events) {
    expect(await errorOf(reveal(ORG_A, event))).toMatchObject({ code: 'audit.subject_erased' });
  }
  expect(await reveal(ORG_A, kept)).toMatchObject({ value: 'bob@example.org' });
  expect(await reveal(ORG_B, foreign)).toMatchObject({ value: 'other-org@example.org' });
  // The head that somebody kept from before the erasure still holds, and so does every record.
  const after = await p.f.inOrg(ORG_A, (trx) => p.audit.verify(trx, ORG_A, { expectedHead: before.head }));
  expect(after).toMatchObject({ ok: true, findings: [], head: { seq: erasure.orgSeq, hash: erasure.hash } });
  const { rows } = await sql<{ canon: string }>`
    select canon from audit.event where id = ${erasure.event}`.execute(p.f.superuser);
  expect(JSON.parse(rows[0]?.canon ?? '')).toMatchObject({
    actor: 'user:dpo',
    event: {
      type: 'subject.erased',
      outcome: 'success',
      target: { type: 'subject', id: 'u-1' },
      data: { fields: 10, certificate: expect.stringMatching(/^[0-9a-f]{64}$/) },
    },
  });
});

test('is the same erasure when it is repeated, also by two at once', async () => {
  await p.invite(ORG_A, 'u-twice', 'twice@example.org');
  const both = await Promise.all([p.erase(ORG_A, 'u-twice'), p.erase(ORG_A, 'u-twice')]);
  const third = await p.erase(ORG_A, 'u-twice');
  expect(new Set([...both, third].map(({ event }) => event)).size).toBe(1);
  expect(both.map(({ removed }) => removed).sort()).toEqual([0, 1]);
  expect(third).toMatchObject({ removed: 0, orgSeq: both[0]?.orgSeq, hash: both[0]?.hash });
  expect(await verify(ORG_A)).toMatchObject({ ok: true });
});

test('takes up where it stopped when the process died between the key and the rows', async () => {
  const event = await p.invite(ORG_A, 'u-crash', 'crash@example.org');
  p.subjects.failAfterDestruction = new Error('the process dies here');
  await expect(p.erase(ORG_A, 'u-crash')).rejects.toThrow('dies here');
  expect(await valuesOf(ORG_A, 'u-crash')).toBe(1);
  expect(await unfinished(ORG_A)).toEqual(['u-crash']);
  expect(await unfinished(ORG_B)).toEqual([]);
  expect(await errorOf(reveal(ORG_A, event))).toMatchObject({ code: 'audit.subject_erased' });
  expect(await p.erase(ORG_A, 'u-crash')).toMatchObject({ removed: 1 });
  expect(await unfinished(ORG_A)).toEqual([]);
  expect(await valuesOf(ORG_A, 'u-crash')).toBe(0);
  expect(p.subjects.destructions).toBe(3);
});

test('records nothing more of an erased subject, also when it was prepared before', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000e1');
  const prepared = await p.personal.prepare(org, 'consent.given', {
    subject: 'u-late',
    outcome: 'success',
    data: { answer: true },
  });
  await p.erase(org, 'u-late'); // never had a value: is erased all the same
  const run = p.f.append(org, prepared);
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.subject_erased' });
  expect(await valuesOf(org, 'u-late')).toBe(0);
});

test('waits for a transaction that is writing a value, and erases that value too', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000e2');
  await p.invite(org, 'u-race', 'race@example.org'); // the subject is known: its row is only locked
  const receipt = await p.personal.prepare(org, 'consent.given', {
    subject: 'u-race',
    outcome: 'success',
    data: { answer: true },
  });
  let erasing: ReturnType<typeof p.erase> | undefined;
  await p.f.inOrg(org, async (trx) => {
    await trx.executeQuery(receipt.query);
    erasing = p.erase(org, 'u-race');
    for (;;) {
      const { rows } = await sql`select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%begin_erasure%'`.execute(
        p.f.superuser,
      );
      if (rows.length > 0) break;
    }
  });
  expect(await erasing).toMatchObject({ removed: 2 });
  expect(await valuesOf(org, 'u-race')).toBe(0);
  expect(await verify(org)).toMatchObject({ ok: true });
});

test('leaves no byte of what was personal: in no table, no data file, no log of the server, no export', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000e3');
  const marker = 'zq7-erase-me-9k@example.org';
  await p.invite(org, 'u-bytes', marker, { note: `about ${marker}` });
  await p.erase(org, 'u-bytes');
  await sql`checkpoint`.execute(p.f.superuser);
  const { rows: tables } = await sql<{ name: string; path: string }>`
    select format('%I.%I', n.nspname, c.relname) as name, pg_relation_filepath(c.oid) as path
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'i', 't', 'm') and n.nspname not in ('pg_catalog', 'information_schema')`.execute(
    p.f.superuser,
  );
  expect(tables.map(({ name }) => name)).toContain('audit.personal');
  const found: string[] = [];
  const holds = async (file: string, text: string) => {
    const { rows } = await sql<{ at: number }>`
      select position(convert_to(${text}, 'UTF8') in pg_read_binary_file(${file})) as at`.execute(
      p.f.superuser,
    );
    return (rows[0]?.at ?? 0) > 0;
  };
  for (const { path } of tables) if (await holds(path, marker)) found.push(path);
  const { rows: logs } = await sql<{ name: string }>`select name from pg_ls_waldir()`.execute(p.f.superuser);
  for (const { name } of logs) if (await holds(`pg_wal/${name}`, marker)) found.push(name);
  const { rows: records } = await sql<{ canon: string }>`
    select canon from audit.event where org_id = ${org}`.execute(p.f.superuser);
  expect(records).toHaveLength(2);
  for (const { canon } of records) if (canon.includes(marker)) found.push('the record');
  expect(found).toEqual([]);
  // The search finds what is there: the opaque id of the subject, which stays.
  const event = tables.find(({ name }) => name === 'audit.event');
  expect(await holds(event?.path ?? '', 'u-bytes')).toBe(true);
});

test('erases ten thousand values with one key and one statement', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000e4');
  await p.invite(org, 'u-many', 'many@example.org');
  await p.f.superuser.executeQuery(
    sql`insert into audit.personal (org_id, event_id, field, subject, ciphertext)
      select ${org}::uuid, gen_random_uuid(), 'data.email', 'u-many', decode(repeat('ab', 120), 'hex')
        from generate_series(1, 10000)`.compile(p.f.superuser),
  );
  const destroyed = p.subjects.destructions;
  expect(await p.erase(org, 'u-many')).toMatchObject({ removed: 10_001 });
  expect(p.subjects.destructions).toBe(destroyed + 1);
  expect(await valuesOf(org, 'u-many')).toBe(0);
});

test('refuses to run inside a transaction, or for what is no id', async () => {
  const inside = p.f.inOrg(ORG_A, (trx) => p.personal.erase(trx, ORG_A, 'u-1'));
  await expect(inside).rejects.toThrow(TypeError);
  await expect(p.erase(ORG_A, '')).rejects.toThrow(TypeError);
  await expect(p.erase(ORG_A, 'a\u0000')).rejects.toThrow(TypeError);
});

test('erases in no other organisation than the context', async () => {
  const run = p.f.inOrg(ORG_A, (trx) => sql`select audit.begin_erasure(${ORG_B}, 'u-1')`.execute(trx));
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.other_org' });
});

test.each([
  `delete from audit.personal`,
  `update audit.personal set subject = 'x'`,
  `truncate audit.personal`,
  `insert into audit.personal values ('${ORG_A}', gen_random_uuid(), 'note', 'u', '\\x00')`,
  `update audit.subject set erasing_at = now()`,
  `delete from audit.subject`,
  `truncate audit.subject`,
  `insert into audit.subject (org_id, subject) values ('${ORG_A}', 'x')`,
  `select from audit.subject for share`,
  `alter table audit.personal disable trigger all`,
])('refuses the app role: %s', async (statement) => {
  const run = p.f.inOrg(ORG_A, (trx) => sql.raw(statement).execute(trx));
  expect(await errorOf(run)).toMatchObject({ code: '42501' });
});

test('deletes no value of a subject whose erasure was not begun, whoever asks', async () => {
  await p.invite(ORG_A, 'u-guard', 'guard@example.org');
  const finish = p.f.inOrg(ORG_A, (trx) =>
    sql`select * from audit.finish_erasure(${ORG_A}, 'u-guard', gen_random_uuid(), ${'ab'.repeat(32)}, true)`.execute(
      trx,
    ),
  );
  expect(await errorOf(finish)).toMatchObject({ constraint: 'audit.append_only' });
  for (const statement of [
    `delete from audit.personal where subject = 'u-guard'`,
    `update audit.personal set ciphertext = '\\x00' where subject = 'u-guard'`,
    'truncate audit.personal',
    `update audit.subject set erasing_at = null, erased_at = null, erasure_event = null where subject = 'u-1'`,
    `update audit.subject set org_id = gen_random_uuid() where subject = 'u-guard'`,
    `delete from audit.subject where subject = 'u-1'`,
    'truncate audit.subject',
  ]) {
    for (const role of ['origin', 'replica']) {
      const run = p.f.superuser.transaction().execute(async (trx) => {
        await sql.raw(`set local session_replication_role = ${role}`).execute(trx);
        await sql.raw(statement).execute(trx);
      });
      expect(await errorOf(run), statement).toMatchObject({ constraint: 'audit.append_only' });
    }
  }
  expect(await valuesOf(ORG_A, 'u-guard')).toBe(1);
});

test('refuses to finish with something that is no digest of a certificate', async () => {
  for (const digest of ['', 'x', `${'ab'.repeat(32)}","outcome":"denied`]) {
    const run = p.f.inOrg(ORG_A, (trx) =>
      sql`select * from audit.finish_erasure(${ORG_A}, 'u-1', gen_random_uuid(), ${digest}, true)`.execute(
        trx,
      ),
    );
    expect(await errorOf(run)).toMatchObject({ constraint: 'audit.not_canonical' });
  }
});

test('an id with quotes and escapes reaches the chain as one canonical text', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000e5');
  const subject = 'u "7"\\\n\u0001é\u{1f600}\u2028\u007f';
  await p.invite(org, subject, 'odd@example.org');
  const { event } = await p.erase(org, subject);
  const { rows } = await sql<{ canon: string }>`select canon from audit.event where id = ${event}`.execute(
    p.f.superuser,
  );
  expect(JSON.parse(rows[0]?.canon ?? '').event.target.id).toBe(subject);
  expect(await verify(org)).toMatchObject({ ok: true, findings: [] });
});
