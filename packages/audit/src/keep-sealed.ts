/**
 * Sealing on a timer, with an alarm. An event is committed and unsealed for milliseconds, unless the process that committed
 * it died before it could seal, or somebody holds the chain of its organisation: the first is mended here, and both are told.
 *
 * Invariant: the age is looked at before sealing, so what waited for too long is told even when this very turn seals it.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** What waits to be sealed. */
export interface Unsealed {
  /** Events committed but not sealed, of all organisations and processes. */
  readonly pending: number;
  /** Age of the oldest of them, ms; 0 when there is none. */
  readonly oldestPendingAgeMs: number;
}

/** Settings of `keepSealed`. */
export interface KeepSealedOptions {
  /** Ends it after the turn under way. */
  readonly signal: AbortSignal;
  /** The alarm: told in each turn in which an event has waited longer than `alarmAfterMs`. */
  readonly onUnsealed: (unsealed: Unsealed) => void;
  /** Told of a turn that failed, e.g. because the database is away; the next turn tries again. */
  readonly onError: (error: unknown) => void;
  /** An event is to be sealed after this time, ms. Default 60 000, as in `verify`. */
  readonly alarmAfterMs?: number;
  /** Time between two turns, ms. Default 5 000. */
  readonly pollMs?: number;
}

/** Seals until the signal. */
export async function keepSealed(
  options: KeepSealedOptions,
  stats: () => Promise<Unsealed>,
  seal: () => Promise<void>,
): Promise<void> {
  const { signal, onUnsealed, onError, alarmAfterMs = 60_000, pollMs = 5_000 } = options;
  while (!signal.aborted) {
    try {
      const { pending, oldestPendingAgeMs } = await stats();
      if (oldestPendingAgeMs > alarmAfterMs) onUnsealed({ pending, oldestPendingAgeMs });
      if (pending > 0) await seal();
    } catch (error) {
      onError(error);
    }
    // Rejects when aborted; the loop's condition ends it then.
    await delay(pollMs, undefined, { signal }).catch(() => undefined);
  }
}
