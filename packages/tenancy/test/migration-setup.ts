/** A schema as it grew by hand, in use by two organisations, and its declaration. */
import { randomBytes, randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { createTenancy, type Tenancy } from '../src/index.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { type Backfill, declareSchema, type TenancySchema } from '../src/policies/index.ts';
import { kyselyOf, ORG_A, ORG_B } from './fixture.ts';

/** What the schema is to become. */
export function shopSchema(appRole: string): TenancySchema {
  return declareSchema()({
    appRole,
    org: {
      'shop.note': {
        key: ['id'],
        unique: [['slug'], ['folder_id', 'place']],
        references: [
          { columns: ['folder_id'], table: 'shop.folder', onDelete: 'set null' },
          { columns: ['currency'], table: 'shop.currency' },
        ],
      },
      'shop.folder': {
        key: ['id'],
        unique: [['path']],
        references: [
          { columns: ['customer_id'], table: 'shop.customer' },
          { columns: ['parent_id'], table: 'shop.folder', onDelete: 'cascade' },
        ],
      },
      'shop.customer': { key: ['id'], privileges: ['select', 'insert', 'update'] },
    },
    global: { 'shop.currency': { key: ['code'] } },
  });
}

/** Where rows belong. */
export const BACKFILL: Backfill = {
  'shop.customer': 'id',
  'shop.folder': 'customer_id',
  'shop.note': '(select f.org_id from shop.folder f where f.id = note.folder_id)',
};

const DDL = (app: string) => `
create schema shop;
grant usage, create on schema shop to public;
create table shop.customer (id uuid primary key, name text not null);
create table shop.folder (id uuid primary key, customer_id uuid not null references shop.customer, parent_id uuid references shop.folder on delete cascade,
  path text not null unique);
create table shop.currency (code text primary key);
create table shop.note (id uuid primary key, folder_id uuid references shop.folder on delete cascade, place int, slug text not null,
  currency text references shop.currency, body text);
create unique index note_slug on shop.note (slug);
alter table shop.folder enable row level security;
create policy mine on shop.folder using (customer_id = nullif(current_setting('app.customer', true), '')::uuid or current_setting('app.customer', true) is null);
grant all on all tables in schema shop to ${app};
grant select on shop.currency to public;
insert into shop.currency values ('EUR');
`;

/** Names of the tables that become org-owned. */
export const TABLES = ['shop.note', 'shop.folder', 'shop.customer'] as const;

/** A database on the schema as it grew. */
export interface Shop {
  readonly database: TestDatabase;
  readonly schema: TenancySchema;
  readonly owner: Kysely<unknown>;
  /** The app role past every handle, as the code before the migration connects. */
  readonly legacy: pg.Pool;
  readonly tenancy: Tenancy<unknown>;
  /** Folder of each organisation. */
  readonly folders: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Makes the schema with `rows` notes of each organisation. */
export async function shop(serverUrl: string, rows: number): Promise<Shop> {
  const database = await createTestDatabase(serverUrl, 'migration');
  const owner = kyselyOf<unknown>(database.ownerUrl, 2);
  const contextKey = { id: 'k1', secret: new Uint8Array(randomBytes(32)) };
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true }))
    await sql.raw(up).execute(owner);
  await installContextKey(owner, contextKey);
  await sql.raw(DDL(database.app)).execute(owner);
  const folders: Record<string, string> = {};
  for (const org of [ORG_A, ORG_B]) {
    const folder = randomUUID();
    folders[org] = folder;
    await sql`insert into shop.customer values (${org}, 'customer')`.execute(owner);
    await sql`insert into shop.folder values (${folder}, ${org}, null, ${`/${org}`})`.execute(owner);
    await sql`insert into shop.note select gen_random_uuid(), ${folder}::uuid, n, ${`${org}-`} || n, 'EUR', repeat('x', 200)
      from generate_series(1, ${rows}::int) n`.execute(owner);
  }
  const legacy = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  const pool = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  for (const one of [legacy, pool]) one.on('error', () => {});
  return {
    database,
    schema: shopSchema(database.app),
    owner,
    legacy,
    tenancy: createTenancy<unknown>({ pool, contextKey }),
    folders,
    close: async () => {
      await Promise.all([legacy.end(), pool.end(), owner.destroy()]);
      await database.drop();
    },
  };
}
