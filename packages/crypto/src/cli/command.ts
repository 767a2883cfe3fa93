/**
 * What a command gets and gives: it returns a document for `--json` and lines for a person, and never prints itself
 * except progress and prompts.
 */
import type { KeyOperations } from '../operations/key-operations.ts';
import type { OrgId } from '../org-id.ts';
import { type CliArguments, usage } from './arguments.ts';
import type { ExitCode } from './cli-error.ts';
import type { CryptoCliConfig } from './config.ts';
import type { Terminal } from './terminal.ts';

/** Surroundings of a command. */
export interface CommandContext {
  /** Arguments. */
  readonly args: CliArguments;
  /** The application's wiring. */
  readonly config: CryptoCliConfig;
  /** Operations over it. */
  readonly operations: KeyOperations;
  /** Where to ask and to show progress. */
  readonly terminal: Terminal;
}

/** Outcome of a command. */
export interface CommandResult {
  /** 0 when all was done, else 1. */
  readonly exit: ExitCode;
  /** The document of `--json`. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The same for a person. */
  readonly lines: readonly string[];
}

/** A command. */
export type Command = (context: CommandContext) => Promise<CommandResult>;

/** The one organisation a command was given. */
export function singleOrg({ args }: CommandContext): OrgId {
  const [org] = args.orgs;
  if (org === undefined) throw usage('an organisation is needed');
  return org;
}

/** The organisations named, or all of the configuration. */
export async function namedOrAllOrgs({ args, config }: CommandContext): Promise<readonly OrgId[]> {
  if (args.orgs.length > 0) return [...args.orgs].sort();
  if (config.orgs === undefined) {
    throw usage('without an organisation the configuration must have `orgs`');
  }
  const all: OrgId[] = [];
  for await (const org of config.orgs()) all.push(org);
  return all;
}
