/**
 * What a command gets and gives: it returns a document for `--json` and lines for a person, and never prints itself.
 */
import type { Kysely } from 'kysely';
import type { CliArguments } from './arguments.ts';
import type { ExitCode } from './cli-error.ts';
import type { TenancyCliConfig } from './config.ts';
import type { Terminal } from './terminal.ts';

/** Surroundings of a command. */
export interface CommandContext {
  /** Arguments. */
  readonly args: CliArguments;
  /** Folder that paths are relative to. */
  readonly directory: string;
  /** The file of the configuration. */
  readonly configFile: string;
  /** The application's declaration and wiring. */
  readonly config: TenancyCliConfig;
  /** The database of the configuration; connects at the first statement. */
  readonly db: Kysely<unknown>;
  /** How text is painted. */
  readonly terminal: Terminal;
}

/** Outcome of a command. */
export interface CommandResult {
  /** 0 when all is well, 1 when there are findings. */
  readonly exit: ExitCode;
  /** The document of `--json`. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The same for a person. */
  readonly lines: readonly string[];
}

/** A command. */
export type Command = (context: CommandContext) => Promise<CommandResult>;
