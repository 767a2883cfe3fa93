/**
 * The transcripts of docs/crypto-cli.md are real: every command in them is run, in order, and must print what stands there.
 * Ids, times and digests differ from run to run. `UPDATE_DOCS=1` writes them anew.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { createKeyring, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { anyOrg, type KeyDatabase, keyDatabase } from './operations-setup.ts';

const DOC = fileURLToPath(new URL('../../../docs/crypto-cli.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const CONFIG = fileURLToPath(new URL('./cli-config.ts', import.meta.url));
const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const KEKS = { a: randomBytes(32), b: randomBytes(32) };
let database: KeyDatabase;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'transcripts');
  const kms = [localKms({ keks: KEKS })];
  const keyring = createKeyring({ app: 'test', kms, store: database.store, kekFor: () => 'local:a' });
  for (const org of [ORG, anyOrg(), anyOrg()]) await keyring.createOrg(org);
  await keyring.close();
});

afterAll(() => database.close());

function run(command: string): string {
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  const child = spawnSync(
    process.execPath,
    ['--conditions=@ringfence/source', MAIN, ...args.slice(2), '--config', CONFIG],
    {
      encoding: 'utf8',
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: database.ownerUrl,
        KEK_A: KEKS.a.toString('hex'),
        KEK_B: KEKS.b.toString('hex'),
      },
    },
  );
  return child.stderr + child.stdout;
}

/** What differs from run to run, replaced by what does not. */
const steady = (text: string) =>
  text
    .replace(/\b[0-9a-f]{64}\b/g, '<digest>')
    .replace(/\b[0-9a-f]{32}\b/g, '<key id>')
    .replace(/^(\d+\/\d+ organisations), \d+ versions/gm, '$1, <some> versions') // eight at a time
    .replace(/\d{4}-\d{2}-\d{2}T[\d:.]+Z/g, '<time>');

/** Versions become old enough to be retired. */
async function age(): Promise<void> {
  await sql`alter table crypto.dek_version disable trigger user`.execute(database.db);
  await sql`update crypto.dek_version set created_at = created_at - interval '1 day'`.execute(database.db);
  await sql`alter table crypto.dek_version enable trigger user`.execute(database.db);
}

it('the transcripts in docs/crypto-cli.md are what the commands print', { timeout: 120_000 }, async () => {
  const doc = readFileSync(DOC, 'utf8');
  const parts = doc.split(/(?<=^```console\n)([^`]*)(?=^```$)/m);
  const printed: string[] = [];
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 0) {
      printed.push(part);
      continue;
    }
    let block = '';
    for (const [line] of part.matchAll(/^\$ .*$/gm)) {
      if (line.includes('verify-retired')) await age();
      block += `${line}\n${run(line.slice(2))}`;
    }
    printed.push(block);
  }
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, printed.join(''));
  else expect(steady(printed.join(''))).toBe(steady(doc));
  expect(parts.length).toBeGreaterThan(9);
});
