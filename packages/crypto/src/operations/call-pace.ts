/**
 * Spreads calls evenly: the n-th starts no earlier than n intervals after the first. No bursts, since a KMS counts
 * requests per second across all its callers.
 */
import type { Wait } from './operation-context.ts';

/** Gives out start times. */
export class CallPace {
  readonly #intervalMs: number;
  readonly #monotonicNow: () => number;
  readonly #wait: Wait;
  #next = Number.NEGATIVE_INFINITY;

  /** `ratePerSecond` undefined: no limit. */
  constructor(ratePerSecond: number | undefined, monotonicNow: () => number, wait: Wait) {
    if (ratePerSecond !== undefined && !(ratePerSecond > 0)) {
      throw new TypeError('ratePerSecond must be above 0');
    }
    this.#intervalMs = ratePerSecond === undefined ? 0 : 1000 / ratePerSecond;
    this.#monotonicNow = monotonicNow;
    this.#wait = wait;
  }

  /** Resolves when the caller may start `units` calls, earlier when the signal aborts. */
  async slot(signal?: AbortSignal, units: number = 1): Promise<void> {
    if (this.#intervalMs === 0) return;
    const now = this.#monotonicNow();
    const start = Math.max(now, this.#next);
    this.#next = start + this.#intervalMs * units;
    if (start > now) await this.#wait(start - now, signal);
  }
}
