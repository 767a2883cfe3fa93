/** Findings of one verification, in bounded memory: whoever makes a thousand of one class hides no other behind them. */

/** Most findings kept, and the first of every other class. */
export const MOST_FINDINGS = 1_000;

/** Collects findings. */
export class FindingList<F extends { readonly class: string }> {
  readonly #kept: F[] = [];
  readonly #classes = new Set<string>();
  #count = 0;

  /** The first 1 000, and the first of every other class. */
  get kept(): readonly F[] {
    return this.#kept;
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Adds one. */
  add(finding: F): void {
    this.#count++;
    if (this.#kept.length >= MOST_FINDINGS && this.#classes.has(finding.class)) return;
    this.#classes.add(finding.class);
    this.#kept.push(finding);
  }
}
