/** Functions that run a text as SQL, and what runs with the rights of another: which of them row-level security holds. */
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { ALICE, type Fixture, fixture, kyselyOf, ORG_A, ORG_B } from './fixture.ts';

let f: Fixture;
let superuser: Kysely<unknown>;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
  superuser = kyselyOf(f.database.superuserUrl, 1);
  await sql`create extension tablefunc schema public`.execute(superuser);
  await sql`grant usage on schema public to public`.execute(superuser);
});
afterAll(async () => {
  await superuser.destroy();
  await f.close();
});

const asked = async (db: Kysely<unknown>, expression: string) =>
  JSON.stringify((await sql.raw(`select ${expression}`).execute(db)).rows);
const appOf = () => f.tenancy.forOrg(ORG_A, ALICE) as unknown as Kysely<unknown>;
const OF = `'select org_id, id from app.note'`;
const PAIRS = `'select org_id::text, ''id''::text, id::text from app.note order by 1'`;

test.each([
  ['query_to_xml', `query_to_xml(${OF}, true, false, '') as x`],
  ['table_to_xml', `table_to_xml('app.note', true, false, '') as x`],
  ['schema_to_xml', `schema_to_xml('app', true, false, '') as x`],
  ['database_to_xml', `database_to_xml(true, false, '') as x`],
  ['ts_stat', `* from ts_stat('select array_to_tsvector(array[org_id::text]) from app.note')`],
  ['crosstab', `* from public.crosstab(${PAIRS}) as c (org text, id text)`],
])('%s sees the rows of the caller', async (_, expression) => {
  expect(await asked(superuser, expression)).toContain(ORG_B);
  const seen = await asked(appOf(), expression);
  expect(seen).toContain(ORG_A);
  expect(seen).not.toContain(ORG_B);
});

test('an aggregate runs a SECURITY DEFINER function that its caller may not execute, and so RF521 names it', async () => {
  const made = `
    create function app.add_orgs(text[], int) returns text[] language sql security definer
      set search_path = pg_catalog, pg_temp begin atomic select array_agg(org_id::text) from app.note; end;
    revoke execute on function app.add_orgs(text[], int) from public;
    create aggregate app.orgs(int) (sfunc = app.add_orgs, stype = text[]);`;
  await sql.raw(made).execute(superuser);
  await expect(asked(appOf(), `app.add_orgs('{}', 1)`)).rejects.toMatchObject({ code: '42501' });
  expect(await asked(appOf(), 'app.orgs(1)')).toContain(ORG_B);
});
