/**
 * Arguments of the command line, by `node:util` parseArgs. No argument takes a secret.
 */
import { parseArgs } from 'node:util';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { CliError, causeText } from './cli-error.ts';

/** Text of `--help`. */
export const USAGE = `Usage: npx @ringfence/crypto <command> [options]

  status [org ...]             state of organisations' keys and KEKs; all of them without an argument
  rotate <org>                 make a new active data-key version; the former one opens on
  rewrap [org ...]             wrap data keys under another KEK; all organisations without an argument
    --from <kek>  --to <kek>   replace only wraps under this KEK; KEK to use instead of kekFor
    --rate <n>                 KMS calls per second
    --concurrency <n>          organisations at a time (default 8)
    --resume-after <org>       go on behind this organisation
  shred <org> --reason <text>  destroy every key of an organisation, for ever
    --confirm <org>            the id once more, instead of typing it at the prompt
    --backups-days <n>         how long backups of the key store are kept, for the certificate
  verify-retired <org>         count what still names versions that are retired or could be
    --retire                   retire each version that nothing names
  migrate --print              the SQL of the key store, to be read and run by the owner; needs no configuration
    --app-role <role>          the login of the key store; needed
    --operator-role <role>     the login of re-wraps, moves and shreds

  --config <file>   instead of ringfence.crypto.config.{ts,mjs,js} in this folder
  --dry-run         rotate, rewrap, shred: say what would happen and change nothing
  --json            one JSON document on stdout
  --help            this text
  --version         name and version

Exit codes: 0 done, 1 failed or done in part, 2 wrong usage (nothing was done).`;

const COMMANDS = ['status', 'rotate', 'rewrap', 'shred', 'verify-retired', 'migrate'] as const;

/** Name of a command. */
export type CommandName = (typeof COMMANDS)[number];

const OPTIONS = {
  config: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  'dry-run': { type: 'boolean' },
  from: { type: 'string' },
  to: { type: 'string' },
  rate: { type: 'string' },
  concurrency: { type: 'string' },
  'resume-after': { type: 'string' },
  reason: { type: 'string' },
  confirm: { type: 'string' },
  'backups-days': { type: 'string' },
  retire: { type: 'boolean' },
  print: { type: 'boolean' },
  'app-role': { type: 'string' },
  'operator-role': { type: 'string' },
} as const;

type OptionName = keyof typeof OPTIONS;

const ALLOWED: Readonly<Record<CommandName, readonly OptionName[]>> = {
  status: ['config'],
  rotate: ['config', 'dry-run'],
  rewrap: ['config', 'dry-run', 'from', 'to', 'rate', 'concurrency', 'resume-after'],
  shred: ['config', 'dry-run', 'reason', 'confirm', 'backups-days'],
  'verify-retired': ['config', 'retire'],
  migrate: ['print', 'app-role', 'operator-role'],
};
const COMMON: readonly OptionName[] = ['json', 'help'];

/** What was asked for. */
export interface CliArguments {
  /** The command; undefined for `--help`. */
  readonly command: CommandName | undefined;
  /** Organisations named. */
  readonly orgs: readonly OrgId[];
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
  if (on.has('help')) return { command: undefined, orgs: [], text, on };
  const [name, ...ids] = positionals;
  const command = COMMANDS.find((one) => one === name);
  if (command === undefined) {
    throw usage(
      `${name === undefined ? 'no command given' : `no such command: ${name}`}; there are ${COMMANDS.join(', ')}`,
    );
  }
  for (const option of Object.keys(values) as OptionName[]) {
    if (!COMMON.includes(option) && !ALLOWED[command].includes(option)) {
      throw usage(`${command} does not take --${option}`);
    }
  }
  if (command === 'migrate' && ids.length > 0) throw usage('migrate takes no organisation');
  const orgs = ids.map((id) => orgOf('the organisation', id));
  const single = command !== 'status' && command !== 'rewrap' && command !== 'migrate';
  if (single && orgs.length !== 1) throw usage(`${command} takes exactly one organisation`);
  return { command, orgs, text, on };
}

/** An organisation id out of an argument. */
export function orgOf(what: string, id: string): OrgId {
  try {
    return parseOrgId(id);
  } catch {
    throw usage(`${what} must be a lower-case UUID of 36 characters`);
  }
}

/** A positive number out of an option. */
export function numberOf(args: CliArguments, name: string, whole: boolean): number | undefined {
  const given = args.text[name];
  if (given === undefined) return undefined;
  const value = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
  if (value > 0 && (!whole || Number.isSafeInteger(value))) return value;
  throw usage(`--${name} must be a ${whole ? 'whole ' : ''}number above 0`);
}

/** The error for wrong usage. */
export function usage(message: string): CliError {
  return new CliError('cli.usage', `${message} (--help shows how)`, 2);
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    // Node goes on about arguments that begin with a dash, of which there are none here.
    throw usage(causeText(error).replace(/\. To specify a positional .*$/s, ''));
  }
}
