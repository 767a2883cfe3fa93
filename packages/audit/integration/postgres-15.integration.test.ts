/** The oldest PostgreSQL supported: appending, sealing, guards, erasure, capture and queries, by the tests that the newest runs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startEmbedded } from '../../../tools/postgres.ts';

const BINARIES = '/usr/lib/postgresql/15/bin';
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FILES = [
  'append',
  'audit-guards',
  'body-frame',
  'body-frame-numbers',
  'body-gate',
  'body-template',
  'capture',
  'database-tampering',
  'forks',
  'held-sealing',
  'keep-sealed',
  'known-templates',
  'migrations',
  'mixed-contexts',
  'personal',
  'privileges',
  'query',
  'record-together',
  'retention',
  'retention-attacks',
  'sealing',
  'two-statements',
].map((name) => `packages/audit/test/${name}.test.ts`);

interface Results {
  readonly success: boolean;
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly status: string;
  }[];
}

test('the tests of the log pass on PostgreSQL 15', { timeout: 900_000 }, async () => {
  if (!existsSync(join(BINARIES, 'postgres')))
    throw new Error('PostgreSQL 15 is missing: apt-get install -y --no-install-recommends postgresql-15');
  const server = await startEmbedded({ binaries: BINARIES, settings: { fsync: 'off' } });
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-audit-15-'));
  try {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rows } = await client.query('show server_version_num');
    await client.end();
    expect(Math.trunc(Number(rows[0]?.server_version_num) / 10_000)).toBe(15);

    const report = join(folder, 'report.json');
    const args = ['node_modules/vitest/vitest.mjs', 'run', ...FILES, '--typecheck.enabled=false'];
    const child = spawn(process.execPath, [...args, '--reporter=json', `--outputFile=${report}`], {
      cwd: ROOT,
      env: { ...process.env, DATABASE_URL: server.url },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await once(child, 'exit');
    const results = JSON.parse(readFileSync(report, 'utf8')) as Results;
    expect(results.testResults.filter(({ status }) => status !== 'passed')).toEqual([]);
    expect(results.testResults).toHaveLength(FILES.length);
    expect(results.numPassedTests).toBe(results.numTotalTests);
    expect(results.success).toBe(true);
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
