/**
 * Runs one command of the command line. Invariant: with `--json` stdout holds exactly one JSON document, whatever happens;
 * errors are `code: message`, never a stack.
 */
import { CliError, type CliIo, type Command, type ExitCode, printable } from './command.ts';
import { doctorCommand } from './doctor-command.ts';
import { restoreCommand } from './restore-command.ts';
import { verifyCommand } from './verify-command.ts';
import { witnessCommand } from './witness-command.ts';

/** Every command, by name. */
const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ['verify', verifyCommand],
  ['doctor', doctorCommand],
  ['witness', witnessCommand],
  ['restore', restoreCommand],
]);

/** Runs the command that the arguments name. */
export async function runCli(args: readonly string[], io: CliIo): Promise<ExitCode> {
  const [name, ...rest] = args;
  try {
    const command = name === undefined ? undefined : COMMANDS.get(name);
    if (name === '--help' || name === '-h' || rest.includes('--help') || rest.includes('-h')) {
      io.stdout.write(`${help(command)}\n`);
      return 0;
    }
    if (command === undefined) {
      const known = [...COMMANDS.keys()].join(', ');
      throw new CliError(
        `${name === undefined ? 'no command given' : `no such command: ${name}`}; there are ${known} (--help)`,
      );
    }
    return await command.run(rest, io);
  } catch (error) {
    const { code } = (typeof error === 'object' && error !== null ? error : {}) as {
      readonly code?: unknown;
    };
    const ours = typeof code === 'string' && /^(audit|cli)\.[a-z_]+$/.test(code);
    const shown = { code: ours ? code : 'cli.unexpected', message: messageOf(error) };
    if (args.includes('--json')) io.stdout.write(`${JSON.stringify({ error: shown })}\n`);
    io.stderr.write(`${shown.code}: ${printable(shown.message)}\n`);
    return 2;
  }
}

/** Help of one command, or of all. */
function help(command: Command | undefined): string {
  const usages = command === undefined ? [...COMMANDS.values()].map(({ usage }) => usage) : [command.usage];
  return `Usage: npx @ringfence/audit <command> [options]\n\n${usages.join('\n\n')}\n\nExit codes: 0 nothing found, 1 findings, 2 wrong usage or no answer from what was to be read.`;
}

/** With its causes: "no answer" alone does not say that the region is missing. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error instanceof AggregateError ? error.errors.map(messageOf) : [];
  const cause = error.cause === undefined ? [] : [messageOf(error.cause)];
  return [error.message, ...inner, ...cause].filter((text) => text !== '').join('; ') || error.name;
}
