/**
 * The in-process half of group sealing: one call of `audit.seal_pending` in flight; whoever arrives meanwhile waits for
 * the next. So a hundred concurrent commits cost one or two sealing calls, not a hundred.
 *
 * An event can be queued and yet not sealed by a call, when a transaction holds its organisation's head; then the call is
 * repeated, with a growing pause, until the deadline. Invariant: every waiter settles.
 */
import { CompiledQuery } from 'kysely';
import { type ChainPosition, type FateRow, positionOf } from './append-result.ts';
import { fromDatabaseError, RingfenceAuditError } from './errors.ts';
import type { QueryExecutor } from './executor.ts';

const SEAL = 'select id, org, seq, hash from audit.seal_pending($1::uuid[], $2::uuid[])';
/** Longest pause between two calls for a head that is held, ms. */
const LONGEST_PAUSE_MS = 20;

interface Waiter {
  readonly id: string;
  readonly org: string | null;
  readonly deadlineMs: number;
  readonly resolve: (position: ChainPosition) => void;
  readonly reject: (error: unknown) => void;
}

/** Seals what is queued and tells each waiter where its event went. */
export class Sealer {
  readonly #db: QueryExecutor;
  readonly #now: () => number;
  readonly #timeoutMs: number;
  #waiting: Waiter[] = [];
  #running = false;
  #calls = 0;
  #underWay = 0;

  constructor(db: QueryExecutor, now: () => number, timeoutMs: number) {
    this.#db = db;
    this.#now = now;
    this.#timeoutMs = timeoutMs;
  }

  /** Number of sealing calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /**
   * Whether a sealing call is under way, so that another follows: one more event costs it less than a transaction that seals
   * its own. Not while the sealer only waits for a chain that somebody holds.
   */
  get busy(): boolean {
    return this.#underWay > 0;
  }

  /** Waits until a committed event is sealed. */
  wait(id: string, org: string | null): Promise<ChainPosition> {
    const sealed = new Promise<ChainPosition>((resolve, reject) => {
      this.#waiting.push({ id, org, deadlineMs: this.#now() + this.#timeoutMs, resolve, reject });
    });
    if (!this.#running) void this.#run();
    return sealed;
  }

  /** Seals what is queued, of every process. */
  async sealAll(): Promise<void> {
    await this.#call([]);
  }

  async #run(): Promise<void> {
    this.#running = true;
    await Promise.resolve(); // events of one batch come one after the other in the same turn
    let held: Waiter[] = [];
    let pauseMs = 1;
    while (this.#waiting.length > 0 || held.length > 0) {
      const batch = [...held, ...this.#waiting];
      this.#waiting = [];
      const still = await this.#sealBatch(batch);
      pauseMs = still.length < batch.length ? 1 : Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      held = this.#dropExpired(still);
      if (held.length > 0) await new Promise((resume) => setTimeout(resume, pauseMs));
    }
    this.#running = false;
  }

  /** Settles what it can and returns the waiters whose organisation's head was held. */
  async #sealBatch(batch: readonly Waiter[]): Promise<Waiter[]> {
    try {
      const fates = await this.#call(batch);
      return batch.filter((waiter) => {
        const fate = fates.get(waiter.id);
        if (fate === undefined) {
          waiter.reject(notCommitted(waiter.id));
          return false;
        }
        const position = positionOf(fate);
        if (position !== undefined) waiter.resolve(position);
        return position === undefined;
      });
    } catch (error) {
      const mapped = fromDatabaseError(error);
      const failure = mapped instanceof RingfenceAuditError ? mapped : unavailable(error);
      for (const waiter of batch) waiter.reject(failure);
      return [];
    }
  }

  async #call(batch: readonly Waiter[]): Promise<Map<unknown, FateRow>> {
    this.#calls++;
    const parameters = [batch.map(({ id }) => id), batch.map(({ org }) => org)];
    const query = CompiledQuery.raw(SEAL, parameters) as CompiledQuery<FateRow>;
    this.#underWay++;
    try {
      const { rows } = await this.#db.executeQuery(query);
      return new Map(rows.map((row) => [row.id, row]));
    } finally {
      this.#underWay--;
    }
  }

  #dropExpired(waiters: readonly Waiter[]): Waiter[] {
    const nowMs = this.#now();
    return waiters.filter(({ id, deadlineMs, reject }) => {
      if (nowMs < deadlineMs) return true;
      reject(
        new RingfenceAuditError(
          'audit.not_sealed',
          `event ${id} is committed but not sealed within ${this.#timeoutMs} ms: another transaction of its organisation holds the chain; run receipts as the last statement`,
          { retryable: true },
        ),
      );
      return false;
    });
  }
}

function notCommitted(id: string): RingfenceAuditError {
  return new RingfenceAuditError(
    'audit.not_sealed',
    `event ${id} is neither queued nor sealed: its transaction did not commit, or sealed was called before COMMIT`,
  );
}

function unavailable(cause: unknown): RingfenceAuditError {
  return new RingfenceAuditError(
    'audit.unavailable',
    'sealing failed in the database; events already committed are sealed by the next call',
    { retryable: true, cause },
  );
}
