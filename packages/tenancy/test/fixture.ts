/** A fresh database with two isolated tables, two organisations and an app pool, for the tests of this package. */
import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { type ContextKey, createTenancy, type OrgId, parseOrgId, type Tenancy } from '../src/index.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { orgTablePolicy } from '../src/policies/index.ts';

export interface Tables {
  'app.note': { org_id: string | undefined; id: string; body: string };
  'app.tag': { org_id: string | undefined; id: string; label: string };
}

export const ORG_A: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const ORG_B: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
export const ALICE = { actor: 'user:alice' };

export interface Fixture {
  readonly database: TestDatabase;
  readonly owner: Kysely<Tables>;
  readonly pool: pg.Pool;
  readonly contextKey: ContextKey;
  readonly tenancy: Tenancy<Tables>;
  close(): Promise<void>;
}

export async function fixture(
  serverUrl: string,
  { signed = true, poolSize = 4 }: { signed?: boolean; poolSize?: number } = {},
): Promise<Fixture> {
  const database = await createTestDatabase(serverUrl, 'tenancy');
  const owner = kyselyOf<Tables>(database.ownerUrl, 1);
  const contextKey = { id: 'k1', secret: new Uint8Array(randomBytes(32)) };
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: signed })) {
    await sql.raw(up).execute(owner);
  }
  if (signed) await installContextKey(owner as Kysely<unknown>, contextKey);
  await sql
    .raw(`create schema app;
      grant usage on schema app to ${database.app};
      create table app.note (org_id uuid not null, id text not null, body text not null, primary key (org_id, id));
      create table app.tag (org_id uuid not null, id text not null, label text not null, primary key (org_id, id));
      ${orgTablePolicy({ table: 'app.note', appRole: database.app })}
      ${orgTablePolicy({ table: 'app.tag', appRole: database.app })}`)
    .execute(owner);
  const pool = new pg.Pool({ connectionString: database.appUrl, max: poolSize });
  pool.on('error', () => {}); // a test may end the server's side of an idle connection
  const tenancy = createTenancy<Tables>(signed ? { pool, contextKey } : { pool });
  for (const org of [ORG_A, ORG_B]) {
    await tenancy
      .forOrg(org, ALICE)
      .insertInto('app.note')
      .values({ org_id: org, id: 'n1', body: `note of ${org}` })
      .execute();
  }
  return {
    database,
    owner,
    pool,
    contextKey,
    tenancy,
    close: async () => {
      await pool.end();
      await owner.destroy();
      await database.drop();
    },
  };
}

export function kyselyOf<DB>(connectionString: string, max: number): Kysely<DB> {
  const pool = new pg.Pool({ connectionString, max });
  pool.on('error', () => {});
  return new Kysely<DB>({ dialect: new PostgresDialect({ pool }) });
}

/** The code of the error a promise rejects with; fails the test when it resolves. */
export async function codeOf(run: Promise<unknown>): Promise<unknown> {
  try {
    await run;
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  throw new Error('expected a rejection');
}

/** Parsers of an application, of which the one for bigint fails. */
export const BIGINT_UNPARSABLE = {
  getTypeParser: (oid: number) => {
    if (oid !== 20) return String;
    return () => {
      throw new Error('unparsable');
    };
  },
} as unknown as pg.CustomTypesConfig;
