/**
 * A fault of any single layer is seen or refused by another one, and by two where two exist. docs/mutation-score.md shows what
 * this test has seen; `UPDATE_DOCS=1` writes it anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { storageDocuments } from '../src/storage/index.ts';
import { mutationOperations } from '../src/storage/testing/index.ts';
import { type Detector, mutationScore, type SchemaMutation } from '../src/testing/index.ts';
import { markdownTable } from '../src/testing/mutation-score.ts';
import { kyselyOf, ORG_A, ORG_B } from './fixture.ts';
import { type Golden, golden } from './golden-schema.ts';
import { jobsFixture } from './jobs-fixture.ts';
import { CODE_LAYERS, scoreCode } from './mutation-score/code-paths.ts';
import { ONE_LAYER } from './mutation-score/one-layer.ts';
import { meetings } from './mutation-score/run-time.ts';
import { DOCUMENT_LAYERS, type Row, scoreDocuments } from './mutation-score/storage-documents.ts';
import { MUTATIONS as ALL } from './mutations/mutations.ts';

const DOC = fileURLToPath(new URL('../../../docs/mutation-score.md', import.meta.url));
/** Those of the newest server: PostgreSQL 18 is what the score is of. */
const MUTATIONS = ALL.filter(({ until }) => until === undefined);
const DETECTORS: readonly Detector[] = ['differences', 'doctor', 'probe'];

let g: Golden;
/** A twin, so that the faults are made in two databases at a time. */
let second: Golden;
beforeAll(async () => {
  g = await golden(inject('databaseUrl'));
  second = await golden(inject('databaseUrl'));
});
afterAll(async () => {
  await g.close();
  await second.close();
});

const documents = storageDocuments({
  bucket: 'acme-objects',
  roleArn: 'arn:aws:iam::111122223333:role/app-objects',
  appArn: 'arn:aws:iam::111122223333:role/app',
  operations: mutationOperations,
});

/** Faults of the database: who sees them, or what refuses them at run time. */
async function scoreDatabase(): Promise<(Row & { readonly crossed: boolean })[]> {
  const halves = [g, second].map(({ superuser, schema }, half) =>
    mutationScore({ owner: superuser, schema, mutations: MUTATIONS.filter((_, at) => at % 2 === half) }),
  );
  const scores = await Promise.all(halves);
  expect(scores.flatMap(({ skipped }) => skipped)).toEqual([]);
  // A check that fails without a fault would see none.
  for (const { before } of scores)
    for (const detector of ['differences', 'probe', 'connection check'] as const)
      expect(before.get(detector)).toEqual([]);
  const byName = new Map(scores.flatMap(({ mutants }) => mutants.map((mutant) => [mutant.name, mutant])));
  const mutants = MUTATIONS.flatMap(({ name }) => byName.get(name) ?? []);
  expect(mutants).toHaveLength(MUTATIONS.length);
  const met = await meetings(g);
  return mutants.map(({ name, layer, caughtBy, crossed }) => ({
    breaks: layer,
    name,
    crossed,
    caughtBy: [
      ...DETECTORS.map((detector) => shortened(caughtBy.get(detector))),
      shortened(caughtBy.get('connection check')) ?? met.get(name),
    ],
  }));
}

function shortened(seen: readonly string[] = []): string | undefined {
  const [first, ...more] = seen;
  return more.length === 0 ? first : `${first} +${more.length}`;
}

async function scoreCodePaths(): Promise<Row[]> {
  const f = await jobsFixture(inject('databaseUrl'));
  const boss = new PgBoss({ connectionString: f.database.ownerUrl, supervise: false, schedule: false });
  boss.on('error', () => {});
  try {
    await boss.start();
    await boss.createQueue('note.add');
    return await scoreCode({ f, boss, documents });
  } finally {
    await boss.stop({ graceful: false });
    await f.close();
  }
}

const idOf = ({ breaks, name }: Row) => `${breaks}: ${name}`;
const catches = ({ caughtBy }: Row) => caughtBy.filter((seen) => seen !== undefined).length;

function tableOf(layers: readonly string[], rows: readonly (Row & { readonly crossed?: boolean })[]): string {
  const crossing = rows.some(({ crossed }) => crossed !== undefined);
  return markdownTable(
    ['breaks', 'fault', ...layers, ...(crossing ? ['row crossed'] : [])],
    rows.map(({ breaks, name, caughtBy, crossed }) => [
      breaks,
      name,
      ...caughtBy.map((seen) => seen ?? '–'),
      ...(crossing ? [crossed === true ? 'yes' : 'no'] : []),
    ]),
  );
}

/** Writes a section when asked to, and compares. */
function same(section: string, text: string): void {
  const page = readFileSync(DOC, 'utf8');
  const [begin, end] = [`<!-- ${section} -->\n`, `\n<!-- end of ${section} -->`];
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(end)];
  expect(page, section).toContain(begin);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, page.slice(0, from) + text + page.slice(to));
  else expect(page.slice(from, to)).toBe(text);
}

test('a fault of one layer is caught by another, and by two where two exist', async () => {
  const [database, code] = await Promise.all([scoreDatabase(), scoreCodePaths()]);
  const storage = scoreDocuments(documents, [ORG_A, ORG_B]);
  const rows: Row[] = [...database, ...code, ...storage];
  expect(rows.length).toBeGreaterThanOrEqual(60);
  expect(rows.filter((row) => catches(row) === 0).map(idOf)).toEqual([]);
  const single = rows.filter((row) => catches(row) === 1).map(idOf);
  const reasons = new Map(
    ONE_LAYER.flatMap(({ faults, reason }) => faults.map((fault) => [fault, reason] as const)),
  );
  expect(single.toSorted()).toEqual([...reasons.keys()].toSorted());
  same('score', scoreText(rows, single));
  same('database', tableOf([...DETECTORS, 'at run time'], database));
  same('code', tableOf(CODE_LAYERS, code));
  same('storage', tableOf(DOCUMENT_LAYERS, storage));
  same(
    'one layer',
    markdownTable(
      ['fault', 'why one layer'],
      single.map((id) => [id, reasons.get(id) ?? '']),
    ),
  );
}, 120_000);

function scoreText(rows: readonly Row[], single: readonly string[]): string {
  const of = (least: number) => rows.filter((row) => catches(row) >= least).length;
  return `**${rows.length} faults, ${of(1)} caught (${Math.floor((100 * of(1)) / rows.length)} %): ${of(2)} by two layers or more, ${single.length} by the only layer there is.**`;
}

test('what cannot be broken is listed with its reason, and nothing is left of what was', async () => {
  const mutations: readonly SchemaMutation[] = [
    { name: 'not forced', layer: 'rls', sql: 'alter table {table} no force row level security;' },
    { name: 'refused', layer: 'rls', sql: 'drop policy absent on {table};' },
    { name: 'superuser', layer: 'roles', as: 'superuser', sql: 'alter role {app} bypassrls;' },
    { name: 'no such kind', layer: 'keys', sql: 'select {narrow};' },
  ];
  const schema = {
    ...g.schema,
    org: new Map([...g.schema.org].filter(([, { privileges }]) => privileges.length === 4)),
  };
  await sql
    .raw(
      `grant ${g.database.app} to ${g.database.owner}; grant temporary on database ${new URL(g.database.ownerUrl).pathname.slice(1)} to ${g.database.owner}`,
    )
    .execute(g.superuser);
  const owner = kyselyOf<unknown>(g.database.ownerUrl, 1);
  const score = await mutationScore({ owner, schema, mutations });
  await owner.destroy();
  expect(score.skipped).toEqual([
    { name: 'refused', reason: 'PostgreSQL refuses it: 42704' },
    { name: 'superuser', reason: 'takes a superuser' },
    { name: 'no such kind', reason: 'the schema has no such relation' },
  ]);
  expect(score.mutants.map(({ caughtBy }) => [...caughtBy.keys()])).toEqual([['differences', 'doctor']]);
  expect(score.before.get('differences')).toContain('unclassified app.reading');
  expect(score.table).toContain('| rls | not forced | row_security | rls-not-forced | – | no |');
  const again = await mutationScore({ owner: g.superuser, schema: g.schema, mutations: [] });
  expect(again.before.get('differences')).toEqual([]);
});

test('a mutation that names what no schema has is a mistake', async () => {
  const mutations: readonly SchemaMutation[] = [{ name: 'odd', layer: 'rls', sql: 'drop table {nothing};' }];
  await expect(mutationScore({ owner: g.superuser, schema: g.schema, mutations })).rejects.toThrow(TypeError);
});
