/**
 * How far each step of the log is behind the one before, as gauges: committed and not sealed, sealed and not signed, signed
 * and not copied. Each is read from the database when the meter asks, once for all gauges of a step.
 *
 * Invariants: silence is told too: a number that cannot be read is left out, never 0, and `ringfence.audit.lag.readable` is 0
 * for its step. Attributes hold names of steps and the names that the caller gave to copies, nothing else.
 */

import type { CheckpointLag } from '../checkpoint/checkpointer.ts';
import type { Unsealed } from '../keep-sealed.ts';
import type { CopyLag } from '../write-once/write-once-copy.ts';
import type { TelemetryAttributes, TelemetryGauge, TelemetryMeter, TelemetryResult } from './telemetry.ts';

/** Whose lag is measured; a process hands in what it has. */
export interface LagSources {
  /** An audit log: age and number of unsealed events. Leave it out where `traced` has the meter, which measures the same. */
  readonly audit?: {
    /** As `Audit.stats`. */
    stats(): Promise<Unsealed>;
  };
  /** A checkpointer: age and number of the events that are not signed. */
  readonly checkpointer?: {
    /** As `Checkpointer.lag`. */
    lag(): Promise<CheckpointLag>;
  };
  /** Write-once copies by a name for each, which becomes an attribute: age and number of what is signed and not copied. */
  readonly copies?: Readonly<
    Record<
      string,
      {
        /** As `WriteOnceCopy.lag`. */
        lag(): Promise<CopyLag>;
      }
    >
  >;
}

/** Gauges in a meter. */
export interface LagMetrics {
  /** Takes them out again; call it before the pools are ended. */
  stop(): void;
}

type Names<Lag> = readonly (readonly [metric: string, unit: string, description: string, field: keyof Lag])[];

const PREFIX = 'ringfence.audit.';
const READABLE = 'lag.readable';

const UNSEALED: Names<Unsealed> = [
  ['unsealed.age', 'ms', 'Age of the oldest event that is committed but not sealed', 'oldestPendingAgeMs'],
  ['unsealed.events', '{event}', 'Events that are committed but not sealed', 'pending'],
];
const UNSIGNED: Names<CheckpointLag> = [
  ['checkpoint.lag.age', 'ms', 'Age of the oldest event that is sealed but in no checkpoint', 'oldestMs'],
  ['checkpoint.lag.events', '{event}', 'Events that are sealed but in no checkpoint', 'events'],
  ['checkpoint.lag.orgs', '{org}', 'Organisations with such events', 'orgs'],
];
const UNCOPIED: Names<CopyLag> = [
  ['copy.lag.age', 'ms', 'Age of the oldest checkpoint that is signed but not copied', 'oldestMs'],
  ['copy.lag.checkpoints', '{checkpoint}', 'Checkpoints that are signed but not copied', 'checkpoints'],
  ['copy.lag.events', '{event}', 'Events of those checkpoints', 'events'],
  ['copy.lag.orgs', '{org}', 'Organisations with such checkpoints', 'orgs'],
];

/**
 * Measures how far sealing, signing and copying are behind. Names, units and what to alarm on: docs/audit-operating.md.
 *
 * @example
 * ```ts
 * const lag = measureLag(metrics.getMeter('app'), { audit, checkpointer, copies: { primary: copy } });
 * ```
 */
export function measureLag(meter: TelemetryMeter, { audit, checkpointer, copies }: LagSources): LagMetrics {
  const gauges = new Gauges(meter);
  if (audit !== undefined) gauges.add('unsealed', {}, UNSEALED, () => audit.stats());
  if (checkpointer !== undefined) gauges.add('checkpoint', {}, UNSIGNED, () => checkpointer.lag());
  for (const [name, copy] of Object.entries(copies ?? {})) {
    gauges.add('copy', { [`${PREFIX}copy`]: name }, UNCOPIED, () => copy.lag());
  }
  return gauges;
}

type Callback = (result: TelemetryResult) => Promise<void>;

class Gauges implements LagMetrics {
  readonly #meter: TelemetryMeter;
  readonly #callbacks: (readonly [TelemetryGauge, Callback])[] = [];

  constructor(meter: TelemetryMeter) {
    this.#meter = meter;
  }

  add<Lag extends object>(
    step: string,
    attributes: TelemetryAttributes,
    names: Names<Lag>,
    read: () => Promise<Lag>,
  ): void {
    const shared = once(read);
    for (const [metric, unit, description, field] of names) {
      this.#gauge(metric, { unit, description }, async (result) => {
        const lag = await shared();
        if (lag !== undefined) result.observe(Number(lag[field]), attributes);
      });
    }
    const description =
      '1 when the lag of a step could be read, 0 when not: then its other gauges say nothing';
    this.#gauge(READABLE, { unit: '1', description }, async (result) => {
      // The same attributes in both cases: an SDK may repeat the last value of a series that nobody observes any more.
      result.observe((await shared()) === undefined ? 0 : 1, { ...attributes, [`${PREFIX}step`]: step });
    });
  }

  stop(): void {
    for (const [gauge, callback] of this.#callbacks.splice(0)) gauge.removeCallback(callback);
  }

  #gauge(metric: string, options: { unit: string; description: string }, callback: Callback): void {
    const gauge = this.#meter.createObservableGauge(`${PREFIX}${metric}`, options);
    gauge.addCallback(callback);
    this.#callbacks.push([gauge, callback]);
  }
}

/** Gauges of one collection are asked at once: they share what is read. Undefined when it could not be read. */
function once<T>(read: () => Promise<T>): () => Promise<T | undefined> {
  let reading: Promise<T | undefined> | undefined;
  const fresh = async (): Promise<T | undefined> => {
    try {
      return await read();
    } catch {
      return undefined; // told as unreadable; the text of a driver's error can quote a row
    } finally {
      reading = undefined;
    }
  };
  return () => {
    reading ??= fresh();
    return reading;
  };
}
