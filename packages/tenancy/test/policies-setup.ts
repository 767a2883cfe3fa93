/** A declaration with one relation of each kind, its DDL without any isolation, and a database that holds both. */
import { type Kysely, sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { tenancyMigrations } from '../src/migrations/index.ts';
import {
  type Difference,
  declareSchema,
  differences,
  policySql,
  readCatalog,
  type TenancySchema,
} from '../src/policies/index.ts';
import { kyselyOf } from './fixture.ts';

/** The golden declaration. */
export function goldenSchema(appRole: string): TenancySchema {
  return declareSchema()({
    appRole,
    org: {
      'app.account': { key: [], privileges: ['select', 'insert', 'update'] },
      'app.folder': {
        key: ['id'],
        unique: [['path']],
        references: [
          { columns: [], table: 'app.account' },
          { columns: ['parent_id'], table: 'app.folder', onDelete: 'cascade' },
        ],
      },
      'app.note': {
        key: ['id'],
        unique: [['slug'], ['folder_id', 'place']],
        references: [
          { columns: ['folder_id'], table: 'app.folder', onDelete: 'set null' },
          { columns: ['currency'], table: 'app.currency' },
        ],
      },
      'app.event': { key: ['at', 'id'], privileges: ['select', 'insert'] },
    },
    global: { 'app.currency': { key: ['code'] } },
    system: {
      'app.outbox': { reason: 'drained by the owner', privileges: ['insert'] },
      'app.digest': { reason: 'read by the owner' },
      'app.schema_version': { reason: 'of the migrator' },
    },
    systemSchemas: { ops: { reason: 'reports of the operators' } },
    views: { 'app.recent': { reads: ['app.note'] } },
    definerFunctions: { 'app.now_utc()': { reason: 'reads nothing' } },
    publications: { outbox_stream: { reason: 'the outbox holds no row of an organisation' } },
  });
}

/** The tables as their author writes them: no `org_id`, no keys, no isolation. */
export const FRESH_DDL = `
create schema app;
create schema ops;
create table app.account (name text not null);
create table app.folder (id uuid not null default gen_random_uuid(), parent_id uuid, path text not null);
create table app.note (id uuid not null default gen_random_uuid(), folder_id uuid, place int, slug text not null,
  currency text, body text, number bigint generated always as identity);
create index note_body on app.note (body);
create table app.event (org_id uuid not null, at timestamptz not null, id uuid not null) partition by range (at);
create table app.event_2026 partition of app.event for values from ('2026-01-01') to ('2027-01-01');
create table app.currency (code text not null, name text not null);
create table app.outbox (payload text not null);
alter table app.outbox enable row level security;
alter table app.outbox force row level security;
create table app.schema_version (n int);
create table ops.report (n int);
create function app.now_utc() returns timestamptz language sql stable security definer set search_path = pg_catalog, pg_temp as 'select now()';
create publication outbox_stream for table app.outbox;
`;

/** What reads the tables, once they have their column. */
export const VIEWS_DDL = `
create view app.recent as select * from app.note where number > 10;
create materialized view app.digest as select count(*) from app.note;
`;

/** A database on the golden schema. */
export interface GoldenDatabase {
  readonly database: TestDatabase;
  readonly schema: TenancySchema;
  readonly owner: Kysely<unknown>;
  /** Differences of the database as it is now. */
  found(): Promise<readonly Difference[]>;
  close(): Promise<void>;
}

/** Schema `tenancy` and a database around `ddl`. */
export async function databaseWith(
  serverUrl: string,
  ...ddl: readonly ((app: string) => string)[]
): Promise<GoldenDatabase> {
  const database = await createTestDatabase(serverUrl, 'policies');
  const owner = kyselyOf<unknown>(database.ownerUrl, 2);
  const schema = goldenSchema(database.app);
  const migrations = tenancyMigrations({ appRole: database.app, signedContext: true }).map(({ up }) => up);
  for (const up of [...migrations, ...ddl.map((one) => one(database.app))]) await sql.raw(up).execute(owner);
  return {
    database,
    schema,
    owner,
    found: async () => differences(schema, await readCatalog(owner)),
    close: async () => {
      await owner.destroy();
      await database.drop();
    },
  };
}

/** The golden schema, guarded by `policySql`. */
export function goldenDatabase(serverUrl: string): Promise<GoldenDatabase> {
  return databaseWith(
    serverUrl,
    () => `${FRESH_DDL}alter table app.note add column org_id uuid;${VIEWS_DDL}`,
    (app) => policySql(goldenSchema(app)),
  );
}

/** Kind and relation of each difference, sorted. */
export function summary(found: readonly Difference[]): string[] {
  return found.map(({ kind, relation }) => `${kind} ${relation}`).sort();
}
