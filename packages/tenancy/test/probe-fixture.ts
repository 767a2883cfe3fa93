/** A schema with every kind of relation, isolated as the package generates it: what the probe has to find clean. */
import { randomBytes } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { checked, type SchemaDeclaration, type TenancySchema } from '../src/policies/declaration.ts';
import { orgTablePolicy } from '../src/policies/index.ts';
import { kyselyOf } from './fixture.ts';

export interface ProbeFixture {
  readonly database: TestDatabase;
  /** The owner of the tables: bound by row-level security. */
  readonly owner: Kysely<unknown>;
  /** A superuser. */
  readonly superuser: Kysely<unknown>;
  /** Runs DDL as the owner, with `$app` and `$owner` for the roles. */
  ddl(statements: string): Promise<void>;
  close(): Promise<void>;
}

/** A database with schema `tenancy`, and an empty schema `app` that the app role may use. */
export async function probeDatabase(serverUrl: string, { signed = true } = {}): Promise<ProbeFixture> {
  const database = await createTestDatabase(serverUrl, 'probe');
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const superuser = kyselyOf<unknown>(database.superuserUrl, 2);
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: signed }))
    await sql.raw(up).execute(owner);
  if (signed) await installContextKey(owner, { id: 'k1', secret: new Uint8Array(randomBytes(32)) });
  await sql.raw(`create schema app; grant usage on schema app to ${database.app}`).execute(owner);
  return {
    database,
    owner,
    superuser,
    ddl: async (statements) => {
      await sql
        .raw(statements.replaceAll('$app', database.app).replaceAll('$owner', database.owner))
        .execute(owner);
    },
    close: async () => {
      await owner.destroy();
      await superuser.destroy();
      await database.drop();
    },
  };
}

const GOLDEN = `
create table app.currency (code char(3) primary key check (code ~ '^[A-Z]{3}$'), name text not null);
grant select on app.currency to $app;
create table app.setting (name text primary key, value text);
create table app.gate ();
create function app.pending(since timestamptz, kind text) returns bigint language sql stable security definer
  set search_path = pg_catalog, pg_temp return 0;
create table app.profile (org_id uuid primary key, title text not null, seats int not null check (seats between 1 and 500));
create table app.folder (org_id uuid not null, id uuid not null default gen_random_uuid(), name varchar(40) not null,
  primary key (org_id, id), unique (org_id, name), foreign key (org_id) references app.profile (org_id));
create table app.note (org_id uuid not null, id uuid not null default gen_random_uuid(), folder_id uuid not null,
  reply_to uuid, email text not null check (email ~ '^[^@]+@[^@]+$'), currency char(3) not null references app.currency (code),
  status text not null default 'open' check (status in ('open', 'closed')), closed_at timestamptz,
  check ((status = 'closed') = (closed_at is not null)), primary key (org_id, id), unique (org_id, email),
  constraint note_folder foreign key (org_id, folder_id) references app.folder (org_id, id) on delete cascade,
  constraint note_reply foreign key (org_id, reply_to) references app.note (org_id, id));
create table app.member (org_id uuid not null, note_id uuid not null, role text not null, primary key (org_id, note_id),
  constraint member_note foreign key (org_id, note_id) references app.note (org_id, id) on delete cascade);
create table app.invoice (org_id uuid not null, number bigint generated always as identity, total numeric(12, 2) not null check (total > 0),
  tax numeric(12, 2) generated always as (round(total * 0.19, 2)) stored, primary key (org_id, number));
create table app.event (org_id uuid not null, id uuid not null, at timestamptz not null, body jsonb not null, primary key (org_id, id, at))
  partition by range (at);
create table app.event_2026 partition of app.event for values from ('2026-01-01') to ('2027-01-01');
create table app.event_2027 partition of app.event for values from ('2027-01-01') to ('2028-01-01');
create view app.open_note with (security_invoker = true) as select org_id, id, email from app.note where status = 'open';
create view app.note_count with (security_invoker = true) as select count(*) as notes from app.note;
grant select on app.open_note, app.note_count to $app;`;

export const GOLDEN_ORG_TABLES: SchemaDeclaration['org'] = {
  'app.profile': { key: [] },
  'app.folder': { key: ['id'] },
  'app.note': { key: ['id'] },
  'app.member': { key: ['note_id'], privileges: ['select', 'insert', 'delete'] },
  'app.invoice': { key: ['number'] },
  'app.event': { key: ['id', 'at'], privileges: ['select', 'insert'] },
};

/** Makes the tables of a declaration's org-owned part isolated. */
export async function isolate({ ddl, database }: ProbeFixture, org: SchemaDeclaration['org']): Promise<void> {
  const policies = Object.entries(org).map(([table, declared]) =>
    orgTablePolicy({
      table,
      appRole: database.app,
      ...(declared?.privileges === undefined ? {} : { privileges: declared.privileges }),
    }),
  );
  await ddl(policies.join('\n'));
}

export async function goldenDatabase(
  serverUrl: string,
  options: { signed?: boolean } = {},
): Promise<ProbeFixture> {
  const fixture = await probeDatabase(serverUrl, options);
  await fixture.ddl(GOLDEN);
  await isolate(fixture, GOLDEN_ORG_TABLES);
  return fixture;
}

export function goldenSchema(appRole: string, more: Partial<SchemaDeclaration> = {}): TenancySchema {
  return checked({
    appRole,
    org: GOLDEN_ORG_TABLES,
    global: { 'app.currency': { key: ['code'] } },
    system: {
      'app.setting': { reason: 'settings of the operator' },
      'app.gate': { reason: 'its lock lets one in at a time' },
    },
    definerFunctions: { 'app.pending(timestamp with time zone,text)': { reason: 'a count over all' } },
    systemSchemas: { tenancy: { reason: 'keys of the context' } },
    views: { 'app.open_note': { reads: ['app.note'] }, 'app.note_count': { reads: ['app.note'] } },
    ...more,
  });
}
