/** The guide docs/audit-write-once.md, run against a server on loopback; its commands too. */
// #region imports
import { auditMigrations } from '@ringfence/audit/migrations';
import { lockedBucket } from '@ringfence/audit/s3';
import { createWriteOnceCopy, verifyWriteOnceCopy } from '@ringfence/audit/write-once';
// #endregion

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { directoryStore } from '../src/write-once/index.ts';
import { type CopyFixture, CREDENTIALS, copyFixture } from './copy-fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

const PAGE = new URL('../../../docs/audit-write-once.md', import.meta.url);
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'audit-guide-'));
let f: CopyFixture;
let server: LoopbackS3;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  server = await loopbackS3();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await server.close();
  await f.close();
});

function run(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', MAIN, ...args], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
  });
  const result = { out: '', err: '' };
  child.stdout.on('data', (chunk) => {
    result.out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    result.err += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...result }));
  });
}

test('the guide does what it says', { timeout: 60_000 }, async () => {
  const org = await f.signed(2, 5);
  const s3 = {
    endpoint: server.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: CREDENTIALS,
  };
  const db = f.copying;
  const keys = [f.keyLine];
  const ending = new AbortController();
  const { signal } = ending;
  const alarms: unknown[] = [];
  const alarm = (...what: unknown[]) => {
    alarms.push(what);
    ending.abort();
  };
  const gauges: [string, number][] = [];
  const gauge = (name: string, value: number) => gauges.push([name, value]);
  const noteOfLastMonth = (await f.checkpointer.newest(org))?.note ?? '';

  // #region roles
  const migrations = auditMigrations({
    appRole: 'ledger_app',
    checkpointerRole: 'ledger_checkpointer',
    copierRole: 'ledger_copier',
  });
  // #endregion
  expect(migrations[0]?.up).toContain('grant insert on audit.copy to "ledger_copier"');

  // #region copy
  const store = lockedBucket({ s3, bucket: 'audit-copy', prefix: 'ledger', mode: 'compliance' });
  const copy = createWriteOnceCopy({ db, store, origin: 'ledger.example/audit', keys });
  const running = copy.run({ signal, onError: (error, org) => alarm('audit copy', { error, org }) });
  // #endregion
  await expect.poll(async () => (await copy.lag()).checkpoints, { timeout: 20_000 }).toBe(0);
  ending.abort();
  await running;

  // #region lag
  const { oldestMs, events } = await copy.lag();
  gauge('audit_copy_oldest_seconds', oldestMs / 1000);
  gauge('audit_copy_events_behind', events);
  // #endregion
  expect(gauges).toEqual([
    ['audit_copy_oldest_seconds', 0],
    ['audit_copy_events_behind', 0],
  ]);

  // #region verify
  const report = await verifyWriteOnceCopy({
    store,
    org,
    origin: 'ledger.example/audit',
    keys,
    keptNotes: [noteOfLastMonth],
    db,
  });
  if (!report.ok) alarm('audit copy', report.findings);
  // #endregion
  expect(report).toMatchObject({ ok: true, signed: 5 });
  expect(alarms).toEqual([]);

  writeFileSync(join(folder, 'kept.note'), noteOfLastMonth);
  const common = ['--org', org, '--origin', 'ledger.example/audit', '--key', f.keyLine];
  const bucket = ['verify', '--bucket', 's3://audit-copy/ledger', '--endpoint', server.endpoint, ...common];
  const ok = await run(...bucket, '--note', 'kept.note', '--database', f.database.queueUrl);
  expect(ok).toEqual({
    code: 0,
    out: `ok: 6 objects, 5 links, 0 findings\nsigned up to 5, head 5:${report.head.hash}\n`,
    err: '',
  });
  server.objects.delete([...server.objects.keys()].find((key) => key.includes('segments')) ?? '');
  const broken = await run(...bucket, '--json');
  expect([broken.code, JSON.parse(broken.out).findings[0].class]).toEqual([1, 'gap']);
  server.fault = ({ response }) => {
    response.writeHead(503).end();
    return true;
  };
  const down = await run(...bucket);
  expect([down.code, down.err]).toEqual([2, expect.stringContaining('audit.copy_unavailable')]);

  const local = directoryStore({ root: folder });
  await createWriteOnceCopy({ db, store: local, origin: 'ledger.example/audit', keys }).copy(org);
  const alone = await run('verify', '--directory', '.', ...common);
  expect([alone.code, alone.out]).toEqual([0, expect.stringContaining('neither a kept note')]);
  const wrong = await run('verify', '--directory', '.', '--org', org);
  expect([wrong.code, wrong.err]).toEqual([
    2,
    'cli.usage: a copy is verified with --org, --origin and --key (--help shows how)\n',
  ]);
});

test('every block of TypeScript in the guide is code of this test', () => {
  expect(snippetDrift(PAGE, [new URL(import.meta.url)])).toEqual([]);
});
