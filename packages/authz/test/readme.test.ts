import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const home = join(import.meta.dirname, '..');
const readme = await readFile(join(home, 'README.md'), 'utf8');
const snippet = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';

/** Type-checks texts as if they were files of this package; gives the messages about each. */
function problems(texts: readonly string[]): readonly (readonly string[])[] {
  const files = new Map(texts.map((text, k) => [join(home, `readme-snippet-${k}.ts`), text]));
  const { config } = ts.readConfigFile(join(root, 'tsconfig.base.json'), ts.sys.readFile) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [] }, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { readFile: read, fileExists } = host;
  host.readFile = (name) => files.get(name) ?? read(name);
  host.fileExists = (name) => files.has(name) || fileExists(name);
  const program = ts.createProgram([...files.keys()], options, host);
  return [...files.keys()].map((name) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(name))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' ')),
  );
}

test('the first example of the README runs and prints what it says', async () => {
  const said = [...snippet.matchAll(/^\/\/ (.*)$/gm)].map(([, line]) => line);
  const path = [join(root, 'node_modules/.bin'), process.env['PATH'] ?? ''].join(delimiter);
  const { stdout } = await promisify(execFile)(
    'node',
    ['--conditions=@ringfence/source', '--input-type=module-typescript', '--eval', snippet],
    { cwd: home, env: { ...process.env, PATH: path } },
  );
  expect(stdout.trimEnd().split('\n')).toEqual(said);
});

test('it compiles, and what the README says does not compile does not', () => {
  const wrong = {
    "'entry.approve'": "'entry.aprove'",
    "roles: ['controller']": "roles: ['admin']",
    "resource('createdBy')": "resource('createdby')",
    "status: 'posted'": "status: 'pasted'",
    'amountCents: 4_200': "amountCents: '12'",
  };
  for (const right of Object.keys(wrong)) expect(snippet).toContain(right);
  const mistakes = Object.entries(wrong).map(([right, mistake]) => snippet.replaceAll(right, mistake));
  const [sound, ...faulty] = problems([snippet, ...mistakes]);
  expect(sound).toEqual([]);
  for (const messages of faulty) expect(messages.length).toBeGreaterThan(0);
});
