/**
 * The transcripts of docs/authz-cli.md are real: every command in them is run and must print what stands there.
 * `UPDATE_DOCS=1` writes them anew.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { CliStage } from './cli-stage.ts';

const DOC = fileURLToPath(new URL('../../../docs/authz-cli.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const stage = new CliStage();
afterAll(() => stage.close());

/** Runs a command; `| head -n 8` behind it shows its first lines. */
function run(line: string): string {
  const [, command = '', lines] = /^(.*?)(?: \| head -n (\d+))?$/.exec(line) ?? [];
  const { stderr, stdout } = spawnSync(
    process.execPath,
    ['--conditions=@ringfence/source', MAIN, ...command.split(' ').slice(2)],
    { encoding: 'utf8', cwd: stage.folder, env: { PATH: process.env['PATH'] } },
  );
  const printed = stderr + stdout;
  return lines === undefined ? printed : printed.split('\n').slice(0, Number(lines)).join('\n').concat('\n');
}

test('the transcripts in docs/authz-cli.md are what the commands print', { timeout: 120_000 }, () => {
  const doc = readFileSync(DOC, 'utf8');
  const parts = doc.split(/(?<=^```console\n)([^`]*(?:`[^`]+`[^`]*)*)(?=^```$)/m);
  const printed = parts.map((part, k) => {
    if (k % 2 === 0) return part;
    return [...part.matchAll(/^\$ .*$/gm)].map(([line]) => `${line}\n${run(line.slice(2))}`).join('');
  });
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, printed.join(''));
  else expect(printed.join('')).toBe(doc);
  expect(parts).toHaveLength(11);
});
