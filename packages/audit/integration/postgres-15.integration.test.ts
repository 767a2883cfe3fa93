/** The oldest PostgreSQL supported: appending, sealing, guards, erasure, capture and queries, by the tests that the newest runs. */
import { expect, test } from 'vitest';
import { testsOnPostgres15 } from '../../../tools/postgres-15.ts';

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

test('the tests of the log pass on PostgreSQL 15', { timeout: 900_000 }, async () => {
  const { testResults, numPassedTests, numTotalTests } = await testsOnPostgres15(FILES);
  expect(testResults.filter(({ status }) => status !== 'passed')).toEqual([]);
  expect(testResults).toHaveLength(FILES.length);
  expect(numPassedTests).toBe(numTotalTests);
});
