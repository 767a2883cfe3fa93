/**
 * Arguments of the command line, by `node:util` parseArgs. No argument takes a secret: the connection is the configuration's.
 */
import { parseArgs } from 'node:util';
import { CliError, causeText } from './cli-error.ts';

/** Text of `--help`. */
export const USAGE = `Usage: npx @ringfence/tenancy <command> [options]

  policies           compare the database with the declaration; what is printed is what is missing
    --diff           the differences (default)
    --print          the SQL that isolates freshly created tables, without a look at the database
    --steps          the steps that mend the differences of a database in use, with their locks

  doctor             examine the database: every hazard is a rule with a remedy
    --sarif <file>   write the findings as SARIF 2.1.0, too
    --strict         warnings, too, end with exit code 1

  probe              attack every table as the app role, in a transaction that is rolled back (CI and staging)

  migrate --print    the SQL of schema tenancy, with signed contexts, to be read and run by the owner; needs no configuration
    --app-role <role>           the application's login; needed
    --jobs                      with the record of jobs that have run
    --break-glass-role <role>   with break-glass access for this login

  --config <file>    instead of ringfence.tenancy.config.{ts,mjs,js} in this folder
  --json             one JSON document on stdout
  --help             this text
  --version          name and version

Exit codes: 0 fine, 1 findings, 2 wrong usage or no answer from the database.`;

const OPTIONS = {
  config: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  print: { type: 'boolean' },
  diff: { type: 'boolean' },
  steps: { type: 'boolean' },
  sarif: { type: 'string' },
  strict: { type: 'boolean' },
  'app-role': { type: 'string' },
  jobs: { type: 'boolean' },
  'break-glass-role': { type: 'string' },
} as const;

type OptionName = keyof typeof OPTIONS;

const COMMON: readonly OptionName[] = ['json', 'help'];

/** Name of a command. */
export type CommandName = 'policies' | 'doctor' | 'probe' | 'migrate';

/** Options of each command beyond the common ones. */
const ALLOWED: Readonly<Record<CommandName, readonly OptionName[]>> = {
  policies: ['config', 'print', 'diff', 'steps'],
  doctor: ['config', 'sarif', 'strict'],
  probe: ['config'],
  migrate: ['print', 'app-role', 'jobs', 'break-glass-role'],
};

/** What was asked for. */
export interface CliArguments {
  /** The command; undefined for `--help`. */
  readonly command: CommandName | undefined;
  /** Texts of options. */
  readonly text: Readonly<Partial<Record<string, string>>>;
  /** Switches that are on. */
  readonly on: ReadonlySet<string>;
}

/**
 * Parses the arguments.
 *
 * @throws CliError `cli.usage`.
 */
export function parseArguments(args: readonly string[]): CliArguments {
  const { values, positionals } = parsed(args);
  const on = new Set<string>();
  const text: Partial<Record<string, string>> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === true) on.add(name);
    else if (typeof value === 'string') text[name] = value;
  }
  if (on.has('help')) return { command: undefined, text, on };
  const [name, ...more] = positionals;
  const command = (Object.keys(ALLOWED) as CommandName[]).find((one) => one === name);
  if (command === undefined)
    throw usage(
      `${name === undefined ? 'no command given' : `no such command: ${name}`}; there are ${Object.keys(ALLOWED).join(', ')}`,
    );
  if (more.length > 0) throw usage(`${command} takes no argument ${more[0]}`);
  const allowed: readonly string[] = [...COMMON, ...ALLOWED[command]];
  for (const option of Object.keys(values)) {
    if (!allowed.includes(option)) throw usage(`${command} does not take --${option}`);
  }
  return { command, text, on };
}

/** The error for wrong usage. */
export function usage(message: string): CliError {
  return new CliError('cli.usage', `${message} (--help shows how)`);
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    // Node goes on about arguments that begin with a dash, of which there are none here.
    throw usage(causeText(error).replace(/\. To specify a positional .*$/s, ''));
  }
}
