import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type GoldenDatabase, goldenDatabase } from './policies-setup.ts';

describe('a fresh schema with the generated SQL', () => {
  let golden: GoldenDatabase;
  beforeAll(async () => {
    golden = await goldenDatabase(inject('databaseUrl'));
  });
  afterAll(() => golden.close());

  test('has no differences', async () => {
    expect(await golden.found()).toEqual([]);
  });
});
