/**
 * The key-use ledger: collects the counters of all leases and hands them to a port when a lease ends and at least every
 * `flushEveryMs`, so that an audit log learns what keys were used for without an event per message.
 * Invariant: nothing the port does reaches `seal`, `open` or the KMS path: it runs behind them, its failures are counted,
 * told to `onError` and retried, and what waits for it is bounded. A crash loses what was counted since the last report,
 * at most `flushEveryMs` of use.
 */
import type { OrgId } from '../org-id.ts';
import type { KeyUse, KeyUsePort } from './key-use.ts';
import { LeaseUse, type LeaseUseObserver } from './lease-use.ts';

/** What a keyring needs of a ledger; made by `keyUseLedger`. */
export interface KeyUseSink {
  /** Begins to count for a lease, or for an attempt to get one. */
  begin(org: OrgId): LeaseUse;
  /** Hands over what was counted so far; resolves when the port has answered. Never rejects. */
  flush(): Promise<void>;
}

/** A report the port did not take. */
export interface KeyUseFailure {
  /** What the port threw or rejected with. */
  readonly error: unknown;
  /** The report. */
  readonly use: KeyUse;
  /** True when the report is given up, because more than `maxPending` wait. */
  readonly dropped: boolean;
}

/** Options of a ledger. */
export interface KeyUseLedgerOptions {
  /** Where reports go. */
  readonly port: KeyUsePort;
  /** Longest time between use and report in ms, and so what a crash can lose. Default 60 000. */
  readonly flushEveryMs?: number;
  /** Time the port has for one report, ms. Default 10 000. */
  readonly portTimeoutMs?: number;
  /** Reports that wait while the port fails; beyond it the oldest is dropped. Default 10 000. */
  readonly maxPending?: number;
  /** Told of every failure. A process warning is emitted unless given. */
  readonly onError?: (failure: KeyUseFailure) => void;
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now?: () => number;
}

/** Counters of a ledger since its creation. */
export interface KeyUseStats {
  /** Reports the port took. */
  readonly recorded: number;
  /** Times the port failed or was too slow. */
  readonly failures: number;
  /** Reports given up. */
  readonly dropped: number;
  /** Reports that wait now. */
  readonly pending: number;
  /** Leases counted for now. */
  readonly leases: number;
}

/** A ledger of key use. */
export interface KeyUseLedger extends KeyUseSink {
  /** Counters. */
  stats(): KeyUseStats;
}

/**
 * Makes a ledger; give it to `createKeyring({ keyUse })`. `keyring.close()` flushes it.
 *
 * @throws TypeError when an option is out of range.
 * @example
 * ```ts
 * const keyUse = keyUseLedger({ port: { record: (use) => reports.insert(use) } });
 * const keyring = createKeyring({ ...options, keyUse });
 * ```
 */
export function keyUseLedger(options: KeyUseLedgerOptions): KeyUseLedger {
  return new Ledger(options);
}

const MAX_TIMER_MS = 0x7fff_ffff; // beyond it a timer of Node fires at once

class Ledger implements KeyUseLedger {
  readonly #port: KeyUsePort;
  readonly #flushEveryMs: number;
  readonly #portTimeoutMs: number;
  readonly #maxPending: number;
  readonly #onError: (failure: KeyUseFailure) => void;
  readonly #observer: LeaseUseObserver;
  readonly #live = new Set<LeaseUse>();
  /** Oldest first. */
  readonly #pending: KeyUse[] = [];
  readonly #counts = { recorded: 0, failures: 0, dropped: 0 };
  #delivery: Promise<void> | undefined;
  #failing = false;
  #lastError: unknown;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KeyUseLedgerOptions) {
    this.#port = options.port;
    this.#flushEveryMs = positive('flushEveryMs', options.flushEveryMs ?? 60_000);
    this.#portTimeoutMs = positive('portTimeoutMs', options.portTimeoutMs ?? 10_000);
    this.#maxPending = positive('maxPending', options.maxPending ?? 10_000);
    this.#onError = options.onError ?? warn;
    this.#observer = { now: options.now ?? Date.now, due: (use) => this.#due(use) };
  }

  begin(org: OrgId): LeaseUse {
    const use = new LeaseUse(org, this.#observer);
    this.#live.add(use);
    this.#arm();
    return use;
  }

  async flush(): Promise<void> {
    for (const use of this.#live) this.#collect(use);
    // A delivery that was under way may have stopped at a failure before it saw what was just collected.
    await this.#delivery;
    await this.#deliver();
  }

  stats(): KeyUseStats {
    return { ...this.#counts, pending: this.#pending.length, leases: this.#live.size };
  }

  #due(use: LeaseUse): void {
    this.#live.delete(use);
    this.#collect(use);
    if (!this.#failing) void this.#deliver(); // else the timer's flush tries again
  }

  #collect(use: LeaseUse): void {
    const report = use.drain();
    if (report === undefined) return;
    this.#pending.push(report);
    if (this.#pending.length <= this.#maxPending) return;
    // Not the one the port holds at this moment: it may still be taken.
    const [dropped] = this.#pending.splice(this.#delivery === undefined ? 0 : 1, 1);
    if (dropped === undefined) return;
    this.#counts.dropped += 1;
    this.#tell({ error: this.#lastError, use: dropped, dropped: true });
  }

  #deliver(): Promise<void> {
    this.#delivery ??= this.#run().finally(() => {
      this.#delivery = undefined;
      this.#arm();
    });
    return this.#delivery;
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // the port never runs inside the seal or open that ended a lease
    for (let use = this.#pending[0]; use !== undefined; use = this.#pending[0]) {
      try {
        await this.#offer(use);
      } catch (error) {
        this.#counts.failures += 1;
        this.#failing = true;
        this.#lastError = error;
        this.#tell({ error, use, dropped: false });
        return; // in order, and not again before the next flush
      }
      this.#failing = false;
      this.#pending.shift();
      this.#counts.recorded += 1;
    }
  }

  async #offer(use: KeyUse): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the key-use port did not answer within ${this.#portTimeoutMs} ms`)),
        this.#portTimeoutMs,
      );
    });
    try {
      await Promise.race([this.#port.record(use), limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  #tell(failure: KeyUseFailure): void {
    try {
      this.#onError(failure);
    } catch (error) {
      warn({ ...failure, error });
    }
  }

  /** The timer runs only while there is something to report, and does not keep the process alive. */
  #arm(): void {
    if (this.#timer !== undefined || (this.#live.size === 0 && this.#pending.length === 0)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, this.#flushEveryMs);
    this.#timer.unref();
  }
}

function warn({ error, use, dropped }: KeyUseFailure): void {
  const what = dropped
    ? 'A key-use report was dropped'
    : 'A key-use report was not taken and will be retried';
  const reason = error instanceof Error ? error.message : String(error);
  process.emitWarning(`${what} (lease ${use.leaseId}, report ${use.sequence}): ${reason}`, {
    type: 'RingfenceCryptoWarning',
  });
}

function positive(name: string, value: number): number {
  if (value >= 1 && value <= MAX_TIMER_MS) return value;
  throw new TypeError(`${name} must be a number from 1 to ${MAX_TIMER_MS}`);
}
