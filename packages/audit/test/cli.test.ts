/** The command line, run as a program of its own: on exports, on a database, and used wrongly. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { runCli } from '../src/cli/run-cli.ts';
import { exportOf, headAt, honest } from './export-corpus.ts';
import { type Fixture, fixture, ORG_A } from './fixture.ts';

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'audit-cli-'));
let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await f.close();
});

function run(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', MAIN, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'] },
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

test('verifies an export, with and without a kept head', async () => {
  const log = honest();
  const { seq, hash } = headAt(log, 14);
  writeFileSync(join(folder, 'a.ndjson'), exportOf(log));
  writeFileSync(join(folder, 'cut.ndjson'), exportOf(log.slice(0, 9)));
  const ok = await run('verify', 'a.ndjson', '--head', `14:${hash}`);
  expect(ok).toEqual({ code: 0, out: `ok: 14 links, 0 findings\nhead ${seq}:${hash}\n`, err: '' });
  const alone = await run('verify', 'cut.ndjson');
  expect([alone.code, alone.out]).toEqual([0, expect.stringContaining('no kept head was given')]);
  const cut = await run('verify', 'cut.ndjson', '--head', `14:${hash}`);
  expect([cut.code, cut.out]).toEqual([
    1,
    `cut 10: the last 5 links up to the kept head are gone\nNOT OK: 9 links, 1 findings\nhead 9:${headAt(log, 9).hash}\n`,
  ]);
  const json = await run('verify', 'cut.ndjson', '--head', `14:${hash}`, '--json');
  expect([json.code, JSON.parse(json.out).findings[0].class]).toEqual([1, 'cut']);
});

test('verifies a chain in its database', async () => {
  const { hash } = await f.append(ORG_A, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  const args = ['verify', '--database', f.database.superuserUrl, '--org', ORG_A];
  expect(await run(...args, '--head', `1:${hash}`)).toMatchObject({ code: 0, err: '' });
  expect(await run(...args, '--head', `2:${hash}`)).toMatchObject({ code: 1 });
});

test('says what is wrong in one line, with exit code 2', async () => {
  for (const args of [
    [],
    ['nothing'],
    ['verify'],
    ['verify', 'a', '--head', '1:x'],
    ['verify', 'absent.ndjson', '--json'],
  ]) {
    const { code, out, err } = await told(...args);
    expect([code, err.split('\n').length], args.join(' ')).toEqual([2, 2]);
    if (args.includes('--json')) expect(JSON.parse(out)).toMatchObject({ error: { code: 'cli.file' } });
  }
  const nobody = await run('verify', '--database', 'postgres://u:secret@127.0.0.1:1/x', '--org', ORG_A);
  expect(nobody).toMatchObject({ code: 2, out: '' });
  expect(nobody.err).toMatch(/^cli\.database: no connection to the database: .*ECONNREFUSED/);
  expect(nobody.err).not.toContain('secret');
});

/** In this process: what is only about words needs no program. */
async function told(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { out: '', err: '' };
  const into = (name: 'out' | 'err') =>
    new Writable({
      write: (chunk, _, done) => {
        result[name] += chunk;
        done();
      },
    });
  const code = await runCli(args, { directory: folder, stdout: into('out'), stderr: into('err') });
  return { code, ...result };
}

test('help is of one command, or of all; a wrong name is answered with the right ones', async () => {
  const all = await told('--help');
  for (const name of ['verify', 'doctor', 'witness', 'restore']) {
    const { code, out } = await told(name, '--help');
    expect([code, all.out.includes(out.split('\n')[2] ?? '')]).toEqual([0, true]);
    expect(out.match(/^ {2}\w+ --/gm)?.every((line) => line === `  ${name} --`)).toBe(true);
  }
  expect(await told('verfy')).toMatchObject({
    ...{
      code: 2,
      err: 'cli.usage: no such command: verfy; there are verify, doctor, migrate, witness, restore (--help shows how)\n',
    },
  });
  expect(await told('witness', '--name', 'w.example')).toMatchObject({
    ...{ code: 2, err: 'cli.usage: witness needs --name, --directory and --log (--help shows how)\n' },
  });
});

test('a doctor that is told of roles which no migration has says so, and asks no database', async () => {
  const nowhere = ['--database', 'postgres://nobody@127.0.0.1:1/none', '--app-role', 'a'];
  for (const role of ['--owner-role', '--auditor-role', '--checkpointer-role', '--copier-role']) {
    const { code, err } = await told('doctor', ...nowhere, role, 'a');
    expect([code, err]).toEqual([
      2,
      expect.stringMatching(/^cli.usage: the roles of app, owner and retention are for/),
    ]);
  }
  expect(await told('doctor', ...nowhere, '--owner-role', 'b')).toMatchObject({
    err: expect.stringMatching(/^cli.database: /),
  });
});

test.each([
  [[], 'a log is restored with --org, --origin and --key'],
  [
    ['--org', ORG_A, '--origin', 'o', '--key', 'k'],
    'restore needs --database (the owner) and --checkpointer',
  ],
  [
    ['--org', ORG_A, '--origin', 'o', '--key', 'k', '--database', 'd', '--checkpointer', 'c'],
    'a copy is either in --bucket or in --directory',
  ],
])('a restore without what it needs says so: %j', async (args, problem) => {
  expect(await told('restore', ...args)).toMatchObject({
    code: 2,
    err: `cli.usage: ${problem} (--help shows how)\n`,
  });
});

test('a copy in a directory that is not there is no empty copy, and a file that is not there is named', async () => {
  const key = 'ledger.example/audit+76193762+AWoVsrbNBhAhN8hsv7SqPVQnKlw+uJvvWwDSqZXoiGfU';
  const log = ['--org', ORG_A, '--origin', 'o', '--key', key, '--directory', 'mistyped'];
  for (const args of [
    ['verify', ...log],
    [
      'restore',
      ...log,
      '--database',
      'postgres://x@127.0.0.1:1/x',
      '--checkpointer',
      'postgres://x@127.0.0.1:1/x',
    ],
  ]) {
    const { code, err } = await told(...args);
    expect([code, err]).toEqual([
      2,
      expect.stringMatching(/^cli\.file: there is no directory .*mistyped\n$/),
    ]);
  }
  const missing = await told('verify', 'none.ndjson');
  expect([missing.code, missing.err]).toEqual([2, expect.stringMatching(/^cli\.file: .*none\.ndjson'\n$/)]);
});

test('a bucket that cannot be asked is answered with the reason', async () => {
  const key = 'ledger.example/audit+76193762+AWoVsrbNBhAhN8hsv7SqPVQnKlw+uJvvWwDSqZXoiGfU';
  const { code, err } = await run(
    ...['verify', '--bucket', 's3://audit-copy', '--endpoint', 'http://127.0.0.1:1', '--org', ORG_A],
    ...['--origin', 'ledger.example/audit', '--key', key],
  );
  expect([code, err]).toEqual([2, expect.stringContaining('Region is missing')]);
});
