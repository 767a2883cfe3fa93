/**
 * Runs one command of the command line. Invariant: with `--json` stdout holds exactly one JSON document, whatever happens;
 * errors are `code: message`, never a stack.
 */
import { CliError, type CliIo, type Command, type ExitCode, messageOf, printable } from './command.ts';
import { doctorCommand } from './doctor-command.ts';
import { migrateCommand } from './migrate-command.ts';
import { restoreCommand } from './restore-command.ts';
import { verifyCommand } from './verify-command.ts';
import { versionText } from './version.ts';
import { witnessCommand } from './witness-command.ts';

/** Every command, by name. */
const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ['verify', verifyCommand],
  ['doctor', doctorCommand],
  ['migrate', migrateCommand],
  ['witness', witnessCommand],
  ['restore', restoreCommand],
]);

/** Runs the command that the arguments name. */
export async function runCli(args: readonly string[], io: CliIo): Promise<ExitCode> {
  const [name, ...rest] = args;
  try {
    const command = name === undefined ? undefined : COMMANDS.get(name);
    if (name === '--version') {
      io.stdout.write(`${versionText()}\n`);
      return 0;
    }
    if (name === '--help' || name === '-h' || rest.includes('--help') || rest.includes('-h')) {
      io.stdout.write(`${help(command)}\n`);
      return 0;
    }
    if (command === undefined) {
      const known = [...COMMANDS.keys()].join(', ');
      throw new CliError(
        `${name === undefined ? 'no command given' : `no such command: ${name}`}; there are ${known}`,
      );
    }
    return await command.run(rest, io);
  } catch (error) {
    const shown = shownError(error);
    if (args.includes('--json')) io.stdout.write(`${JSON.stringify({ error: shown })}\n`);
    const hint = shown.code === 'cli.usage' ? ' (--help shows how)' : '';
    io.stderr.write(`${shown.code}: ${printable(shown.message)}${hint}\n`);
    return 2;
  }
}

/** Help of one command, or of all. */
function help(command: Command | undefined): string {
  const usages = command === undefined ? [...COMMANDS.values()].map(({ usage }) => usage) : [command.usage];
  return `Usage: npx @ringfence/audit <command> [options]\n\n${usages.join('\n\n')}\n\n  --help                           this text\n  --version                        name and version\n\nExit codes: 0 nothing found, 1 findings, 2 wrong usage or no answer from what was to be read.`;
}

/** Code and message of whatever was thrown. */
function shownError(error: unknown): { readonly code: string; readonly message: string } {
  const { code, path } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly code?: unknown;
    readonly path?: unknown;
  };
  const message = messageOf(error);
  if (typeof code !== 'string') return { code: 'cli.unexpected', message };
  if (/^(audit|cli)\.[a-z_]+$/.test(code)) return { code, message };
  if (typeof path === 'string' || code === 'EISDIR') return { code: 'cli.file', message };
  // 3F000, 42P01: the schema or a table is not there.
  if (/^(3F000|42P01)$/.test(code)) {
    return {
      code: 'cli.database',
      message: `there is no log in this database, run the migrations: ${message}`,
    };
  }
  return { code: 'cli.unexpected', message };
}
