/**
 * What a page of the log costs: the 99th percentile, in ms, of pages at random depths, by every combination of filters,
 * read through the app role under row-level security. One organisation has nine tenths of the events.
 */
import { hash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { type BenchCase, runCase } from '../../../tools/bench/suite.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { listEvents, type PageRequest } from '../src/query/index.ts';
import { generatedEvents } from '../test/query-rows.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000b16');
const OTHER = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000b17');
const BATCH = 100_000;
const PAGES = 400;
const START_MS = Date.UTC(2026, 0, 1);

/** Reads pages and returns the 99th percentile of their times, ms. */
async function percentile(read: (request: PageRequest) => Promise<unknown>, rows: number): Promise<number> {
  const times: number[] = [];
  for (let page = 0; page < PAGES; page++) {
    const filters = page % 8;
    const pick = Math.random();
    const request: PageRequest = {
      to: new Date(START_MS + Math.floor(Math.random() * rows) * 10_000).toISOString(),
      ...((filters & 1) === 0 ? {} : { actor: `user:${hash('md5', pick < 0.5 ? '0' : '7')}` }),
      ...((filters & 2) === 0 ? {} : { action: pick < 0.5 ? 'entry.posted' : 'entry.action3' }),
      ...((filters & 4) === 0 ? {} : { target: `entry:${hash('md5', String(Math.floor(pick * 2_500)))}` }),
    };
    const start = performance.now();
    await read(request);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(PAGES * 0.99)] ?? Number.NaN;
}

function pageCase(id: string, rows: number, long: boolean): BenchCase {
  return {
    id,
    unit: 'ms',
    rounds: 5,
    long,
    prepare: async () => {
      const server = await startEmbedded({ settings: { fsync: 'off', max_wal_size: '4GB' } });
      const database = await createTestDatabase(server.url, 'pages');
      const kyselyOf = (connectionString: string) =>
        new Kysely<unknown>({
          dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString, max: 1 }) }),
        });
      const [owner, superuser] = [kyselyOf(database.ownerUrl), kyselyOf(database.superuserUrl)];
      for (const { up } of auditMigrations({ appRole: database.app })) await sql.raw(up).execute(owner);
      const fill = async (org: OrgId, count: number) => {
        for (let from = 1; from <= count; from += BATCH) {
          await sql.raw(generatedEvents(org, Math.min(BATCH, count - from + 1), from)).execute(superuser);
        }
      };
      await fill(ORG, Math.floor(rows * 0.9));
      await fill(OTHER, Math.ceil(rows * 0.1));
      await sql`vacuum (analyze) audit.event, audit.seal`.execute(superuser);
      const app = kyselyOf(database.appUrl);
      await app
        .connection()
        .execute((db) =>
          sql`select set_config('ringfence.org_id', ${ORG}, false), set_config('ringfence.actor', 'bench', false)`.execute(
            db,
          ),
        );
      const read = (request: PageRequest) => listEvents(app, ORG, request); // one connection, so it has the context
      return {
        subjects: [{ name: 'ringfence', measure: () => percentile(read, Math.floor(rows * 0.9)) }],
        close: async () => {
          await Promise.all([owner.destroy(), superuser.destroy(), app.destroy()]);
          await server.stop();
        },
      };
    },
  };
}

/** The cases. */
export const queryCases: readonly BenchCase[] = [
  pageCase('page-200k-p99', 200_000, false),
  pageCase('page-10m-p99', 10_000_000, true),
];

if (process.argv[1] === import.meta.filename) {
  for (const bench of queryCases.filter(({ long }) => long !== true))
    console.log(await runCase('audit', bench));
}
