/**
 * Runs one command of the command line and gives its exit code.
 * Invariant: with `--json` stdout holds exactly one JSON document, whatever happens; errors are `code: message`, never a
 * stack.
 */
import { createKeyOperations } from '../operations/key-operations.ts';
import { type CliArguments, type CommandName, parseArguments, USAGE } from './arguments.ts';
import { CliError, type ExitCode, shownError } from './cli-error.ts';
import type { Command, CommandResult } from './command.ts';
import { type CryptoCliConfig, loadConfig } from './config.ts';
import { migrate } from './migrate-command.ts';
import { rewrapCommand } from './rewrap-command.ts';
import { rotateCommand } from './rotate-command.ts';
import { shredCommand } from './shred-command.ts';
import { statusCommand } from './status-command.ts';
import { type CliProcess, printable, Terminal } from './terminal.ts';
import { verifyRetiredCommand } from './verify-retired-command.ts';
import { versionText } from './version.ts';

const COMMANDS: Readonly<Record<Exclude<CommandName, 'migrate'>, Command>> = {
  status: statusCommand,
  rotate: rotateCommand,
  rewrap: rewrapCommand,
  shred: shredCommand,
  'verify-retired': verifyRetiredCommand,
};

/** Runs the command that the arguments name: 0 done, 1 failed or done in part, 2 wrong usage. */
export async function runCli(process: CliProcess): Promise<ExitCode> {
  const terminal = new Terminal(process);
  const json = process.args.includes('--json');
  try {
    if (process.args[0] === '--version') {
      terminal.print(versionText());
      return 0;
    }
    const args = parseArguments(process.args);
    if (args.command === undefined) {
      terminal.print(USAGE);
      return 0;
    }
    const result =
      args.command === 'migrate'
        ? migrate(args)
        : await runCommand(
            args.command,
            args,
            await loadConfig(process.directory, args.text['config']),
            terminal,
          );
    if (json) terminal.print(JSON.stringify(result.document));
    else for (const line of result.lines) terminal.print(line);
    return result.exit;
  } catch (error) {
    const shown = shownError(error);
    if (json) terminal.print(JSON.stringify({ error: shown }));
    terminal.tell(`${shown.code}: ${printable(shown.message)}`);
    return error instanceof CliError ? error.exit : 1;
  }
}

async function runCommand(
  command: Exclude<CommandName, 'migrate'>,
  args: CliArguments,
  config: CryptoCliConfig,
  terminal: Terminal,
): Promise<CommandResult> {
  const { app, kms, store, kekFor, revocations, keyUse, kmsTimeoutMs, maxLeaseAgeMs } = config;
  try {
    const operations = createKeyOperations({
      app,
      kms,
      store,
      kekFor,
      ...(revocations !== undefined && { revocations }),
      ...(keyUse !== undefined && { keyUse }),
      ...(kmsTimeoutMs !== undefined && { kmsTimeoutMs }),
      ...(maxLeaseAgeMs !== undefined && { maxLeaseAgeMs }),
    });
    return await COMMANDS[command]({ args, config, operations, terminal });
  } finally {
    await keyUse?.flush();
    await config.close?.();
  }
}
