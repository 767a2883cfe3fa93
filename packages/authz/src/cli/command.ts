/**
 * What a command of the command line gets and gives: a document for `--json` and lines for a person; it prints nothing.
 * Each parses its own arguments, so a new one is one entry of a table.
 */

import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { Paint } from './terminal.ts';

/** 0 nothing found, 1 findings, 2 wrong usage or a file that cannot be used. */
export type ExitCode = 0 | 1 | 2;

/** Surroundings of a command. */
export interface CommandContext {
  /** Folder that paths are relative to. */
  readonly directory: string;
  /** How text is painted. */
  readonly paint: Paint;
  /** Standard input, for `-`. */
  readonly stdin: AsyncIterable<Uint8Array>;
}

/** Outcome of a command. */
export interface CommandResult {
  /** 0 or 1. */
  readonly exit: ExitCode;
  /** The document of `--json`. */
  readonly document: Readonly<Record<string, unknown>>;
  /** The same for a person. */
  readonly lines: readonly string[];
}

/** A command. */
export interface Command {
  /** Its lines of `--help`. */
  readonly usage: string;
  /** Runs it with the arguments behind its name. */
  run(args: readonly string[], context: CommandContext): Promise<CommandResult>;
}

/** Wrong usage, or a file that cannot be used. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  /** `cli.usage` or `cli.file`. */
  readonly code: 'cli.usage' | 'cli.file';

  constructor(code: 'cli.usage' | 'cli.file', message: string) {
    super(message);
    this.code = code;
  }
}

/** Message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/** Options and arguments of a command; `--json` is always there. */
export function parsed<T extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: T,
  names: readonly string[],
): ReturnType<typeof parseArgs<{ options: T; allowPositionals: true; strict: true }>> {
  const config = { args: [...args], options, allowPositionals: true, strict: true } as const;
  let result: ReturnType<typeof parseArgs<{ options: T; allowPositionals: true; strict: true }>>;
  try {
    result = parseArgs<{ options: T; allowPositionals: true; strict: true }>(config);
  } catch (error) {
    // Node goes on about arguments that begin with a dash, of which there are none here.
    throw new CliError('cli.usage', messageOf(error).replace(/\. To specify a positional .*$/s, ''));
  }
  if (result.positionals.length !== names.length) {
    throw new CliError(
      'cli.usage',
      `needs ${names.join(' and ') || 'options only'}, got ${result.positionals.length === 0 ? 'none' : result.positionals.length}`,
    );
  }
  return result;
}
