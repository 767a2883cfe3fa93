/** The oldest PostgreSQL supported: the doctor, its faults, the comparison and what they read, by the tests that the newest runs. */
import { expect, test } from 'vitest';
import { testsOnPostgres15 } from '../../../tools/postgres-15.ts';

const FILES = ['doctor', 'doctor-mutations', 'policies-golden', 'policies-mutations', 'sql-functions'].map(
  (name) => `packages/tenancy/test/${name}.test.ts`,
);

/** Faults made of what PostgreSQL 15 does not know. */
const NEWER = ['maintain granted', 'org_id not null, not validated'];

test('the tests of the doctor pass on PostgreSQL 15', { timeout: 600_000 }, async () => {
  const { testResults, numPassedTests, numTotalTests } = await testsOnPostgres15(FILES);
  expect(testResults.filter(({ status }) => status !== 'passed').map(({ name }) => name)).toEqual([]);
  expect(testResults).toHaveLength(FILES.length);
  const skipped = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status !== 'passed').map(({ title }) => title),
  );
  expect([...new Set(skipped)].sort()).toEqual(NEWER);
  expect(numPassedTests).toBe(numTotalTests - skipped.length);
});
