/**
 * Watches numbers that must stay small, and says when they do not.
 *
 * Invariant: silence is an alarm too. A number that cannot be read is reported as loudly as one that is too large, since
 * whoever stops the trail also stops what reads its lag.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Numbers by name, e.g. `oldestMs`. */
export type Numbers = Readonly<Record<string, number>>;

/** One line of the report: an object that becomes one line of JSON. No secret, no content of an event. */
export type Report = (line: string, values: Readonly<Record<string, string | number>>) => void;

/** What is watched, and how. */
export interface LagWatchOptions {
  /** Reads the numbers. */
  readonly read: () => Promise<Numbers>;
  /** Most of each number that raises an alarm beyond it. */
  readonly limits: Numbers;
  /** Time between two looks, ms. */
  readonly everyMs: number;
  /** Where the lines go: `lag` after each look, `alarm` after each look that finds something, `clear` when it is over. */
  readonly report: Report;
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

/** Watches until the signal. */
export async function watchLag(options: LagWatchOptions): Promise<void> {
  const { everyMs, signal } = options;
  const alarmed = new Set<string>();
  while (!signal.aborted) {
    await look(options, alarmed);
    // Rejects when aborted; the loop's condition ends it then.
    await delay(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

async function look({ read, limits, report }: LagWatchOptions, alarmed: Set<string>): Promise<void> {
  const settle = (what: string, wrong: boolean, values: Numbers) => {
    if (wrong) report('alarm', { what, ...values });
    else if (alarmed.has(what)) report('clear', { what, ...values });
    if (wrong) alarmed.add(what);
    else alarmed.delete(what);
  };
  let numbers: Numbers;
  try {
    numbers = await read();
  } catch {
    settle('unreadable', true, {});
    return;
  }
  report('lag', numbers);
  settle('unreadable', false, {});
  for (const [name, limit] of Object.entries(limits)) {
    const value = numbers[name];
    // A number that is not there is no small number.
    settle(name, !(value !== undefined && value <= limit), {
      ...(value === undefined ? {} : { value }),
      limit,
    });
  }
}
