/** The four command lines answer alike: names, wrong usage, version, and a reader that closes the pipe. */
import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = new URL('..', import.meta.url);
const PACKAGES = ['tenancy', 'crypto', 'audit', 'authz'];

const argumentsOf = (name: string, args: readonly string[]) => [
  '--conditions=@ringfence/source',
  new URL(`packages/${name}/src/cli/main.ts`, root).pathname,
  ...args,
];

async function told(name: string, ...args: string[]) {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, argumentsOf(name, args));
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as { readonly code: number; readonly stdout: string; readonly stderr: string };
  }
}

// Every case starts programs, which takes long where many run at once.
const LONG = { timeout: 120_000 };

test.each(PACKAGES)('%s: its version, its commands, and one line for wrong usage', LONG, async (name) => {
  const manifest = JSON.parse(readFileSync(new URL(`packages/${name}/package.json`, root), 'utf8'));
  const [version, nothing, unknown, option] = await Promise.all([
    told(name, '--version'),
    told(name),
    told(name, 'no-such-command'),
    told(name, name === 'crypto' ? 'status' : name === 'authz' ? 'lint' : 'doctor', '--no-such-option'),
  ]);
  expect(version).toEqual({ code: 0, stdout: `@ringfence/${name} ${manifest.version}\n`, stderr: '' });
  const commands = /; there are [a-z-]+(?:, [a-z-]+)+ \(--help shows how\)\n$/;
  expect(nothing).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(commands) });
  expect(unknown).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(commands) });
  expect(nothing.stderr).toMatch(/^cli\.usage: no command given;/);
  expect(unknown.stderr).toMatch(/^cli\.usage: no such command: no-such-command;/);
  expect(option).toMatchObject({
    code: 2,
    stderr: "cli.usage: Unknown option '--no-such-option' (--help shows how)\n",
  });
});

test.each(PACKAGES)('%s: a reader that is gone is no stack, and no success', LONG, async (name) => {
  const child = spawn(process.execPath, argumentsOf(name, ['--help']), { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise((closed) => child.once('close', closed));
  expect([code, stderr]).toEqual([141, '']);
});
