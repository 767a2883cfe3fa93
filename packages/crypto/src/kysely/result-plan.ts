/**
 * What is to be done with the rows of one query: which outputs to open for which cell, which hidden columns to take away,
 * which hits of a blind index to compare again.
 * Invariant: every output that is not opened is looked through for sealed values.
 */
import type { DeclaredColumn, DeclaredTable } from './declaration.ts';

/** Prefix of the outputs the plugin adds to a query. */
export const HIDDEN_PREFIX = 'rf$';

/** Where an output comes from: a plain column of a table or view (`stored`), or anything else (`unknown`). */
export type OutputOrigin = 'stored' | 'unknown';

/** The less trusted of two origins. */
export function lessTrusted(a: OutputOrigin, b: OutputOrigin): OutputOrigin {
  return a === 'unknown' ? a : b;
}

/** An output to open. */
export interface OpenedOutput {
  /** Name in the result. */
  readonly output: string;
  /** Table. */
  readonly table: DeclaredTable;
  /** Column. */
  readonly column: DeclaredColumn;
  /** Hidden outputs that hold the row id, in the order of the declaration. */
  readonly rowOutputs: readonly string[];
}

/** A hit to compare again after opening. */
export interface BlindCheck {
  /** Hidden output that holds the opened value. */
  readonly output: string;
  /** Normaliser of the current index version. */
  readonly normalise: (text: string) => string;
  /** Normalised searched value. */
  readonly wanted: string;
}

/** Plan for the rows of one query. */
export class ResultPlan {
  readonly opened: OpenedOutput[] = [];
  readonly checks: BlindCheck[] = [];
  readonly origins: Map<string, OutputOrigin> = new Map();
  /** Origin of outputs that are not named: those of `*`. */
  star: OutputOrigin | undefined;
  /** Number of this plan among those of its query id. */
  token = 0;
  #hidden = 0;

  /** A fresh name for a hidden output, without its token. */
  hiddenName(): string {
    this.#hidden += 1;
    return `${HIDDEN_PREFIX}${this.#hidden}`;
  }

  /** Name of an output in the SQL: hidden ones carry the token. */
  sqlName(output: string): string {
    if (!output.startsWith(HIDDEN_PREFIX)) return output;
    return `${HIDDEN_PREFIX}${this.token}$${output.slice(HIDDEN_PREFIX.length)}`;
  }

  /** What makes two plans of one query id the same. */
  signature(): string {
    const opened = this.opened.map((one) => [one.output, one.table.name, one.column.name, one.rowOutputs]);
    const checks = this.checks.map(({ output, wanted }) => [output, wanted]);
    return JSON.stringify([opened, checks, [...this.origins], this.star]);
  }

  /** Takes over the origins of another plan where they are less trusted. */
  distrust(other: ResultPlan): void {
    for (const [name, origin] of other.origins)
      this.origins.set(name, lessTrusted(origin, this.origins.get(name) ?? 'stored'));
    if (other.star !== undefined) this.star = lessTrusted(other.star, this.star ?? 'stored');
  }

  /** Origin of an output. */
  originOf(output: string): OutputOrigin {
    const named = this.origins.get(output);
    // A star may bring a column of the same name, and the driver keeps the last one.
    if (named === undefined) return this.star ?? 'unknown';
    return this.star === undefined ? named : lessTrusted(named, this.star);
  }
}
