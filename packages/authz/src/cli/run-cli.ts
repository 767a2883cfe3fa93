/**
 * Runs one command of the command line. Invariant: with `--json` stdout holds exactly one JSON document, whatever happens;
 * errors are `code: message`, never a stack.
 */
import type { Readable, Writable } from 'node:stream';
import { CliError, type Command, type ExitCode, messageOf } from './command.ts';
import { diffCommand } from './diff-command.ts';
import { lintCommand } from './lint-command.ts';
import { migrateCommand } from './migrate-command.ts';
import { shrinkCommand } from './shrink-command.ts';
import { painter, printable } from './terminal.ts';
import { versionText } from './version.ts';

/** The process around the command line. */
export interface CliProcess {
  /** Folder that paths are relative to. */
  readonly directory: string;
  /** Environment; only `NO_COLOR` and `TERM` are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input. */
  readonly stdin: Readable;
  /** Where results go. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Where errors go. */
  readonly stderr: Writable;
}

/** Every command, by name. */
const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ['lint', lintCommand],
  ['diff', diffCommand],
  ['shrink', shrinkCommand],
  ['migrate', migrateCommand],
]);

/** Runs the command that the arguments name. */
export async function runCli(args: readonly string[], io: CliProcess): Promise<ExitCode> {
  const [name, ...rest] = args;
  const json = args.includes('--json');
  try {
    if (args.includes('--help') || args.includes('-h')) {
      io.stdout.write(`${help()}\n`);
      return 0;
    }
    if (name === '--version') {
      io.stdout.write(`${versionText()}\n`);
      return 0;
    }
    const command = name === undefined ? undefined : COMMANDS.get(name);
    if (command === undefined) {
      const problem =
        name === undefined || name.startsWith('-') ? 'no command given' : `no such command: ${name}`;
      throw new CliError('cli.usage', `${problem}; there are ${[...COMMANDS.keys()].join(', ')}`);
    }
    const paint = painter(io.stdout, io.env);
    const { directory, stdin } = io;
    const { document, exit, lines } = await command.run(rest, { directory, stdin, paint });
    if (json) io.stdout.write(`${JSON.stringify({ command: name, ...document })}\n`);
    else io.stdout.write(lines.map((line) => `${line}\n`).join(''));
    return exit;
  } catch (error) {
    const { code } = (typeof error === 'object' && error !== null ? error : {}) as {
      readonly code?: unknown;
    };
    // By code, not by class: a policy module may bring another copy of this package.
    const ours = typeof code === 'string' && /^(authz|cli)\.[a-z_]+$/.test(code);
    const shown = { code: ours ? code : 'cli.unexpected', message: messageOf(error) };
    if (json) io.stdout.write(`${JSON.stringify({ error: shown })}\n`);
    const hint = code === 'cli.usage' ? ' (--help shows how)' : '';
    io.stderr.write(`${shown.code}: ${printable(shown.message)}${hint}\n`);
    return 2;
  }
}

function help(): string {
  const usages = [...COMMANDS.values()].map(({ usage }) => usage).join('\n\n');
  return `Usage: npx @ringfence/authz <command> [options]

${usages}

  --json                one JSON document on stdout
  --help                this text
  --version             name and version

A policy is a JSON file, or a module that exports it as \`policy\` or default.

Exit codes: 0 nothing found, 1 findings, 2 wrong usage or a file that cannot be used.`;
}
