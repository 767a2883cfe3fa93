/**
 * The oldest PostgreSQL supported, Debian's, and the tests that run on the newest, run on it. A missing one fails with the command
 * that installs it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type EmbeddedServer, startEmbedded } from './postgres.ts';

const BINARIES = '/usr/lib/postgresql/15/bin';
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Starts the server. */
export async function startPostgres15(): Promise<EmbeddedServer> {
  if (!existsSync(join(BINARIES, 'postgres')))
    throw new Error('PostgreSQL 15 is missing: apt-get install -y --no-install-recommends postgresql-15');
  return await startEmbedded({ binaries: BINARIES, settings: { fsync: 'off' } });
}

/** What became of test files. */
export interface TestResults {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

/** Runs test files, named from the root, on a server of this version. */
export async function testsOnPostgres15(files: readonly string[]): Promise<TestResults> {
  const server = await startPostgres15();
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-tests-15-'));
  try {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rows } = await client.query('show server_version_num');
    await client.end();
    const version = Number(rows[0]?.server_version_num);
    if (Math.trunc(version / 10_000) !== 15) throw new Error(`this is PostgreSQL ${version}`);

    const report = join(folder, 'report.json');
    const args = ['node_modules/vitest/vitest.mjs', 'run', ...files, '--typecheck.enabled=false'];
    const child = spawn(process.execPath, [...args, '--reporter=json', `--outputFile=${report}`], {
      cwd: ROOT,
      env: { ...process.env, DATABASE_URL: server.url },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await once(child, 'exit');
    return JSON.parse(readFileSync(report, 'utf8')) as TestResults;
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
