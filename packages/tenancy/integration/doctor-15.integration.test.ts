/** The oldest PostgreSQL supported: the doctor, its faults, the comparison and what they read, by the tests that the newest runs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { startPostgres15 } from './postgres-15.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FILES = ['doctor', 'doctor-mutations', 'policies-golden', 'policies-mutations', 'sql-functions'].map(
  (name) => `packages/tenancy/test/${name}.test.ts`,
);

interface Results {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

/** Faults made of what PostgreSQL 15 does not know. */
const NEWER = ['maintain granted', 'org_id not null, not validated'];

test('the tests of the doctor pass on PostgreSQL 15', { timeout: 600_000 }, async () => {
  const server = await startPostgres15();
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-doctor-15-'));
  try {
    const report = join(folder, 'report.json');
    const args = ['node_modules/vitest/vitest.mjs', 'run', ...FILES, '--typecheck.enabled=false'];
    const child = spawn(process.execPath, [...args, '--reporter=json', `--outputFile=${report}`], {
      cwd: ROOT,
      env: { ...process.env, DATABASE_URL: server.url },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    await once(child, 'exit');
    const { testResults, numTotalTests, numPassedTests } = JSON.parse(
      readFileSync(report, 'utf8'),
    ) as Results;
    expect(testResults.filter(({ status }) => status !== 'passed').map(({ name }) => name)).toEqual([]);
    expect(testResults).toHaveLength(FILES.length);
    const skipped = testResults.flatMap(({ assertionResults }) =>
      assertionResults.filter(({ status }) => status !== 'passed').map(({ title }) => title),
    );
    expect([...new Set(skipped)].sort()).toEqual(NEWER);
    expect(numPassedTests).toBe(numTotalTests - skipped.length);
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
