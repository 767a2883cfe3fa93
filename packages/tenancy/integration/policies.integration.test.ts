import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { PostgresServer } from '../../../tools/postgres.ts';
import { startPostgres15 } from '../../../tools/postgres-15.ts';
import { applyMigration, readCatalog } from '../src/policies/index.ts';
import { BACKFILL, shop } from '../test/migration-setup.ts';
import { goldenDatabase, summary } from '../test/policies-setup.ts';

let oldest: PostgresServer;
beforeAll(async () => {
  oldest = await startPostgres15();
});
afterAll(() => oldest.stop());

const SERVERS = [
  ['the oldest PostgreSQL supported', 15, () => oldest.url],
  ['the newest', 18, () => inject('databaseUrl')],
] as const;

describe.each(SERVERS)('on %s', (_, major, url) => {
  test('the golden schema has no differences, and a widened policy is one', async () => {
    const golden = await goldenDatabase(url());
    const { serverVersion } = await readCatalog(golden.owner);
    expect(Math.trunc(serverVersion / 10_000)).toBe(major);
    expect(await golden.found()).toEqual([]);
    await sql.raw('alter policy ringfence_org on app.note using (true)').execute(golden.owner);
    expect(summary(await golden.found())).toEqual(['policy app.note']);
    await golden.close();
  });

  test('a schema in use becomes the declared one', async () => {
    const stage = await shop(url(), 500);
    expect(await applyMigration(stage.owner, stage.schema, { backfill: BACKFILL })).toEqual([]);
    await stage.close();
  });
});
