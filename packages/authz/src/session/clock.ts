/**
 * Time that nothing extends. The wall clock can be set back, the monotonic clock stands still while the machine sleeps;
 * an instant is the later of the wall clock and "wall clock at the start plus monotonic time since". Setting the wall
 * clock back changes nothing, setting it forward ends things early, and setting it right again revives only what would
 * be alive by right. A machine whose clock was ahead when the process started stays ahead until it is restarted.
 */

/** Sources of time, both in milliseconds. */
export interface Clock {
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now: () => number;
  /** Monotonic clock in ms; `performance.now` unless given. */
  readonly monotonicNow: () => number;
}

/** The clocks of the options; those of the machine for what is not given. */
export function clockOf({ now, monotonicNow }: Partial<Clock>): Clock {
  return { now: now ?? (() => Date.now()), monotonicNow: monotonicNow ?? (() => performance.now()) };
}

/** Gives the instant in epoch ms; never earlier than monotonic time allows. */
export function steadyTime(clock: Clock): () => number {
  const offset = clock.now() - clock.monotonicNow();
  return () => {
    const wall = clock.now();
    const steady = offset + clock.monotonicNow();
    return Math.max(wall, steady);
  };
}
