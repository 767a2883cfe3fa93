/**
 * What the command line writes to and reads from. Colour, bars and prompts only on a terminal; documents on stdout,
 * everything else on stderr.
 * Invariant: text from outside (ids of KEKs, messages of a KMS) cannot steer the terminal.
 */
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';

/** The process around the command line. */
export interface CliProcess {
  /** Arguments behind the name of the program. */
  readonly args: readonly string[];
  /** Folder in which the configuration is looked for. */
  readonly directory: string;
  /** Environment; only `NO_COLOR` and `TERM` are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input. */
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Standard output. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Standard error. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Calls back on each interrupt; gives a function that ends it. */
  readonly onInterrupt: (interrupted: () => void) => () => void;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** A style of text. */
type Style = keyof typeof STYLES;

/** Output with or without colour. */
export class Terminal {
  readonly process: CliProcess;
  readonly #colour: boolean;

  constructor(process: CliProcess) {
    this.process = process;
    const { NO_COLOR, TERM } = process.env;
    this.#colour = process.stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
  }

  /** Text in a style, where colours are shown. */
  paint(style: Style, text: string): string {
    return this.#colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text;
  }

  /** Writes a line to stdout. */
  print(line: string): void {
    this.process.stdout.write(`${line}\n`);
  }

  /** Writes a line to stderr. */
  tell(line: string): void {
    this.process.stderr.write(`${line}\n`);
  }

  /** True when a person can be asked. */
  get canAsk(): boolean {
    return this.process.stdin.isTTY === true && this.process.stderr.isTTY === true;
  }

  /** Asks for a line of text; empty when the input ends. */
  async ask(question: string): Promise<string> {
    const { stdin: input, stderr: output } = this.process;
    const lines = createInterface({ input, output, terminal: false });
    output.write(question);
    try {
      for await (const line of lines) return line.trim();
      return '';
    } finally {
      lines.close();
    }
  }
}

/** Text without control characters and with marks of direction spelt out. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** Rows as aligned columns, two spaces apart. */
export function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
