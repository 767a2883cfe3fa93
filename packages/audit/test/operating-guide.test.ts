/**
 * The restore drill of docs/audit-operating.md, played as it stands there: a database with the migrations and nothing else,
 * the commands of the page, and what they print, to the byte but for hashes and names of this run.
 */
// #region restore_imports
import { restoreLog } from '@ringfence/audit/write-once';
// #endregion

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fencesOf, snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { createAudit, type OrgId } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { createPersonalAudit } from '../src/personal/index.ts';
import { createWriteOnceCopy, directoryStore } from '../src/write-once/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { type CopyFixture, copyFixture } from './copy-fixture.ts';
import { kyselyOf, type Tables } from './fixture.ts';
import { personalEvents, TestSubjectSealer } from './personal-fixture.ts';

const PAGE = new URL('../../../docs/audit-operating.md', import.meta.url);
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'audit-drill-'));
let f: CopyFixture;
let empty: TestDatabase;
let org: OrgId;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  org = await f.signed(3);
  const audit = createAudit({ events: personalEvents, db: f.app });
  const personal = createPersonalAudit({ events: personalEvents, audit, subjects: new TestSubjectSealer() });
  const invitation = await personal.prepare(org, 'member.invited', {
    ...{ subject: 'u-1', target: 'm-1', outcome: 'success', data: { email: 'a@b.example', role: 'auditor' } },
  });
  await f.append(org, invitation);
  await f.grow(org, 3);
  writeFileSync(join(folder, 'witness.note'), (await f.checkpointer.checkpoint(org))?.note ?? '');
  mkdirSync(join(folder, 'copy'));
  const store = directoryStore({ root: join(folder, 'copy') });
  await createWriteOnceCopy({ db: f.copying, store, origin: ORIGIN, keys: [f.keyLine] }).copy(org);
  await f.grow(org, 3);
  writeFileSync(join(folder, 'farther.note'), (await f.checkpointer.checkpoint(org))?.note ?? '');
  empty = await createTestDatabase(inject('databaseUrl'), 'drill');
  const owner = kyselyOf<Tables>(empty.ownerUrl, 1);
  const { app: appRole, checkpointer: checkpointerRole, copier: copierRole } = empty;
  for (const { up } of auditMigrations({ appRole, checkpointerRole, copierRole }))
    await sql.raw(up).execute(owner);
  await owner.destroy();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await empty?.drop();
  await f?.close();
});

async function run(command: string, names: Readonly<Record<string, string>>): Promise<string> {
  const [npx, program, ...args] = command.replaceAll(/<[a-z ]+>/g, (name) => names[name] ?? name).split(' ');
  expect([npx, program]).toEqual(['npx', '@ringfence/audit']);
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', MAIN, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'] },
  });
  return (await Promise.all([text(child.stderr), text(child.stdout)])).join('');
}

test('the drill goes as the page says', { timeout: 120_000 }, async () => {
  const names = {
    ...{ '<organisation>': org, '<verifier key>': f.keyLine },
    // The owner sees no rows of organisations, by design; who verifies a drill reads as the copier.
    ...{ '<owner>': empty.ownerUrl, '<checkpointer>': empty.checkpointerUrl, '<copier>': empty.copierUrl },
  };
  const blocks = fencesOf(readFileSync(PAGE, 'utf8')).filter(({ language }) => language === 'console');
  expect(blocks).toHaveLength(3);
  for (const { code } of blocks) {
    const command = /^\$ (.+)$/m.exec(code)?.[1] ?? '';
    const printed = (await run(command, names)).replaceAll(/[0-9a-f]{64}/g, '<hash>');
    expect(`$ ${command}\n${printed}`).toBe(code);
  }
});

test('the same from a program', async () => {
  const [db, checkpoints] = [empty.ownerUrl, empty.checkpointerUrl].map((url) => kyselyOf<Tables>(url, 2));
  if (db === undefined || checkpoints === undefined) throw new Error('no database');
  const store = directoryStore({ root: join(folder, 'copy') });
  const keys = [f.keyLine];
  const origin = ORIGIN;
  const noteOfTheWitness = readFileSync(join(folder, 'farther.note'), 'utf8');
  const alarms: unknown[] = [];
  const alarm = (...what: unknown[]) => alarms.push(what);
  // #region restore
  const report = await restoreLog({
    db,
    checkpoints,
    store,
    org,
    origin,
    keys,
    keptNotes: [noteOfTheWitness],
  });
  if (report.lostEvents > 0) alarm('audit restore', report);
  // #endregion
  await Promise.all([db.destroy(), checkpoints.destroy()]);
  expect(alarms).toMatchObject([['audit restore', { lostEvents: 3, head: { seq: 7 } }]]);
});

test('every block of TypeScript in the guide is code of a test', () => {
  expect(
    snippetDrift(PAGE, [new URL(import.meta.url), new URL('./otel-lag.test.ts', import.meta.url)]),
  ).toEqual([]);
});
