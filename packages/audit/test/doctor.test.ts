/** A correct set-up has no finding, and each fault is named by exactly its rule. */
import { PassThrough } from 'node:stream';
import { CompiledQuery } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../../tools/postgres.ts';
import { captureTriggers } from '../src/capture/index.ts';
import { runCli } from '../src/cli/run-cli.ts';
import { AUDIT_RULES } from '../src/doctor/doctor.ts';
import { type AuditDoctorOptions, auditDoctor, formatAuditDoctor } from '../src/doctor/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { type Fixture, fixture } from './fixture.ts';
import { executorOf } from './guards/play.ts';

let server: PostgresServer;
let f: Fixture;
let client: pg.Client;
let options: AuditDoctorOptions;
const CAPTURE = { table: 'app.entry', target: 'entry', orgColumn: 'org_id' };

beforeAll(async () => {
  // The shared server has fsync off, which is a finding.
  server = await startPostgres({ settings: { fsync: 'on' } });
  f = await fixture(server.url);
  client = new pg.Client({ connectionString: f.database.superuserUrl });
  client.on('error', () => {});
  await client.connect();
  await client.query(`create table app.thing (id text primary key, org_id uuid not null)`);
  await client.query(captureTriggers({ ...CAPTURE, table: 'app.thing' }).up);
  options = {
    appRole: f.database.app,
    checkpointerRole: f.database.keys,
    copierRole: f.database.queue,
    captures: [{ ...CAPTURE, table: 'app.thing' }],
  };
});

afterAll(async () => {
  await client.end();
  await f.close();
  await server.stop();
});

test('finds nothing in a correct set-up, and lists who can switch the guards off', async () => {
  const report = await auditDoctor(f.superuser, options);
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ counts: { error: 0, warning: 0 }, superusers: [expect.any(String)] });
  expect(formatAuditDoctor(report)).toMatch(
    /0 errors, 0 warnings\nnote: these logins can switch every guard off/,
  );
});

test('needs no rights: the app role finds the same', async () => {
  expect((await auditDoctor(f.app, options)).findings).toEqual([]);
});

const FAULTS: readonly (readonly [rule: string, fault: string])[] = [
  ['table-missing', 'drop table audit.copy cascade'],
  ['table-missing', 'drop schema audit cascade; create schema audit authorization {owner}'],
  ['table-unlogged', 'alter table audit.event set unlogged'],
  ['column-changed', 'alter table audit.event drop column target cascade'],
  ['column-changed', 'alter table audit.event alter column action type varchar(9)'],
  ['column-changed', `alter table audit.head add column note text`],
  [
    'column-changed',
    `alter table audit.seal drop column sealed_at, add column sealed_at timestamptz generated always as ('2026-01-01'::timestamp at time zone 'UTC') stored`,
  ],
  ['column-changed', 'alter table audit.event alter column actor_hash drop expression'],
  [
    'column-changed',
    'alter table audit.event alter column actor_hash set expression as (hashtextextended(target, 0))',
  ],
  [
    'column-changed',
    'alter table audit.event alter column target_hash set expression as (hashtextextended(target, 1))',
  ],
  ['constraint-missing', 'alter table audit.event drop constraint event_leaf'],
  [
    'constraint-missing',
    'alter table audit.event drop constraint event_leaf, add constraint event_leaf check (leaf is not null)',
  ],
  [
    'constraint-missing',
    `alter table audit.event drop constraint event_leaf, add constraint event_leaf
      check (leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8'))) not valid`,
  ],
  ['constraint-missing', 'alter table audit.seal drop constraint seal_event'],
  [
    'foreign-key',
    'create table app.org (id uuid primary key); alter table audit.event add foreign key (org_id) references app.org (id)',
  ],
  [
    'foreign-key',
    'alter table audit.seal add foreign key (org_id, event_id) references audit.event (org_id, id) on delete cascade',
  ],
  [
    'foreign-key',
    'create table app.x (o uuid, e uuid, foreign key (o, e) references audit.event (org_id, id))',
  ],
  ['inheritance', 'create table app.child () inherits (audit.event)'],
  ['rewrite-rule', 'create rule mute as on insert to audit.event do instead nothing'],
  ['row-security-off', 'alter table audit.seal disable row level security'],
  ['row-security-off', 'alter table audit.seal no force row level security'],
  ['policy-changed', 'create policy all_see on audit.event using (true)'],
  ['policy-changed', 'drop policy read_own_org on audit.event'],
  ['policy-changed', 'alter policy read_own_org on audit.event using (true)'],
  ['policy-changed', 'alter policy read_own_org on audit.event to public'],
  ['object-unexpected', 'create table audit.other (id int); alter table audit.other owner to {owner}'],
  ['object-unexpected', 'create view audit.shown as select 1 as one'],
  ['trigger-missing', 'drop trigger refuse_change on audit.event'],
  [
    'trigger-missing',
    `drop trigger refuse_backward on audit.head;
     create trigger refuse_backward before update on audit.head for each row when (new.seq < 0) execute function audit.refuse_change();
     alter table audit.head enable always trigger refuse_backward`,
  ],
  ['trigger-weakened', 'alter table audit.seal disable trigger refuse_change'],
  ['trigger-weakened', 'alter table audit.seal enable trigger refuse_row_change'],
  ['trigger-weakened', 'alter table audit.queue enable replica trigger refuse_change'],
  ['trigger-weakened', `update pg_class set relhastriggers = false where oid = 'audit.event'::regclass`],
  [
    'trigger-unexpected',
    `create function app.f() returns trigger language plpgsql as 'begin return new; end';
     create trigger mine before insert on audit.event for each row execute function app.f()`,
  ],
  ['capture-missing', 'drop trigger audit_capture on app.thing'],
  ['capture-missing', 'alter table app.thing disable trigger audit_capture'],
  ['capture-missing', 'alter table app.thing enable trigger audit_capture_truncate'],
  [
    'capture-missing',
    `drop trigger audit_capture on app.thing; create trigger audit_capture after insert on app.thing for each row
      execute function audit.capture_row('{"exclude":[],"id":["id"],"org":"org_id","redact":[],"target":"entry","without_context":"refuse"}');
     alter table app.thing enable always trigger audit_capture`,
  ],
  [
    'function-changed',
    `create or replace function audit.refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as 'begin return new; end'`,
  ],
  ['function-changed', 'alter function audit.append(uuid, text, boolean) security invoker'],
  ['function-changed', 'alter function audit.append(uuid, text, boolean) set search_path = app, pg_catalog'],
  ['function-changed', 'alter function audit.capture_row() reset timezone'],
  [
    'function-changed',
    `create or replace function audit.context(out org_id uuid, out actor text, out request_id text)
     language plpgsql stable set search_path = pg_catalog, pg_temp as $$ begin actor := 'user:ceo'; end $$`,
  ],
  ['function-changed', 'drop function audit.pending()'],
  [
    'function-unexpected',
    `create function audit.append(uuid, text) returns int language sql as 'select 1';
     alter function audit.append(uuid, text) owner to {owner}; revoke all on function audit.append(uuid, text) from public`,
  ],
  ['app-role', 'grant {owner} to {app}'],
  ['app-role', 'alter role {app} superuser'],
  ['app-role', 'alter role {app} bypassrls'],
  ['app-role', 'grant pg_write_all_data to {app}'],
  ['owner-differs', 'alter table audit.copy owner to current_user'],
  ['owner-differs', 'alter function audit.refuse_change() owner to current_user'],
  ['grant-unexpected', 'grant update on audit.event to {app}'],
  ['grant-unexpected', 'grant insert (org_id) on audit.head to public'],
  ['grant-unexpected', 'grant select on audit.event to {app} with grant option'],
  ['grant-unexpected', 'grant execute on function audit.append_row(uuid, text, text, text, text) to {app}'],
  ['grant-unexpected', 'grant execute on function audit.append(uuid, text, boolean) to public'],
  ['grant-unexpected', 'grant create on schema audit to {app}'],
  ['grant-missing', 'revoke execute on function audit.append(uuid, text, boolean) from {app}'],
  [
    'default-privileges',
    'alter default privileges for role {owner} in schema audit grant insert on tables to {app}',
  ],
  ['default-privileges', 'alter default privileges for role {owner} grant execute on functions to {app}'],
  ['publication', 'create publication out for table audit.event'],
  ['durability-off', 'alter role {app} set synchronous_commit = off'],
  ['replica-sessions', 'alter database {database} set session_replication_role = replica'],
];

async function faulty(fault: string, then: () => Promise<void>): Promise<void> {
  const { owner, app } = f.database;
  const names = { owner, app, database: new URL(f.database.superuserUrl).pathname.slice(1) };
  await client.query('begin');
  try {
    const filled = Object.entries(names).reduce(
      (one, [name, value]) => one.replaceAll(`{${name}}`, value),
      fault,
    );
    await client.query(filled);
    await then();
  } finally {
    await client.query('rollback');
  }
}

test.each(FAULTS)('%s: %s', async (rule, fault) => {
  await faulty(fault, async () => {
    const report = await auditDoctor(executorOf(client), options);
    const seen = [...new Set(report.findings.map((one) => one.rule))];
    // What is gone lacks everything.
    if (/^drop (schema|table)/.test(fault)) expect(seen).toContain(rule);
    else expect(seen, JSON.stringify(report.findings.map(({ remedy: _, ...one }) => one))).toEqual([rule]);
  });
});

test('its remedies mend what they are given for', async () => {
  for (const [, fault] of FAULTS) {
    if (/drop schema|drop table|drop column|varchar|expression/.test(fault)) continue;
    await faulty(fault, async () => {
      const db = executorOf(client);
      const { findings } = await auditDoctor(db, options);
      const statements = findings.map(({ remedy }) => remedy).filter((remedy) => !remedy.startsWith('--'));
      if (statements.length === 0) return;
      for (const statement of statements) await client.query(statement);
      expect((await auditDoctor(db, options)).findings, fault).toEqual([]);
    });
  }
});

test('finds a server that gives up durability, and a database without a log', async () => {
  const { rows } = await f.superuser.executeQuery(CompiledQuery.raw('show fsync'));
  expect(rows).toEqual([{ fsync: 'on' }]);
  const weak = new pg.Client({ connectionString: inject('databaseUrl') });
  await weak.connect();
  const report = await auditDoctor(executorOf(weak), { appRole: 'nobody_at_all' });
  await weak.end();
  expect(report.findings.map(({ rule }) => rule)).toEqual(['schema-missing']);
  const second = await fixture(inject('databaseUrl'));
  const { findings } = await auditDoctor(second.superuser, {
    appRole: second.database.app,
    checkpointerRole: second.database.keys,
    copierRole: second.database.queue,
  });
  await second.close();
  expect(findings.map(({ rule, object }) => [rule, object])).toEqual([['durability-off', 'fsync']]);
});

test('knows of a subscription that writes into the log', async () => {
  // connect = false: no publisher is asked, and the relation is entered as the first contact would enter it.
  await faulty(
    `create subscription taken connection 'host=127.0.0.1' publication p with (connect = false);
     insert into pg_subscription_rel (srsubid, srrelid, srsubstate)
       select s.oid, 'audit.event'::regclass, 'r' from pg_subscription s where subname = 'taken'`,
    async () => {
      const { findings } = await auditDoctor(executorOf(client), options);
      expect(findings.map(({ rule }) => rule)).toEqual(['subscription']);
    },
  );
});

test('every rule has a fault', () => {
  const elsewhere = ['schema-missing', 'subscription'];
  const played = new Set([...FAULTS.map(([rule]) => rule), ...elsewhere]);
  expect(AUDIT_RULES.map(({ name }) => name).filter((name) => !played.has(name))).toEqual([]);
});

test('a name that tries to steer the terminal is shown escaped', async () => {
  await faulty('create table audit."\u001b[2J" (id int)', async () => {
    const text = formatAuditDoctor(await auditDoctor(executorOf(client), options));
    expect(text).not.toContain('\u001b');
    expect(text).toContain('\\u{1b}[2J');
  });
});

test('compares with the migrations of another owner, auditor and context', async () => {
  const other = await auditDoctor(f.superuser, {
    ...options,
    auditorRole: 'auditor',
    context: 'tenancy.context()',
  });
  expect(new Set(other.findings.map(({ rule }) => rule))).toEqual(
    new Set([
      'policy-changed',
      'function-changed',
      'function-unexpected',
      'grant-unexpected',
      'grant-missing',
    ]),
  );
  expect(auditMigrations({ appRole: 'a' }).length).toBeGreaterThan(0);
});

async function command(args: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const exit = await runCli(['doctor', ...args], { directory: '/', stdout, stderr });
  const read = (stream: PassThrough) => String(stream.read() ?? '');
  return { exit, out: read(stdout), err: read(stderr) };
}

test('the command answers with its exit code, as text and as JSON', async () => {
  const { app, keys, queue, superuserUrl } = f.database;
  const roles = ['--checkpointer-role', keys, '--copier-role', queue];
  const args = ['--database', superuserUrl, '--app-role', app, ...roles];
  expect(await command(args)).toMatchObject({ exit: 0, err: '', out: expect.stringContaining('0 errors') });
  const json = await command([...args, '--json']);
  expect(JSON.parse(json.out)).toMatchObject({ command: 'doctor', counts: { error: 0, warning: 0 } });
  await client.query('alter table audit.event disable trigger refuse_change');
  expect(await command(args)).toMatchObject({ exit: 1, out: expect.stringContaining('trigger-weakened') });
  await client.query('alter table audit.event enable always trigger refuse_change');
  await client.query('create publication out for table audit.event');
  expect(await command(args)).toMatchObject({ exit: 0 });
  expect(await command([...args, '--strict'])).toMatchObject({ exit: 1 });
  await client.query('drop publication out');
  for (const wrong of [
    [],
    ['--app-role'],
    ['--app-role', app],
    ['--database', superuserUrl],
    ['--database', superuserUrl, '--app-role', 'a"b'],
    ['--database', 'postgres://nobody@127.0.0.1:1/none', '--app-role', app],
    [...args, '--nonsense'],
    [...args, 'more'],
  ]) {
    expect(await command(wrong)).toMatchObject({ exit: 2, out: '', err: expect.stringMatching(/./) });
  }
});
