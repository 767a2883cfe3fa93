/**
 * A schema in which everything is as it should be, with one of each kind of relation, and its declaration. Mutations
 * break one thing of it at a time.
 */
import { randomBytes } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import type { ContextKey } from '../src/index.ts';
import { installContextKey, jobMigrations, tenancyMigrations } from '../src/migrations/index.ts';
import { checked, type TenancySchema } from '../src/policies/declaration.ts';
import { orgTablePolicy } from '../src/policies/org-table-policy.ts';
import { kyselyOf } from './fixture.ts';

/** Declaration of the golden schema for an app role. */
export function goldenDeclaration(appRole: string): TenancySchema {
  return checked({
    appRole,
    org: {
      'app.folder': { key: ['id'], unique: [['name']] },
      'app.note': {
        key: ['id'],
        references: [
          { columns: ['folder_id'], table: 'app.folder', onDelete: 'cascade' },
          { columns: ['currency'], table: 'app.currency' },
        ],
      },
      'app.reading': { key: ['id', 'at'], privileges: ['select', 'insert'] },
      'app.setting': { key: [] },
      'tenancy.job_mark': { key: ['job_id', 'mark'], privileges: ['select', 'insert', 'delete'] },
    },
    global: { 'app.currency': { key: ['code'] } },
    system: {
      'app.migration': { reason: 'written by the owner alone' },
      'app.inbox': { reason: 'rows wait for their organisation', privileges: ['insert'] },
      'app.log': { reason: 'written by its owner through a function', privileges: ['select'] },
    },
    systemSchemas: { jobs: { reason: 'the queue has a login of its own' } },
    views: { 'app.note_title': { reads: ['app.note', 'app.folder'] } },
    definerFunctions: {
      'app.touch_folder()': { reason: 'writes the folder of the note, under its forced owner' },
      'app.log_line(uuid,text)': { reason: 'adds a line to the log of the organisation of the context' },
    },
    publications: { currency_feed: { reason: 'carries currencies only' } },
  });
}

/** Its DDL, run by the owner. */
export function goldenSql({ app }: { readonly app: string }): string {
  const isolated = (table: string, privileges?: readonly ('select' | 'insert')[]) =>
    orgTablePolicy(privileges === undefined ? { table, appRole: app } : { table, appRole: app, privileges });
  return `
    create schema app; create schema jobs;
    grant usage on schema app to ${app};
    create table app.currency (code text primary key, name text not null);
    alter table app.currency enable row level security, force row level security;
    create policy ringfence_global on app.currency for select to ${app} using (true);
    grant select on app.currency to ${app};
    create table app.folder (org_id uuid not null, id uuid not null, name text not null,
      primary key (org_id, id), unique (org_id, name));
    create table app.note (org_id uuid not null, id uuid not null, folder_id uuid, title text not null, currency text
        references app.currency (code), touched timestamptz,
      primary key (org_id, id), foreign key (org_id, folder_id) references app.folder (org_id, id) on delete cascade);
    create table app.reading (org_id uuid not null, id uuid not null, at timestamptz not null, value int not null,
      primary key (org_id, id, at)) partition by range (at);
    create table app.reading_2026 partition of app.reading for values from ('2026-01-01') to ('2027-01-01');
    create table app.setting (org_id uuid not null primary key, locale text not null);
    create table app.migration (name text primary key);
    create table app.inbox (id bigint generated always as identity primary key, body text not null);
    alter table app.inbox enable row level security, force row level security;
    create policy inbox_insert on app.inbox for insert to ${app} with check (length(body) < 1000);
    grant insert on app.inbox to ${app};
    create table app.log (org_id uuid not null, id uuid not null, line text not null, primary key (org_id, id));
    alter table app.log enable row level security, force row level security;
    create policy own_lines on app.log for select to ${app} using (org_id = (select (tenancy.context()).org_id));
    create policy add_line on app.log for insert to current_user with check (true);
    grant select on app.log to ${app};
    create function app.log_line(id uuid, line text) returns void language sql security definer
      set search_path = pg_catalog, pg_temp begin atomic insert into app.log values (tenancy.org_id(), id, line); end;
    revoke execute on function app.log_line from public;
    grant execute on function app.log_line to ${app};
    create table jobs.job (id bigint generated always as identity primary key, body text not null);
    create view app.note_title with (security_invoker = true) as
      select n.org_id, n.id, n.title, f.name from app.note n left join app.folder f using (org_id);
    grant select on app.note_title to ${app};
    create function app.touch_folder() returns trigger language plpgsql security definer
      set search_path = pg_catalog, pg_temp as $$ begin return new; end $$;
    revoke execute on function app.touch_folder() from public;
    create trigger touch after insert on app.note for each row execute function app.touch_folder();
    create function app.short(text) returns text language sql immutable return left($1, 10);
    create publication currency_feed for table app.currency;
    ${isolated('app.folder')}${isolated('app.note')}${isolated('app.reading', ['select', 'insert'])}${isolated('app.setting')}`;
}

/** A database with the golden schema. */
export interface Golden {
  readonly database: TestDatabase;
  readonly contextKey: ContextKey;
  readonly schema: TenancySchema;
  /** One connection of the owner. */
  readonly owner: Kysely<unknown>;
  /** One connection of a superuser. */
  readonly superuser: Kysely<unknown>;
  close(): Promise<void>;
}

/** Makes it. */
export async function golden(serverUrl: string): Promise<Golden> {
  const database = await createTestDatabase(serverUrl, 'golden');
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const superuser = kyselyOf<unknown>(database.superuserUrl, 1);
  const appRole = database.app;
  for (const { up } of [
    ...tenancyMigrations({ appRole, signedContext: true }),
    ...jobMigrations({ appRole }),
  ])
    await sql.raw(up).execute(owner);
  const contextKey = { id: 'k1', secret: new Uint8Array(randomBytes(32)) };
  await installContextKey(owner, contextKey);
  await sql.raw(goldenSql(database)).execute(owner);
  return {
    database,
    contextKey,
    schema: goldenDeclaration(database.app),
    owner,
    superuser,
    close: async () => {
      await owner.destroy();
      await superuser.destroy();
      await database.drop();
    },
  };
}
