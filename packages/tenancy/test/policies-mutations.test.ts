import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Difference, differences, migrationSteps, readCatalog } from '../src/policies/index.ts';
import { type MutationTarget, mutationSql, mutationTarget } from '../src/testing/mutations/mutation.ts';
import { kyselyOf } from './fixture.ts';
import { DECIDED, MENDED } from './policies-mutations.ts';
import { type GoldenDatabase, goldenDatabase, summary } from './policies-setup.ts';

let golden: GoldenDatabase;
let superuser: Kysely<unknown>;
let target: MutationTarget;
beforeAll(async () => {
  golden = await goldenDatabase(inject('databaseUrl'));
  superuser = kyselyOf(golden.database.superuserUrl, 1);
  target = mutationTarget(golden.schema, await readCatalog(superuser));
});
afterAll(async () => {
  await superuser.destroy();
  await golden.close();
});

interface Seen {
  readonly found: readonly Difference[];
  /** What is left when every step has run. */
  readonly left: readonly Difference[];
}

/** Mutates the golden schema in a transaction that is rolled back, looks, mends, and looks again. */
async function mutate(statements: string): Promise<Seen> {
  const { app, owner } = golden.database;
  const trx = await superuser.startTransaction().execute();
  try {
    await sql.raw(`set local role ${owner}`).execute(trx);
    const whole = mutationSql({ name: statements, layer: 'rls', sql: statements }, target) ?? '';
    const named = whole
      .replaceAll('APP', app)
      .replaceAll('OWNER', owner)
      .replaceAll('DATABASE', owner.replace('owner_', 'rf_'));
    await sql.raw(named).execute(trx);
    const catalog = await readCatalog(trx);
    const found = differences(golden.schema, catalog);
    const blocked = found.some(
      ({ kind, mend }) => mend.length === 0 && /missing|kind|org_column|context_function/.test(kind),
    );
    if (blocked) return { found, left: found };
    await sql.raw('reset role; set local search_path = pg_catalog').execute(trx);
    // PostgreSQL refuses the concurrent forms in a transaction; what they build is the same.
    for (const step of migrationSteps(golden.schema, catalog))
      await sql.raw(step.sql.replaceAll(' concurrently', '')).execute(trx);
    return { found, left: differences(golden.schema, await readCatalog(trx)) };
  } finally {
    await trx.rollback().execute();
  }
}

function named(expected: readonly string[]): string[] {
  const { app, owner } = golden.database;
  return expected
    .map((one) =>
      one
        .replaceAll('APP', app)
        .replaceAll('OWNER', owner)
        .replaceAll('DATABASE', owner.replace('owner_', 'rf_')),
    )
    .sort();
}

describe('a mutation that steps mend', () => {
  test.each(MENDED)('%s', async (_, statements, ...expected) => {
    const { found, left } = await mutate(statements);
    expect([...new Set(summary(found))]).toEqual(named(expected));
    expect(left).toEqual([]);
  });
});

describe('a mutation that a person has to decide', () => {
  test.each(DECIDED)('%s', async (_, statements, ...expected) => {
    const { found, left } = await mutate(statements);
    expect([...new Set(summary(found))]).toEqual(named(expected));
    expect(left.length).toBeGreaterThan(0);
  });
});
