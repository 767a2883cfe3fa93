import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fromDatabaseError } from '../src/index.ts';
import { errorOf, type Fixture, fixture, ORG_A, ORG_B } from './fixture.ts';

let f: Fixture;
const DIGEST = `decode(repeat('ab', 32), 'hex')`;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  for (const org of [ORG_A, ORG_B]) {
    await f.append(org, f.audit.prepare('entry.approved', { target: 'e1', outcome: 'success' }));
    await f.append(org, f.audit.prepare('entry.approved', { target: 'e2', outcome: 'success' }));
  }
});

afterAll(() => f.close());

test.each([
  `update audit.event set actor = 'user:mallory'`,
  `update audit.seal set seq = seq + 1`,
  `update audit.head set seq = 0`,
  `delete from audit.event`,
  `delete from audit.seal`,
  `delete from audit.queue`,
  `truncate audit.event`,
  `truncate audit.seal, audit.event, audit.head, audit.queue`,
  `insert into audit.event (org_id, id, at, canon, leaf, actor, action)
     values ('${ORG_A}', gen_random_uuid(), now(), '{}', ${DIGEST}, 'user:ceo', 'entry.approved')`,
  `insert into audit.queue (org_id, event_id, queued_at, leaf)
     values ('${ORG_A}', gen_random_uuid(), now(), ${DIGEST})`,
  `insert into audit.seal (org_id, seq, event_id, hash) values ('${ORG_A}', 99, gen_random_uuid(), ${DIGEST})`,
  `insert into audit.head (org_id) values (gen_random_uuid())`,
  `select from audit.head for update`,
  `select audit.seal_orgs(array['${ORG_B}'::uuid])`,
  `alter table audit.event disable trigger all`,
  `alter table audit.event alter column canon type text using 'x'`,
  `alter table audit.event no force row level security`,
  `alter function audit.append(uuid, text, boolean) owner to current_user`,
  `create or replace function audit.refuse_change() returns trigger language plpgsql as 'begin return new; end'`,
  `create function audit.mine() returns int language sql as 'select 1'`,
  `create trigger mine before insert on audit.event for each row execute function audit.refuse_change()`,
  `create rule mine as on insert to audit.event do instead nothing`,
  `drop table audit.event`,
  `drop schema audit cascade`,
  `set session_replication_role = replica`,
  `select audit.refuse_body('a', 'b')`,
])('refuses the app role: %s', async (statement) => {
  const run = f.inOrg(ORG_A, (trx) => sql.raw(statement).execute(trx));
  expect(await errorOf(run)).toMatchObject({ code: '42501' });
});

test.each([
  `update audit.event set actor = 'user:mallory'`,
  `update audit.event set actor = 'user:mallory' where false`,
  `delete from audit.event`,
  `truncate audit.event`,
  `update audit.seal set seq = seq + 1`,
  `delete from audit.seal`,
  `truncate audit.seal`,
  `delete from audit.head`,
  `truncate audit.head`,
  `update audit.head set seq = seq - 1`,
])('refuses the owner with the code audit.append_only: %s', async (statement) => {
  const error = await errorOf(sql.raw(statement).execute(f.owner));
  expect(error).toMatchObject({ code: '42501', constraint: 'audit.append_only' });
  expect(fromDatabaseError(error)).toMatchObject({ code: 'audit.append_only' });
});

test.each(['origin', 'replica'])('refuses a superuser under session_replication_role = %s', async (role) => {
  for (const statement of [
    `update audit.event set actor = 'x'`,
    'delete from audit.seal',
    'truncate audit.event',
  ]) {
    const run = f.superuser.transaction().execute(async (trx) => {
      await sql.raw(`set local session_replication_role = ${role}`).execute(trx);
      await sql.raw(statement).execute(trx);
    });
    expect(await errorOf(run)).toMatchObject({ constraint: 'audit.append_only' });
  }
});

test('refuses a superuser whose edited record does not match its leaf, even with triggers off', async () => {
  const run = f.superuser.transaction().execute(async (trx) => {
    await sql`alter table audit.event disable trigger all`.execute(trx);
    await sql`update audit.event set canon = replace(canon, 'e1', 'e7')`.execute(trx);
  });
  expect(await errorOf(run)).toMatchObject({ code: '23514', constraint: 'event_leaf' });
});

test('shows the app role the log of its own organisation only', async () => {
  for (const table of ['event', 'seal', 'head']) {
    const { rows } = await f.inOrg(ORG_A, (trx) =>
      sql<{ org_id: string }>`select distinct org_id from ${sql.table(`audit.${table}`)}`.execute(trx),
    );
    expect(rows).toEqual([{ org_id: ORG_A }]);
  }
});

test.each(['event', 'seal', 'head'])('refuses to show %s without a context', async (table) => {
  const run = sql`select * from ${sql.table(`audit.${table}`)}`.execute(f.app);
  expect(await errorOf(run)).toMatchObject({ code: '42501', constraint: 'audit.no_context' });
});

test('keeps even the owner from reading events without a context', async () => {
  const run = sql`select * from audit.event`.execute(f.owner);
  expect(await errorOf(run)).toMatchObject({ constraint: 'audit.no_context' });
});

test('refuses an append without organisation or actor, with a typed error', async () => {
  const receipt = f.audit.prepare('login.succeeded', { outcome: 'success' });
  expect(await errorOf(f.app.executeQuery(receipt.query))).toMatchObject({ constraint: 'audit.no_context' });
  expect(await errorOf(f.audit.record(f.app, 'login.succeeded', { outcome: 'success' }))).toMatchObject({
    code: 'audit.no_context',
  });
  const anonymous = f.app.transaction().execute(async (trx) => {
    await sql`select set_config('ringfence.org_id', ${ORG_A}, true)`.execute(trx);
    return await trx.executeQuery(receipt.query);
  });
  expect(await errorOf(anonymous)).toMatchObject({ constraint: 'audit.no_context' });
});

test('refuses to verify the log of an organisation that the reader cannot see', async () => {
  const run = f.inOrg(ORG_A, (trx) => f.audit.verify(trx, ORG_B));
  expect(await errorOf(run)).toMatchObject({ code: 'audit.other_org' });
  expect(await errorOf(f.audit.verify(f.app, ORG_A))).toMatchObject({ code: 'audit.no_context' });
});

test('tells the sealing function nothing about events whose id the caller does not know', async () => {
  const { rows } = await sql`select * from audit.seal_pending('{}', '{}')`.execute(f.app);
  expect(rows).toEqual([]);
});

test('lets the settings and temporary objects of the caller change nothing', async () => {
  const receipt = f.audit.prepare('login.succeeded', { outcome: 'success' });
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(f.superuser);
  await sql`grant temporary on database ${sql.id(rows[0]?.name ?? '')} to public`.execute(f.superuser);
  const sealed = await f
    .inOrg(ORG_A, async (trx) => {
      await sql`create temporary table event (org_id uuid) on commit drop`.execute(trx);
      await sql`create function pg_temp.sha256(bytea) returns bytea language sql as ${sql.raw(`'select ''\\x00''::bytea'`)}`.execute(
        trx,
      );
      await sql`set local search_path = pg_temp, public`.execute(trx);
      await sql`set local standard_conforming_strings = off`.execute(trx);
      await sql`set local timezone = 'Asia/Kathmandu'`.execute(trx);
      await sql`set local datestyle = 'SQL, DMY'`.execute(trx);
      await sql`set local bytea_output = 'escape'`.execute(trx);
      return await trx.executeQuery(receipt.query);
    })
    .then((result) => f.audit.sealed(receipt, result));
  expect(sealed.orgSeq).toBeGreaterThan(2);
  expect(await f.inOrg(ORG_A, (trx) => f.audit.verify(trx, ORG_A))).toMatchObject({ ok: true });
});
