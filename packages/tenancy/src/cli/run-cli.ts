/**
 * Runs one command of the command line and gives its exit code.
 * Invariant: with `--json` stdout holds exactly one JSON document, whatever happens; errors are `code: message`, never a
 * stack.
 */
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { type CliArguments, type CommandName, parseArguments, USAGE } from './arguments.ts';
import { CliError, causeText, type ExitCode, shownError } from './cli-error.ts';
import type { Command, CommandResult } from './command.ts';
import { configFile, loadConfig } from './config.ts';
import { doctorCommand } from './doctor-command.ts';
import { migrate } from './migrate-command.ts';
import { policiesCommand } from './policies-command.ts';
import { probeCommand } from './probe-command.ts';
import { type CliProcess, printable, Terminal } from './terminal.ts';
import { versionText } from './version.ts';

const COMMANDS: Readonly<Record<Exclude<CommandName, 'migrate'>, Command>> = {
  policies: policiesCommand,
  doctor: doctorCommand,
  probe: probeCommand,
};

/** Runs the command that the arguments name: 0 fine, 1 findings, 2 wrong usage or no answer from the database. */
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
        : await runCommand(args.command, args, process.directory, terminal);
    if (json) terminal.print(JSON.stringify(result.document));
    else for (const line of result.lines) terminal.print(line);
    return result.exit;
  } catch (error) {
    const shown = shownError(error);
    if (json) terminal.print(JSON.stringify({ error: shown }));
    terminal.tell(`${shown.code}: ${printable(shown.message)}`);
    // A schema that no step leads to is a finding about the database, not a failure to look at it.
    return shown.code === 'tenancy.migration_blocked' ? 1 : 2;
  }
}

/** Says that there is no database before a command says that something is wrong with it. */
async function reach(pool: pg.Pool): Promise<void> {
  try {
    (await pool.connect()).release();
  } catch (error) {
    throw new CliError('cli.database', `no connection to the database: ${causeText(error)}`);
  }
}

async function runCommand(
  command: Exclude<CommandName, 'migrate'>,
  args: CliArguments,
  directory: string,
  terminal: Terminal,
): Promise<CommandResult> {
  const file = configFile(directory, args.text['config']);
  const config = await loadConfig(file);
  const pool = new pg.Pool({ connectionString: config.connectionString, max: 2 });
  // The statement under way reports a lost connection; the pool hears of those only that are idle.
  const unheard = () => {};
  pool.on('error', unheard).on('connect', (client) => client.on('error', unheard));
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    if (!args.on.has('print')) await reach(pool);
    return await COMMANDS[command]({ args, directory, configFile: file, config, db, terminal });
  } finally {
    await db.destroy();
  }
}
