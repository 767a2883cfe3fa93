/**
 * The transcripts of docs/tenancy-cli.md are real: every command in them is run on a database where somebody took FORCE off a table,
 * and must print what stands there. `UPDATE_DOCS=1` writes them anew.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { onlyFence } from '../../../tools/doc-snippets.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { orgTablePolicy } from '../src/policies/index.ts';
import { kyselyOf } from './fixture.ts';

const PAGE = fileURLToPath(new URL('../../../docs/tenancy-cli.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'transcript');
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true }))
    await sql.raw(up).execute(owner);
  await installContextKey(owner, { id: 'k1', secret: new Uint8Array(randomBytes(32)) });
  await sql
    .raw(`create schema app; grant usage on schema app to ${database.app};
      create table app.note (org_id uuid, id text, body text, primary key (org_id, id));
      ${orgTablePolicy({ table: 'app.note', appRole: database.app })};
      alter table app.note no force row level security`)
    .execute(owner);
  await owner.destroy();
  folder = mkdtempSync(join(tmpdir(), 'tenancy-transcripts-'));
  // Below a package, so that the configuration of the page finds its imports.
  const config = onlyFence(readFileSync(PAGE, 'utf8'), 'ts').replace(
    "appRole: 'app'",
    `appRole: '${database.app}'`,
  );
  writeFileSync(new URL('./cli-transcripts.tmp.ts', import.meta.url), config);
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  rmSync(new URL('./cli-transcripts.tmp.ts', import.meta.url));
  await database.drop();
});

/** Runs a command; `| head -n 8` behind it shows its first lines. */
function run(line: string): string {
  const [, command = '', lines] = /^(.*?)(?: \| head -n (\d+))?$/.exec(line) ?? [];
  const config = fileURLToPath(new URL('./cli-transcripts.tmp.ts', import.meta.url));
  const { stderr, stdout } = spawnSync(
    process.execPath,
    [
      ...['--conditions=@ringfence/source', MAIN, ...command.split(' ').slice(2)],
      ...(command.includes(' migrate ') ? [] : ['--config', config]),
    ],
    {
      encoding: 'utf8',
      cwd: folder,
      env: { PATH: process.env['PATH'], OWNER_URL: database.superuserUrl },
    },
  );
  const printed = (stderr + stdout).replaceAll(database.app, 'app');
  return lines === undefined ? printed : printed.split('\n').slice(0, Number(lines)).join('\n').concat('\n');
}

/** What differs from run to run, replaced by what does not. */
const steady = (text: string) => text.replaceAll(/\b\d+ ms\b/g, '<some> ms');

test('the transcripts in docs/tenancy-cli.md are what the commands print', { timeout: 120_000 }, () => {
  const doc = readFileSync(PAGE, 'utf8');
  const parts = doc.split(/(?<=^```console\n)([^`]*)(?=^```$)/m);
  const printed = parts.map((part, k) => {
    if (k % 2 === 0) return part;
    return [...part.matchAll(/^\$ .*$/gm)].map(([line]) => `${line}\n${run(line.slice(2))}`).join('');
  });
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, printed.join(''));
  else expect(steady(printed.join(''))).toBe(steady(doc));
  expect(parts).toHaveLength(13);
});
