/** The declaration names what the migrations bring, no more and no less. */
import { sql } from 'kysely';
import { expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { authzDeclaration, authzMigrations } from '../src/migrations.ts';
import { login } from './postgres-fixture.ts';

test('of schema authz the app role reaches the declared functions, and no table', async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'authz_declared');
  const [owner, superuser] = [login(database.ownerUrl), login(database.superuserUrl)];
  try {
    for (const { up } of authzMigrations({ appRole: database.app, systemRole: database.keys }))
      await sql.raw(up).execute(owner);
    const { rows: functions } = await sql<{ name: string }>`
      select p.oid::regprocedure::text as name from pg_proc p
       where p.pronamespace = 'authz'::regnamespace and p.prosecdef
         and has_function_privilege(${database.app}, p.oid, 'execute')`.execute(superuser);
    expect(functions.map(({ name }) => name).sort()).toEqual(
      Object.keys(authzDeclaration.definerFunctions).sort(),
    );
    const { rows: reached } = await sql`
      select c.relname from pg_class c where c.relnamespace = 'authz'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
         and (has_table_privilege(${database.app}, c.oid, 'select, insert, update, delete, truncate, references, trigger')
           or has_any_column_privilege(${database.app}, c.oid, 'select, insert, update, references'))`.execute(
      superuser,
    );
    expect(reached).toEqual([]);
    expect(Object.keys(authzDeclaration.systemSchemas)).toEqual(['authz']);
  } finally {
    await Promise.all([owner.destroy(), superuser.destroy()]);
    await database.drop();
  }
});
