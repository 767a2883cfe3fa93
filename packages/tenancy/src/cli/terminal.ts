/**
 * What the command line writes to: documents on stdout, everything else on stderr, colour only on a terminal.
 * Invariant: text from outside, such as names of tables, cannot steer the terminal.
 */
import type { Writable } from 'node:stream';

/** The process around the command line. */
export interface CliProcess {
  /** Arguments behind the name of the program. */
  readonly args: readonly string[];
  /** Folder in which the configuration is looked for. */
  readonly directory: string;
  /** Environment; only `NO_COLOR` and `TERM` are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard output. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Standard error. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Output with or without colour. */
export class Terminal {
  readonly #process: CliProcess;
  readonly #colour: boolean;

  constructor(process: CliProcess) {
    this.#process = process;
    const { NO_COLOR, TERM } = process.env;
    this.#colour = process.stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
  }

  /** Text in a style, where colours are shown. */
  paint(style: keyof typeof STYLES, text: string): string {
    return this.#colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text;
  }

  /** Writes a line to stdout. */
  print(line: string): void {
    this.#process.stdout.write(`${line}\n`);
  }

  /** Writes a line to stderr. */
  tell(line: string): void {
    this.#process.stderr.write(`${line}\n`);
  }
}

/** Text without control characters, line breaks aside, and with marks of direction spelt out. */
export function printable(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
