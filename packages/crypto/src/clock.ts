/**
 * Two clocks, because each alone can be fooled: the wall clock can be set back, the monotonic clock stands still while
 * the machine sleeps. A lease ends when either says so.
 */

/** Sources of time, both in milliseconds. */
export interface Clock {
  /** Wall clock, like `Date.now`. */
  readonly now: () => number;
  /** Monotonic clock, like `performance.now`. */
  readonly monotonicNow: () => number;
}

/** The clocks of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicNow: () => performance.now(),
};
