/**
 * Links verified per second: an export at hand (on one thread, with the browser's SHA-256), rows at hand, an export long
 * enough for a second thread, and one streamed from PostgreSQL while it is verified; and seconds for 10 M links in a file.
 * Records of about 720 bytes. `verifyParallel` takes 48 MiB before it starts a thread: 50 000 links stay on one.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sha256 as nobleAlone } from '@noble/hashes/sha2.js';
import { CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { BenchCase, Prepared } from '../../../tools/bench/suite.ts';
import { runInBrowser } from '../../../tools/browser.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { verifyInDatabase } from '../src/database-verification.ts';
import {
  type ChainRow,
  exportLog,
  parseOrgId,
  verifyChain,
  verifyExport,
  verifyParallel,
} from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { exportLines } from './export-lines.ts';

const LINKS = 50_000;
const MANY_LINKS = 500_000;
const TEN_MILLION = 10_000_000;
const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const APPEND = `select audit.append(('0190f5d2-7b1c-7d34-9a51-' || lpad(n::text, 12, '0'))::uuid, $1, true)
  from generate_series(1, ${LINKS}) n`;
const EVENT = `{"data":{"amount":"12345.67","note":"${'x'.repeat(430)}"},"outcome":"success","target":{"id":"e1","type":"entry"},"type":"entry.posted"}`;

async function ground() {
  const server = await startEmbedded();
  const database = await createTestDatabase(server.url, 'bench');
  const pool = new pg.Pool({ connectionString: database.superuserUrl, max: 2 });
  pool.on('error', () => {});
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  for (const { up } of auditMigrations({ appRole: database.app })) await sql.raw(up).execute(db);
  await db.transaction().execute(async (trx) => {
    await sql`select set_config('ringfence.org_id', ${ORG}, true), set_config('ringfence.actor', 'user:alice', true)`.execute(
      trx,
    );
    await trx.executeQuery(CompiledQuery.raw(APPEND, [EVENT]));
  });
  await sql`select audit.seal_next(0)`.execute(db); // what append queued
  const close = async () => {
    await db.destroy();
    await server.stop();
  };
  return { db, close };
}

async function rate(
  run: () => Promise<{ readonly ok: boolean; readonly checked: number }>,
  links = LINKS,
): Promise<number> {
  const start = performance.now();
  const { ok, checked } = await run();
  if (!ok || checked !== links) throw new Error(`${checked} links, ${ok ? 'ok' : 'not ok'}`);
  return checked / ((performance.now() - start) / 1_000);
}

function rowsOf(chunks: readonly Uint8Array[]): ChainRow[] {
  const lines = Buffer.concat(chunks).toString().split('\n').slice(1, -2);
  return lines.map((line) => {
    const canon = line.slice('{"canon":'.length, line.lastIndexOf(',"hash":"'));
    const { hash, id, seq } = JSON.parse(line) as { hash: string; id: string; seq: number };
    const leaf = nodeSha256(Buffer.from(`\0${canon}`));
    return { org: ORG, seq, eventId: id, canon, leaf, hash: new Uint8Array(Buffer.from(hash, 'hex')) };
  });
}

/** SHA-256 over as many bytes in as many calls: what no verifier on one thread with this SHA-256 can pass. */
function hashRate(rows: readonly ChainRow[], sha256: (bytes: Uint8Array) => unknown): number {
  const link = new Uint8Array(89);
  const records = rows.map(({ canon }) => new Uint8Array(Buffer.from(`\0${canon}`)));
  const start = performance.now();
  for (const record of records) {
    sha256(record);
    sha256(link);
  }
  return records.length / ((performance.now() - start) / 1_000);
}

/** Cases without a database. */
const memory: BenchCase = {
  id: 'verify-memory',
  unit: 'events/s',
  limit: 'sha256-only',
  rounds: 5,
  prepare: async (): Promise<Prepared> => {
    const chunks = [...exportLines(LINKS)];
    const rows = rowsOf(chunks);
    return {
      subjects: [
        { name: 'ringfence', measure: () => rate(() => verifyParallel(chunks)) },
        { name: 'one-thread', measure: () => rate(() => verifyExport(chunks, { sha256: nodeSha256 })) },
        { name: 'rows', measure: () => rate(() => verifyChain(rows, { sha256: nodeSha256 })) },
        { name: 'browser-hash', measure: () => rate(() => verifyExport(chunks)) },
        { name: 'sha256-only', measure: async () => hashRate(rows, nodeSha256) },
        { name: 'noble-only', measure: async () => hashRate(rows, nobleAlone) },
      ],
      close: async () => {},
    };
  },
};

/** In a worker of Debian's Chromium, with noble's SHA-256 and nothing else, as a customer's page would. */
const browser: BenchCase = {
  id: 'verify-browser',
  unit: 'events/s',
  limit: 'noble-only',
  rounds: 3,
  warmsUp: true,
  prepare: async (): Promise<Prepared> => {
    const data = Buffer.concat([...exportLines(20_000)]);
    const measure = (what: string) => async () => {
      const files = new Map<string, Uint8Array | string>([
        ['/export', data],
        ['/what', what],
      ]);
      const module = new URL('./browser-rate.ts', import.meta.url);
      return (await runInBrowser({ module, files, thread: 'worker' })) as number;
    };
    return {
      subjects: ['ringfence', 'noble-only'].map((name) => ({ name, measure: measure(name) })),
      close: async () => {},
    };
  },
};

/** More than a second of work, so that starting a thread and its cold code do not count for much. */
const long: BenchCase = {
  id: 'verify-500k',
  unit: 'events/s',
  rounds: 3,
  prepare: async (): Promise<Prepared> => {
    const chunks = [...exportLines(MANY_LINKS)];
    return {
      subjects: [
        { name: 'ringfence', measure: () => rate(() => verifyParallel(chunks), MANY_LINKS) },
        {
          name: 'one-thread',
          measure: () => rate(() => verifyExport(chunks, { sha256: nodeSha256 }), MANY_LINKS),
        },
      ],
      close: async () => {},
    };
  },
};

const stream: BenchCase = {
  id: 'verify-stream',
  unit: 'events/s',
  rounds: 3,
  prepare: async (): Promise<Prepared> => {
    const { db, close } = await ground();
    return {
      subjects: [
        { name: 'ringfence', measure: () => rate(() => verifyParallel(exportLog(db, ORG))) },
        {
          name: 'one-thread',
          measure: () => rate(() => verifyExport(exportLog(db, ORG), { sha256: nodeSha256 })),
        },
        { name: 'columns', measure: () => rate(() => verifyInDatabase(db, ORG, {})) },
      ],
      close,
    };
  },
};

/** From a file, as an auditor would. Memory is bounded by the blocks under way. */
const tenMillion: BenchCase = {
  id: 'verify-10m',
  unit: 's',
  rounds: 1,
  long: true,
  prepare: async (): Promise<Prepared> => {
    const folder = await mkdtemp(join(tmpdir(), 'verify-10m-'));
    const file = join(folder, 'export.ndjson');
    await pipeline(exportLines(TEN_MILLION), createWriteStream(file));
    const measure = async () => {
      const read = createReadStream(file, { highWaterMark: 1 << 20 });
      const start = performance.now();
      const { ok, checked } = await verifyParallel(read);
      if (!ok || checked !== TEN_MILLION) throw new Error(`${checked} links, ${ok ? 'ok' : 'not ok'}`);
      return (performance.now() - start) / 1_000;
    };
    return { subjects: [{ name: 'ringfence', measure }], close: () => rm(folder, { recursive: true }) };
  },
};

/** The cases of the verifier. */
export const verifyCases: readonly BenchCase[] = [memory, browser, long, stream, tenMillion];
