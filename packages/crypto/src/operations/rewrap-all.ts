/**
 * KEK re-wrap of many organisations: rows of the key store only, two KMS calls per version (unwrap, wrap), in parallel,
 * paced, and resumable at any point.
 * Invariant: a version changes in one transaction from the old wrap to the new one, so that a crash leaves each version
 * under one of the two; no wrap is replaced under a KEK before one wrap under that KEK was opened in this run, so that a
 * KEK which may wrap but not unwrap can't lock anybody out.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { KekCalls } from '../kek-calls.ts';
import type { DekRecord, WrapRecord } from '../key-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { CallPace } from './call-pace.ts';
import { isConflict, noted, type OperationContext } from './operation-context.ts';
import { OrgQueue } from './org-queue.ts';
import { isUnder } from './wraps.ts';

/** What to re-wrap, and how fast. */
export interface RewrapOptions {
  /** Organisations, e.g. `orgsWithKeys(db)`. In ascending order if the run is to be resumable by `resumeAfter`. */
  readonly orgs: AsyncIterable<OrgId> | Iterable<OrgId>;
  /** KEK each organisation's versions shall be under; `kekFor` unless given. */
  readonly to?: (org: OrgId) => string;
  /** Replaces only wraps under this KEK and skips versions without one; all others stay. Needed where versions have several wraps. */
  readonly from?: string;
  /** Organisations at a time. Default 8. */
  readonly concurrency?: number;
  /** KMS calls started per second. No limit unless given. */
  readonly ratePerSecond?: number;
  /** Attempts per organisation when the KMS is silent or throttles, with growing waits between them. Default 6. */
  readonly attempts?: number;
  /** Stops after the versions in hand. */
  readonly signal?: AbortSignal;
  /** Called after each organisation. */
  readonly onProgress?: (progress: RewrapProgress) => void;
  /** Skips organisations up to and including this one; from the report or the last progress of a run that ended early. */
  readonly resumeAfter?: OrgId;
}

/** Counts of a run so far. */
export interface RewrapProgress {
  /** Organisations dealt with, failed ones included. */
  readonly orgs: number;
  /** Organisations with at least one version re-wrapped. */
  readonly rewrapped: number;
  /** Organisations that needed nothing: already there, no keys, or shredded. */
  readonly skipped: number;
  /** Organisations given up on. */
  readonly failed: number;
  /** Versions re-wrapped. */
  readonly versions: number;
  /** KMS calls made, repeated ones included. */
  readonly kmsCalls: number;
  /** Attempts that were repeated later. */
  readonly retries: number;
  /** This organisation and all before it are done; absent while there is none, or when they did not come in ascending order. */
  readonly resumeAfter?: OrgId;
}

/** One organisation that was given up on. It is unchanged, or some of its versions are under the new KEK. */
export interface RewrapFailure {
  /** Organisation. */
  readonly org: OrgId;
  /** Last error. */
  readonly error: Error;
}

/** Outcome of a run. */
export interface RewrapReport extends RewrapProgress {
  /** Organisations given up on, each with its last error. */
  readonly failures: readonly RewrapFailure[];
  /** True when the signal ended the run early. */
  readonly aborted: boolean;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/** Re-wraps; safe to run again, and beside other operations. */
export async function rewrapAll(context: OperationContext, options: RewrapOptions): Promise<RewrapReport> {
  return new RewrapRun(context, options).run();
}

class RewrapRun {
  readonly #context: OperationContext;
  readonly #options: RewrapOptions;
  readonly #calls: KekCalls;
  readonly #concurrency: number;
  readonly #attempts: number;
  readonly #proofs = new Map<string, Promise<void>>();
  readonly #failures: RewrapFailure[] = [];
  readonly #queue: OrgQueue;
  readonly #counts = { orgs: 0, rewrapped: 0, skipped: 0, versions: 0, retries: 0 };
  #broken = false;

  constructor(context: OperationContext, options: RewrapOptions) {
    this.#context = context;
    this.#options = options;
    this.#concurrency = positive('concurrency', options.concurrency ?? 8);
    this.#attempts = positive('attempts', options.attempts ?? 6);
    const pace = new CallPace(options.ratePerSecond, context.monotonicNow, context.wait);
    this.#calls = context.calls.counted(() => pace.slot(options.signal));
    const after = options.resumeAfter;
    this.#queue = new OrgQueue(options.orgs, after === undefined ? undefined : parseOrgId(after));
  }

  async run(): Promise<RewrapReport> {
    const workers = await Promise.allSettled(
      Array.from({ length: this.#concurrency }, async () => {
        try {
          await this.#work();
        } catch (error) {
          this.#broken = true; // the others finish what they hold and stop
          throw error;
        }
      }),
    );
    await this.#queue.close();
    for (const worker of workers) if (worker.status === 'rejected') throw worker.reason;
    return { ...this.#progress(), failures: this.#failures, aborted: this.#isAborted() };
  }

  async #work(): Promise<void> {
    while (!this.#broken && !this.#isAborted()) {
      const taken = await this.#queue.take();
      if (taken === undefined) return;
      const { org } = taken;
      const done = await noted(this.#context, this.#calls, org, (calls) => this.#orgWithRetries(org, calls));
      if (done === undefined) return;
      if (done) this.#queue.finish(taken);
      this.#counts.orgs += 1;
      this.#options.onProgress?.(this.#progress());
    }
  }

  /** True when done, false when given up on, undefined when the run was aborted first. */
  async #orgWithRetries(org: OrgId, calls: KekCalls): Promise<boolean | undefined> {
    let changed = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        for await (const _ of this.#versions(org, calls)) {
          changed += 1;
          this.#counts.versions += 1;
        }
        if (this.#isAborted()) return undefined;
        if (changed > 0) this.#counts.rewrapped += 1;
        else this.#counts.skipped += 1;
        return true;
      } catch (error) {
        if (!(error instanceof Error) || error instanceof TypeError) throw error;
        if (this.#isAborted()) return undefined;
        const retryable = error instanceof RingfenceCryptoError && error.retryable;
        if (!retryable || attempt >= this.#attempts) {
          this.#failures.push({ org, error });
          return false;
        }
        this.#counts.retries += 1;
        if (!isConflict(error)) await this.#context.wait(backoff(attempt), this.#options.signal);
      }
    }
  }

  /** Re-wraps the versions of an organisation one by one and yields after each. */
  async *#versions(org: OrgId, calls: KekCalls): AsyncGenerator<void> {
    const to = (this.#options.to ?? this.#context.kekFor)(org);
    for (const record of await this.#context.store.load(org)) {
      if (record.state === 'shredded' || this.#isAborted()) continue;
      const old = this.#toReplace(record, to);
      if (old === undefined) continue;
      const wraps = await this.#replaced(calls, record, old, to);
      await this.#context.store.replaceWraps(org, record.keyId, record.wraps, wraps);
      yield;
    }
  }

  #toReplace(record: DekRecord, to: string): WrapRecord | undefined {
    const { from } = this.#options;
    if (from !== undefined) {
      return from === to ? undefined : record.wraps.find(({ kekUri }) => kekUri === from);
    }
    if (isUnder(record, to)) return undefined;
    if (record.wraps.length === 1) return record.wraps[0];
    throw new RingfenceCryptoError(
      'crypto.several_wraps',
      `version ${record.version} has ${record.wraps.length} wraps: name the one to replace with \`from\``,
      { org: record.org, keyId: record.keyId },
    );
  }

  async #replaced(calls: KekCalls, record: DekRecord, old: WrapRecord, to: string): Promise<WrapRecord[]> {
    const present = record.wraps.find(({ kekUri }) => kekUri === to);
    if (present !== undefined) {
      // What an interrupted move leaves: the new wrap is there, and is proved before the old one goes.
      await calls.prove(record, present);
      return record.wraps.filter((wrap) => wrap !== old);
    }
    const fresh = await calls.withDek(record, [old], (dek) => calls.wrap(dek, record, to));
    await this.#proveKek(calls, record, fresh);
    return record.wraps.map((wrap) => (wrap === old ? fresh : wrap));
  }

  /** Opens the first wrap under each KEK; all others wait for it. */
  async #proveKek(calls: KekCalls, record: DekRecord, fresh: WrapRecord): Promise<void> {
    const known = this.#proofs.get(fresh.kekUri);
    if (known !== undefined) return known;
    const proof = calls.prove(record, fresh);
    this.#proofs.set(fresh.kekUri, proof);
    try {
      await proof;
    } catch (error) {
      this.#proofs.delete(fresh.kekUri);
      throw error;
    }
  }

  #isAborted(): boolean {
    return this.#options.signal?.aborted === true;
  }

  #progress(): RewrapProgress {
    const { doneUpTo } = this.#queue;
    return {
      ...this.#counts,
      failed: this.#failures.length,
      kmsCalls: this.#calls.calls,
      ...(doneUpTo !== undefined && { resumeAfter: doneUpTo }),
    };
  }
}

function backoff(attempt: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (attempt - 1), LAST_RETRY_MS) * (0.5 + Math.random() / 2);
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new TypeError(`${name} must be a whole number of at least 1`);
}
