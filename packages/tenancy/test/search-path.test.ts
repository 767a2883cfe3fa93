import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { isFixedPath, searchPathOf } from '../src/catalog/search-path.ts';
import { kyselyOf } from './fixture.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'path');
});
afterAll(() => database.drop());

test.each([
  ['pg_catalog, pg_temp', true],
  ['"App", "pg_temp"', true],
  ['pg_temp', true],
  ['', false],
  ["''", false],
  ['pg_catalog', false],
  ['app, public', false],
  ['pg_temp, app', false],
  ['pg_temp, app, pg_temp', false],
  ['"a, pg_temp"', false],
  ['app, "pg_temp "', false],
  ['app, "a"", pg_temp"', false],
  ['"$user", pg_temp', false],
])('search_path = %s fixes what names mean: %s', async (path, fixed) => {
  const db = kyselyOf<unknown>(database.ownerUrl, 1);
  const trx = await db.startTransaction().execute();
  try {
    // An empty one is taken over from the session: SET search_path = '' names a schema without a name.
    const set = path === '' ? 'from current' : `= ${path}`;
    await sql`select set_config('search_path', '', true)`.execute(trx);
    await sql
      .raw(
        `create schema app; create function app.f() returns int language sql set search_path ${set} as 'select 1'`,
      )
      .execute(trx);
    const { rows } = await sql<{ settings: string[] }>`
      select proconfig as settings from pg_proc where proname = 'f'`.execute(trx);
    const found = searchPathOf(rows[0]?.settings ?? []);
    expect(found).toBeDefined();
    expect(isFixedPath(found ?? '')).toBe(fixed);
  } finally {
    await trx.rollback().execute();
    await db.destroy();
  }
});

test('a function without a path of its own has none, and one without a name in it fixes nothing', () => {
  expect(isFixedPath('')).toBe(false);
  expect(searchPathOf(['row_security=on', 'work_mem=1MB'])).toBeUndefined();
});
