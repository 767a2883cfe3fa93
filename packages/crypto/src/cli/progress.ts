/**
 * Progress of long work on stderr: a bar on a terminal, otherwise a counted line about every twentieth of the way.
 */
import type { Terminal } from './terminal.ts';

const BAR_CELLS = 30;
const LINES = 20;

/** Progress towards a known total. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #total: number;
  readonly #bar: boolean;
  #shownAt = 0;

  constructor(terminal: Terminal, what: string, total: number) {
    this.#terminal = terminal;
    this.#what = what;
    this.#total = total;
    this.#bar = terminal.process.stderr.isTTY === true;
  }

  /** Shows that `done` of the total are done. */
  show(done: number, note = ''): void {
    const text = `${done}/${this.#total} ${this.#what}${note === '' ? '' : `, ${note}`}`;
    if (this.#bar) {
      const filled = Math.round((BAR_CELLS * done) / Math.max(1, this.#total));
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled);
      this.#terminal.process.stderr.write(`\r\u001b[K${bar} ${text}`);
      return;
    }
    const step = Math.max(1, Math.floor(this.#total / LINES));
    if (done < this.#total && done - this.#shownAt < step) return;
    this.#shownAt = done;
    this.#terminal.tell(text);
  }

  /** Ends the line of the bar. */
  end(): void {
    if (this.#bar) this.#terminal.process.stderr.write('\n');
  }
}
