/**
 * Errors of the command line: a code, one line, an exit code. Never a stack.
 */

/** 0 fine, 1 findings, 2 wrong usage or no answer from the database. */
export type ExitCode = 0 | 1 | 2;

/** Wrong usage of the command line itself. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  /** `cli.usage`, `cli.config`, `cli.file` or `cli.database`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** An error as the command line shows it. */
export interface ShownError {
  /** Stable code; `cli.unexpected` for an error without one of ours. */
  readonly code: string;
  /** One line or more, no stack. */
  readonly message: string;
}

/** Code and message of whatever was thrown. */
export function shownError(error: unknown): ShownError {
  const { code } = (typeof error === 'object' && error !== null ? error : {}) as { readonly code?: unknown };
  // By code, not by class: the configuration may bring another copy of this package.
  const ours = typeof code === 'string' && /^(tenancy|cli)\.[a-z_]+$/.test(code);
  return { code: ours ? code : 'cli.unexpected', message: causeText(error) };
}

/** Message of an error, and of the errors it gathers. */
export function causeText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error instanceof AggregateError ? error.errors.map(causeText) : [];
  return [error.message, ...inner].filter((text) => text !== '').join('; ') || error.name;
}
