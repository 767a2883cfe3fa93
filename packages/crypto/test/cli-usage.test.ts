import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createKeyring, type Keyring, type OrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { runOnTerminal } from './cli-terminal.ts';
import { anyOrg, type KeyDatabase, keyDatabase } from './operations-setup.ts';

const CONDITION = '--conditions=@ringfence/source';
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const CONFIG = fileURLToPath(new URL('./cli-config.ts', import.meta.url));
const KEKS = { a: randomBytes(32), b: randomBytes(32) };
const kms = localKms({ keks: KEKS });
let database: KeyDatabase;
let keyring: Keyring;
let folder: string;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'cli');
  keyring = createKeyring({ app: 'test', kms: [kms], store: database.store, kekFor: () => 'local:a' });
  folder = mkdtempSync(join(tmpdir(), 'crypto-cli-'));
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await keyring.close();
  await database.close();
});

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly started?: (child: ChildProcess) => void;
  readonly config?: string | null;
}

/** Runs the program as a process of its own, its output piped. */
function cli(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const config = options.config === null ? [] : ['--config', options.config ?? CONFIG];
  const child = spawn(process.execPath, [CONDITION, MAIN, ...args, ...config], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: database.ownerUrl,
      KEK_A: KEKS.a.toString('hex'),
      KEK_B: KEKS.b.toString('hex'),
      ...options.env,
    },
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    out.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    out.stderr += chunk;
  });
  options.started?.(child);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...out }));
  });
}

async function madeOrg(id: OrgId = anyOrg()): Promise<OrgId> {
  await keyring.createOrg(id);
  return id;
}

const onTerminal = (args: readonly string[], input: string, env?: Readonly<Record<string, string>>) =>
  runOnTerminal({ folder, store: database.store, kms }, args, input, env);

describe('the command line', () => {
  it('answers wrong usage with code 2 and one line, and help with the usage', async () => {
    const id = anyOrg();
    for (const args of [
      [],
      ['destroy', id],
      ['rotate'],
      ['rotate', id, id],
      ['rotate', 'not-an-org'],
      ['rotate', id.toUpperCase()],
      ['rotate', id, '--confirm', id],
      ['status', id, '--dry-run'],
      ['rewrap', id, '--rate', '-1'],
      ['rewrap', id, '--concurrency', '1.5'],
      ['rewrap', id, '--resume-after', 'x'],
      ['rotate', id, '--no-such-option'],
    ]) {
      const result = await onTerminal(args, '');
      expect([args, result.code, result.stdout]).toEqual([args, 2, '']);
      expect(result.stderr).toMatch(/^cli\.usage: .*\n$/);
    }
    const help = await cli(['--help'], { config: null });
    expect([help.code, help.stderr]).toEqual([0, '']);
    for (const command of ['status', 'rotate', 'rewrap', 'shred', 'verify-retired']) {
      expect(help.stdout).toContain(`  ${command} `);
    }
  });

  it('finds its configuration in the folder, and says what is wrong with it', async () => {
    const id = await madeOrg();
    const none = await cli(['status', id], { config: null });
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('cli.config: no configuration')]);
    const path = join(folder, 'ringfence.crypto.config.mjs');
    writeFileSync(path, `export { config as default } from ${JSON.stringify(CONFIG)};`);
    expect((await cli(['status', id], { config: null })).code).toBe(0);
    for (const [source, problem] of [
      ['export const config = { app: 1 };', '`app` must be a string'],
      ['export const other = 1;', 'neither a default'],
      ['throw new Error("no DATABASE_URL");', 'cannot be loaded: no DATABASE_URL'],
    ]) {
      writeFileSync(path, source ?? '');
      const { code, stderr } = await cli(['status', id], { config: null });
      expect([code, stderr]).toEqual([2, expect.stringContaining(problem ?? '')]);
      expect(stderr.trimEnd()).not.toContain('\n');
    }
    rmSync(path);
  });

  it('shows colour and a bar on a terminal only, and respects NO_COLOR', async () => {
    const id = await madeOrg();
    const shown = await onTerminal(['status', id], '');
    expect(shown.stdout).toContain('\u001b[32mlive');
    expect((await onTerminal(['status', id], '', { NO_COLOR: '1' })).stdout).not.toContain('\u001b');
    const bar = await onTerminal(['rewrap', id, '--to', 'local:b'], '');
    expect(bar.stderr).toContain('█ 1/1 organisations');
  });
});
