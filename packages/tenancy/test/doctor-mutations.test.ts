import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type DoctorReport, type Finding, runDoctor } from '../src/doctor/index.ts';
import { RULES } from '../src/doctor/rules.ts';
import { readCatalog } from '../src/policies/index.ts';
import { type MutationTarget, mutationSql, mutationTarget } from '../src/testing/mutations/mutation.ts';
import { type Golden, golden } from './golden-schema.ts';
import type { Mutation } from './mutations/mutation.ts';
import { MUTATIONS } from './mutations/mutations.ts';

let g: Golden;
let target: MutationTarget;
let serverVersion: number;
/** Notes the golden schema itself has. */
const ALWAYS = ['activity-readable', 'volumes-readable'];

beforeAll(async () => {
  g = await golden(inject('databaseUrl'));
  const catalog = await readCatalog(g.owner);
  serverVersion = catalog.serverVersion;
  target = mutationTarget(g.schema, catalog);
});
afterAll(() => g.close());

/** True when the server is too old to have the fault, or too new. */
const isUnknown = ({ since = 0, until = 99 }: Mutation) =>
  serverVersion < since * 10_000 || serverVersion >= (until + 1) * 10_000;

/** Runs with a mutation in the database, which is rolled back. */
async function withMutation<T>(mutation: Mutation, run: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
  const trx = await (mutation.as === 'superuser' ? g.superuser : g.owner).startTransaction().execute();
  try {
    await sql.raw(mutationSql(mutation, target) ?? '').execute(trx);
    return await run(trx);
  } finally {
    await trx.rollback().execute();
  }
}

function fired(report: DoctorReport): string[] {
  return [...new Set(report.findings.map(({ name }) => name))]
    .filter((name) => !ALWAYS.includes(name))
    .sort();
}

describe('a fault in the schema is seen by the rules made for it, and by no others', () => {
  test.for(MUTATIONS.map((mutation) => [mutation.name, mutation] as const))(
    '%s',
    async ([, mutation], { skip }) => {
      if (isUnknown(mutation)) skip();
      const report = await withMutation(mutation, (db) => runDoctor({ db, schema: g.schema }));
      expect(fired(report)).toEqual([...mutation.rules].sort());
    },
  );
});

/** Rules a fault in a schema cannot break, and where they are tested. */
const ELSEWHERE = [
  'server-unsupported',
  'server-vulnerable',
  'plan-without-org-index',
  'plan-filters-by-function',
  ...ALWAYS,
];

test('every rule has a fault that it sees', () => {
  const seen = new Set([...MUTATIONS.flatMap(({ rules }) => rules), ...ELSEWHERE]);
  expect(RULES.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([]);
});

const isSql = ({ remedy }: Finding) => !remedy.startsWith('--') && !remedy.includes('concurrently');

/** Applies remedies until none is left, or as often as one may have to wait for another. */
async function heal(db: Kysely<unknown>): Promise<readonly string[]> {
  for (let pass = 1; ; pass++) {
    const { findings } = await runDoctor({ db, schema: g.schema });
    const left = findings.filter(isSql);
    if (left.length === 0 || pass === 4)
      return left.map(({ name, object, remedy }) => `${name} ${object}: ${remedy}`);
    for (const { remedy } of left) {
      await sql`savepoint remedy`.execute(db);
      await sql
        .raw(remedy)
        .execute(db)
        .catch(() => sql`rollback to remedy`.execute(db));
    }
  }
}

describe('the remedies of the report mend what it found', () => {
  test.for(MUTATIONS.map((mutation) => [mutation.name, mutation] as const))(
    '%s',
    async ([, mutation], { skip }) => {
      if (isUnknown(mutation)) skip();
      const asSuperuser = { ...mutation, as: 'superuser' } as const;
      expect(await withMutation(asSuperuser, heal)).toEqual([]);
    },
  );
});
