/**
 * Errors of the command line: a code, one line, an exit code. Never a stack.
 */

/** Exit codes. */
export type ExitCode = 0 | 1 | 2;

/** A failure of the command line itself. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  /** `cli.usage`, `cli.config` or `cli.not_confirmed`. */
  readonly code: string;
  /** 1 for a failure, 2 for wrong usage. */
  readonly exit: ExitCode;

  constructor(code: string, message: string, exit: ExitCode) {
    super(message);
    this.code = code;
    this.exit = exit;
  }
}

/** An error as the command line shows it. */
export interface ShownError {
  /** Stable code; `cli.unexpected` for an error without one of ours. */
  readonly code: string;
  /** One line or more, no stack. */
  readonly message: string;
  /** Ids of the object concerned. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Code, message and ids of whatever was thrown. */
export function shownError(error: unknown): ShownError {
  const { code, details } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly code?: unknown;
    readonly details?: Readonly<Record<string, string>>;
  };
  const message = causeText(error);
  // By code, not by class: the configuration may bring another copy of this package.
  if (typeof code !== 'string' || !/^(crypto|cli)\.[a-z_]+$/.test(code)) {
    return { code: 'cli.unexpected', message };
  }
  return details === undefined ? { code, message } : { code, message, details };
}

/** Message of an error, and of the errors it gathers. */
export function causeText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error instanceof AggregateError ? error.errors.map(causeText) : [];
  return [error.message, ...inner].filter((text) => text !== '').join('; ') || error.name;
}
