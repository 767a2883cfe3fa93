/**
 * KEK re-wrap of many organisations on PostgreSQL with the local KMS: KMS calls per organisation, organisations per second.
 * The KMS answers at once, so the rate is that of the key store; a cloud's request quota is below it.
 */
import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { BenchCase } from '../../../tools/bench/suite.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { createKeyring, type OrgId, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { createKeyOperations, orgsWithKeys, type RewrapReport } from '../src/operations/index.ts';
import { postgresKeyStore } from '../src/postgres/index.ts';
import { cryptoMigrations } from '../src/postgres/migrations.ts';

interface Prepared {
  /** Re-wraps all organisations to the other KEK. */
  readonly rewrap: () => Promise<RewrapReport>;
  readonly close: () => Promise<void>;
}

async function organisations(count: number): Promise<Prepared> {
  const server = await startEmbedded({ settings: { fsync: 'on' } });
  const database = await createTestDatabase(server.url, 'rewrap');
  const pool = new pg.Pool({ connectionString: database.ownerUrl, max: 16 });
  pool.on('error', () => {}); // the server may stop while sessions close
  for (const { up } of cryptoMigrations({ appRole: database.app })) await pool.query(up);
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const store = postgresKeyStore(db);
  const kms = [localKms({ keks: { a: randomBytes(32), b: randomBytes(32) } })];
  const base = { app: 'bench', kms, store, kekFor: () => 'local:a' };
  const keyring = createKeyring(base);
  const waiting = Array.from({ length: count }, anyOrg);
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let org = waiting.pop(); org !== undefined; org = waiting.pop()) await keyring.createOrg(org);
    }),
  );
  const operations = createKeyOperations(base);
  let under = 'local:a';
  return {
    rewrap: async () => {
      const [from, to] = [under, under === 'local:a' ? 'local:b' : 'local:a'];
      const report = await operations.rewrapAll({
        orgs: orgsWithKeys(db, { under: from }),
        from,
        to: () => to,
        concurrency: 16,
      });
      if (report.rewrapped !== count || report.failed > 0) throw new Error('not all were re-wrapped');
      under = to;
      return report;
    },
    close: async () => {
      await db.destroy();
      await server.stop();
    },
  };
}

function rewrapCase(count: number, long: boolean, value: 'calls' | 'rate'): BenchCase {
  const name = `rewrap-${count === 10_000 ? '10k' : count}`;
  return {
    id: value === 'calls' ? `${name}-kms-calls` : `${name}-rate`,
    unit: value === 'calls' ? 'KMS calls/org' : 'orgs/s',
    rounds: long ? 1 : 3,
    long,
    prepare: async () => {
      const { rewrap, close } = await organisations(count);
      const measure = async () => {
        const start = performance.now();
        const { kmsCalls } = await rewrap();
        return value === 'calls' ? kmsCalls / count : count / ((performance.now() - start) / 1000);
      };
      return { subjects: [{ name: 'ringfence', measure }], close };
    },
  };
}

function anyOrg(): OrgId {
  const hex = randomBytes(16).toString('hex');
  return parseOrgId(hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'));
}

/** The cases, those with 10 000 organisations for `--long`. */
export const rewrapCases: readonly BenchCase[] = [
  rewrapCase(500, false, 'calls'),
  rewrapCase(500, false, 'rate'),
  rewrapCase(10_000, true, 'calls'),
  rewrapCase(10_000, true, 'rate'),
];
