/** What a command of the command line gets and gives. Each parses its own arguments, so a new one is one entry of a table. */
import type { Writable } from 'node:stream';

/** 0 nothing found, 1 findings, 2 wrong usage or no answer from what was to be read. */
export type ExitCode = 0 | 1 | 2;

/** The process around a command. */
export interface CliIo {
  /** Folder that paths are relative to. */
  readonly directory: string;
  /** Where results go. */
  readonly stdout: Writable;
  /** Where errors go. */
  readonly stderr: Writable;
}

/** A command. */
export interface Command {
  /** Its lines of `--help`. */
  readonly usage: string;
  /** Runs it with the arguments behind its name. */
  run(args: readonly string[], io: CliIo): Promise<ExitCode>;
}

/** Wrong usage of the command line, or a database or file that is not there. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  /** `cli.usage`, `cli.database` or `cli.file`. */
  readonly code: 'cli.usage' | 'cli.database' | 'cli.file';

  constructor(message: string, code: 'cli.usage' | 'cli.database' | 'cli.file' = 'cli.usage') {
    super(message);
    this.code = code;
  }
}

/** Text without control characters and with marks of direction spelt out, so that a log cannot steer a terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** With its causes: "no answer" alone does not say that the region is missing. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error instanceof AggregateError ? error.errors.map(messageOf) : [];
  const cause = error.cause === undefined ? [] : [messageOf(error.cause)];
  return [error.message, ...inner, ...cause].filter((text) => text !== '').join('; ') || error.name;
}
