/**
 * docs/policies.md is true: its declaration compiles to the SQL it shows, and the steps it lists are those of its tables.
 * `UPDATE_DOCS=1` writes them anew.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { tenancyMigrations } from '../src/migrations/index.ts';
import {
  applyMigration,
  checked,
  migrationSteps,
  policySql,
  readCatalog,
  type TenancySchema,
} from '../src/policies/index.ts';
import { kyselyOf } from './fixture.ts';

const DOC = fileURLToPath(new URL('../../../docs/policies.md', import.meta.url));
const BLOCK = /```(ts|sql)\n([\s\S]*?)```/g;
const TABLE = /\| # \| relation[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)*)/;

function blocks(language: string): string[] {
  return [...readFileSync(DOC, 'utf8').matchAll(BLOCK)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? '');
}

/** Writes what is true when asked to, and compares. */
function same(shown: string, real: string): void {
  if (process.env['UPDATE_DOCS'] === '1')
    writeFileSync(
      DOC,
      readFileSync(DOC, 'utf8').replace(shown, () => real),
    );
  else expect(shown).toBe(real);
}

/** The declaration of the guide, as it stands there. */
async function declared(): Promise<TenancySchema> {
  const file = new URL('./policies-guide.tmp.ts', import.meta.url);
  writeFileSync(
    file,
    (blocks('ts')[0] ?? '')
      .replace('<Database>', '')
      .replace('@ringfence/tenancy/policies', '../src/policies/index.ts'),
  );
  try {
    return ((await import(file.href)) as { schema: TenancySchema }).schema;
  } finally {
    rmSync(file);
  }
}

test('the SQL it shows is what its declaration generates', async () => {
  same(blocks('sql')[0] ?? '', policySql(await declared()));
});

test('the steps it lists are those of its tables, and lead there', async () => {
  const { appRole: _, ...rest } = await declared();
  const database = await createTestDatabase(inject('databaseUrl'), 'guide');
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const schema = checked({
    appRole: database.app,
    org: Object.fromEntries(rest.org),
    global: Object.fromEntries(rest.global),
    system: Object.fromEntries(rest.system),
  });
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true }))
    await sql.raw(up).execute(owner);
  await sql.raw(`create schema app; ${blocks('sql')[1]}`).execute(owner);
  const backfill = /backfill: (\{[\s\S]*?\}),\n {2}onStep/.exec(blocks('ts').join(''))?.[1] ?? '';
  const entries = [...backfill.matchAll(/'([^']+)': '([^']+)'/g)].map(
    (match) => [match[1], match[2]] as [string, string],
  );
  const options = { backfill: Object.fromEntries(entries) };
  const steps = migrationSteps(schema, await readCatalog(owner), options);
  const rows = steps.map(({ relation, why, lock }, index) => {
    const held = lock.mode === 'none' ? 'none' : `${lock.mode}, ${lock.duration}`;
    return `| ${index + 1} | ${relation.replace(database.app, 'app')} | ${why} | ${held} |\n`;
  });
  const shown = TABLE.exec(readFileSync(DOC, 'utf8'));
  same(shown?.[0] ?? '', `${shown?.[0].slice(0, shown[0].length - (shown[1] ?? '').length)}${rows.join('')}`);
  expect(await applyMigration(owner, schema, options)).toEqual([]);
  await owner.destroy();
  await database.drop();
});
