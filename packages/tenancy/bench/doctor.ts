/**
 * The case `doctor-500`: reading and judging the catalog of 500 org-owned tables, ms. There is no peer that runs here;
 * the limit is the catalog statement alone.
 */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { BenchCase } from '../../../tools/bench/suite.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { readCatalog } from '../src/catalog/read-catalog.ts';
import { runDoctor } from '../src/doctor/index.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { checked } from '../src/policies/declaration.ts';
import { orgTablePolicy } from '../src/policies/org-table-policy.ts';
import { kyselyOf } from '../test/fixture.ts';

const TABLES = 500;

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

/** The case. */
export const doctorCase: BenchCase = {
  id: 'doctor-500',
  unit: 'ms',
  limit: 'read-catalog',
  prepare: async () => {
    const server = await startEmbedded();
    const database = await createTestDatabase(server.url, 'doctor');
    const owner = kyselyOf<unknown>(database.ownerUrl, 1);
    const names = Array.from({ length: TABLES }, (_, n) => `app.t${n}`);
    const ddl = names.map(
      (
        table,
      ) => `create table ${table} (org_id uuid not null, id uuid not null, title text not null, note text,
        made timestamptz not null default now(), primary key (org_id, id), unique (org_id, title));
        create index on ${table} (org_id, made); ${orgTablePolicy({ table, appRole: database.app })}`,
    );
    for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true }))
      await sql.raw(up).execute(owner);
    await installContextKey(owner, { id: 'k1', secret: new Uint8Array(randomBytes(32)) });
    await sql.raw(`create schema app; ${ddl.join('\n')}`).execute(owner);
    await sql`vacuum analyze`.execute(owner);
    const schema = checked({
      appRole: database.app,
      org: Object.fromEntries(names.map((name) => [name, { key: ['id'], unique: [['title']] }])),
    });
    return {
      subjects: [
        { name: 'read-catalog', measure: () => timed(() => readCatalog(owner)) },
        { name: 'ringfence', measure: () => timed(() => runDoctor({ db: owner, schema })) },
      ],
      close: async () => {
        await owner.destroy();
        await server.stop();
      },
    };
  },
};
