/** The declaration names what the migrations bring, no more and no less. */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { auditDeclaration } from '../src/migrations.ts';
import { type Fixture, fixture } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 1);
});

afterAll(() => f.close());

test('every table of schema audit is declared, with the rights of the app role', async () => {
  const { rows } = await sql<{ name: string; privileges: string[] }>`
    select 'audit.' || c.relname as name, array(
        select p from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p
         where has_table_privilege(${f.database.app}, c.oid, p)) as privileges
      from pg_class c where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')`.execute(
    f.superuser,
  );
  const found = Object.fromEntries(rows.map(({ name, privileges }) => [name, privileges]));
  const declared = Object.entries(auditDeclaration.system).map(([name, one]) => [name, one.privileges ?? []]);
  expect(found).toEqual(Object.fromEntries(declared));
});

test('every function that the app role may execute with the rights of its owner is declared', async () => {
  const { rows } = await sql<{ name: string }>`
    select p.oid::regprocedure::text as name from pg_proc p
     where p.pronamespace = 'audit'::regnamespace and p.prosecdef
       and has_function_privilege(${f.database.app}, p.oid, 'execute')`.execute(f.superuser);
  expect(rows.map(({ name }) => name).sort()).toEqual(Object.keys(auditDeclaration.definerFunctions).sort());
});
