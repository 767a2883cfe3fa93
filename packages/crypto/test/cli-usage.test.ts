import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { CliStage, CONFIG } from './cli-setup.ts';
import { anyOrg } from './operations-setup.ts';

let stage: CliStage;
beforeAll(async () => {
  stage = await CliStage.open(inject('databaseUrl'));
});
afterAll(() => stage.close());

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
      const result = await stage.onTerminal(args, '');
      expect([args, result.code, result.stdout]).toEqual([args, 2, '']);
      expect(result.stderr).toMatch(/^cli\.usage: .*\n$/);
    }
    const help = await stage.cli(['--help'], { config: null });
    expect([help.code, help.stderr]).toEqual([0, '']);
    for (const command of ['status', 'rotate', 'rewrap', 'shred', 'verify-retired']) {
      expect(help.stdout).toContain(`  ${command} `);
    }
  });

  it('finds its configuration in the stage.folder, and says what is wrong with it', async () => {
    const id = await stage.madeOrg();
    const none = await stage.cli(['status', id], { config: null });
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('cli.config: no configuration')]);
    const path = join(stage.folder, 'ringfence.crypto.config.mjs');
    writeFileSync(path, `export { config as default } from ${JSON.stringify(CONFIG)};`);
    expect((await stage.cli(['status', id], { config: null })).code).toBe(0);
    for (const [source, problem] of [
      ['export const config = { app: 1 };', '`app` must be a string'],
      ['export const other = 1;', 'neither a default'],
      ['throw new Error("no DATABASE_URL");', 'cannot be loaded: no DATABASE_URL'],
    ]) {
      writeFileSync(path, source ?? '');
      const { code, stderr } = await stage.cli(['status', id], { config: null });
      expect([code, stderr]).toEqual([2, expect.stringContaining(problem ?? '')]);
      expect(stderr.trimEnd()).not.toContain('\n');
    }
    rmSync(path);
  });

  it('shows colour and a bar on a terminal only, and respects NO_COLOR', async () => {
    const id = await stage.madeOrg();
    const shown = await stage.onTerminal(['status', id], '');
    expect(shown.stdout).toContain('\u001b[32mlive');
    expect((await stage.onTerminal(['status', id], '', { NO_COLOR: '1' })).stdout).not.toContain('\u001b');
    const bar = await stage.onTerminal(['rewrap', id, '--to', 'local:b'], '');
    expect(bar.stderr).toContain('█ 1/1 organisations');
  });
});
