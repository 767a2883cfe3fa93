/**
 * The command line's configuration: a module of the application that exports its declaration and how to reach the
 * database. Secrets come from wherever that code takes them; the command line reads none itself.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PlanningHandle } from '../doctor/plan-check.ts';
import type { Backfill } from '../policies/backfill.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import type { Acceptance, RowValues } from '../probe/index.ts';
import { CliError, causeText } from './cli-error.ts';

/** What `ringfence.tenancy.config` exports, as default or as `config`. */
export interface TenancyCliConfig {
  /** The declaration, from `declareSchema`. */
  readonly schema: TenancySchema;
  /** Connection URL of the owner of the tables. */
  readonly connectionString: string;
  /** Where rows of tables without a filled `org_id` belong, for `policies --steps`. */
  readonly backfill?: Backfill;
  /** A handle of any organisation, for the doctor's check of query plans. Without it, plans are not checked. */
  readonly app?: () => PlanningHandle;
  /** What the probe needs to be told. */
  readonly probe?: {
    /** Values for tables it cannot seed by itself. */
    readonly rows?: Readonly<Record<string, RowValues>>;
    /** Crossings that are wanted. */
    readonly accepted?: readonly Acceptance[];
  };
}

const NAMES = ['ringfence.tenancy.config.ts', 'ringfence.tenancy.config.mjs', 'ringfence.tenancy.config.js'];

/**
 * The file of the configuration: the one named, or the first of the known names in `directory`.
 *
 * @throws CliError `cli.config`.
 */
export function configFile(directory: string, named: string | undefined): string {
  const paths = (named === undefined ? NAMES : [named]).map((name) => resolve(directory, name));
  const path = paths.find((one) => existsSync(one));
  if (path === undefined) throw new CliError('cli.config', missing(directory, named));
  return path;
}

/**
 * Loads the configuration of a file.
 *
 * @throws CliError `cli.config`.
 */
export async function loadConfig(path: string): Promise<TenancyCliConfig> {
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    throw new CliError('cli.config', `${path} cannot be loaded: ${causeText(error)}`);
  }
  const config = module['default'] ?? module['config'];
  const problem = problemOf(config);
  if (problem !== undefined) throw new CliError('cli.config', `${path}: ${problem}`);
  return config as TenancyCliConfig;
}

function missing(directory: string, named: string | undefined): string {
  if (named !== undefined) return `there is no file ${resolve(directory, named)}`;
  return `no configuration: there is no ${NAMES.join(', ')} in ${directory}; it exports schema and connectionString as default, and --config names another file`;
}

function problemOf(config: unknown): string | undefined {
  if (typeof config !== 'object' || config === null) return 'exports neither a default nor `config`';
  const { schema, connectionString } = config as Partial<Record<keyof TenancyCliConfig, unknown>>;
  const org = typeof schema === 'object' && schema !== null ? (schema as { org?: unknown }).org : undefined;
  if (!(org instanceof Map)) return '`schema` must come from declareSchema<Database>()({ … }), called twice';
  if (typeof connectionString !== 'string' || connectionString === '')
    return '`connectionString` must be the URL of a database; is its environment variable set?';
  return undefined;
}
