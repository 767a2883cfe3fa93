/** Runs the command line in this process on streams that say they are a terminal. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { finished } from 'node:stream/promises';
import { runCli } from '../src/cli/run-cli.ts';
import type { KeyStore, KmsProvider } from '../src/index.ts';

/** What the configuration of the command line is made of. */
export interface TerminalStage {
  readonly folder: string;
  readonly store: KeyStore;
  readonly kms: KmsProvider;
}

/** How a run ended. */
export interface TerminalRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runOnTerminal(
  { folder, store, kms }: TerminalStage,
  args: readonly string[],
  input: string,
  env: Readonly<Record<string, string>> = {},
): Promise<TerminalRun> {
  const path = join(folder, `terminal-${randomBytes(4).toString('hex')}.mjs`);
  writeFileSync(
    path,
    `export const config = {
      app: 'test', store: globalThis.cliStore, kms: [globalThis.cliKms], kekFor: () => 'local:a',
    };`,
  );
  Object.assign(globalThis, { cliStore: store, cliKms: kms });
  const terminal = () => Object.assign(new PassThrough(), { isTTY: true });
  const [stdin, stdout, stderr] = [terminal(), terminal(), terminal()];
  const written = { stdout: '', stderr: '' };
  stdout.on('data', (chunk) => {
    written.stdout += chunk;
  });
  stderr.on('data', (chunk) => {
    written.stderr += chunk;
  });
  stdin.end(input);
  const named = args.length === 0 ? [] : ['--config', path];
  const code = await runCli({
    args: [...args, ...named],
    directory: folder,
    env,
    stdin,
    stdout,
    stderr,
    onInterrupt: () => () => {},
  });
  await Promise.all([finished(stdout.end()), finished(stderr.end())]);
  return { code, ...written };
}
