/**
 * The in-process half of group sealing: one call of `audit.seal_pending` in flight; whoever arrives meanwhile waits for
 * the next. So a hundred concurrent commits cost one or two sealing calls, not a hundred.
 *
 * An event can be queued and yet not sealed by a call, when somebody holds its organisation's chain; then it is asked for
 * again until the deadline (held-chains.ts). Invariant: every waiter settles.
 */
import { CompiledQuery } from 'kysely';
import { type ChainPosition, type FateRow, positionOf } from './append-result.ts';
import { fromDatabaseError, RingfenceAuditError } from './errors.ts';
import type { QueryExecutor } from './executor.ts';
import { HeldChains } from './held-chains.ts';

const SEAL = 'select id, org, seq, hash from audit.seal_pending($1::uuid[], $2::uuid[])';
const SEAL_NEXT = 'select audit.seal_next($1::double precision) as sealed';

interface Waiter {
  readonly id: string;
  readonly org: string | null;
  readonly deadlineMs: number;
  readonly resolve: (position: ChainPosition) => void;
  readonly reject: (error: unknown) => void;
}

/** A waiter for a chain that was held: the database told which. */
type HeldWaiter = Waiter & { readonly org: string };

/** Seals what is queued and tells each waiter where its event went. */
export class Sealer {
  readonly #db: QueryExecutor;
  readonly #now: () => number;
  readonly #timeoutMs: number;
  readonly #held = new HeldChains<Waiter>((waiters) => this.#ask(waiters));
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
    return new Promise<ChainPosition>((resolve, reject) => {
      const waiter = { id, org, deadlineMs: this.#now() + this.#timeoutMs, resolve, reject };
      if (!this.#held.join(waiter)) this.#ask([waiter]);
    });
  }

  /** Seals what is queued, of every process: one organisation in a call, because a call holds the chains that it moves. */
  async sealAll(): Promise<void> {
    const startMs = performance.now();
    let sealed: unknown = true;
    while (sealed === true) {
      // What is committed later is sealed by who committed it; to wait for that too might have no end.
      const query = CompiledQuery.raw(SEAL_NEXT, [performance.now() - startMs]);
      const rows = await this.#call(query as CompiledQuery<{ readonly sealed: unknown }>);
      sealed = rows[0]?.sealed;
    }
  }

  #ask(waiters: readonly Waiter[]): void {
    this.#waiting.push(...waiters);
    if (!this.#running && waiters.length > 0) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    await Promise.resolve(); // events of one batch come one after the other in the same turn
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      this.#held.settle(batch, this.#dropExpired(await this.#sealBatch(batch)));
    }
    this.#running = false;
  }

  /** Settles what it can and returns the waiters whose organisation's chain was held. */
  async #sealBatch(batch: readonly Waiter[]): Promise<HeldWaiter[]> {
    const parameters = [batch.map(({ id }) => id), batch.map(({ org }) => org)];
    const held: HeldWaiter[] = [];
    try {
      const rows = await this.#call(CompiledQuery.raw(SEAL, parameters) as CompiledQuery<FateRow>);
      const fates = new Map(rows.map((row) => [row.id, row]));
      for (const waiter of batch) {
        const fate = fates.get(waiter.id);
        if (fate === undefined) {
          waiter.reject(notCommitted(waiter.id));
          continue;
        }
        const position = positionOf(fate);
        if (position !== undefined) waiter.resolve(position);
        else held.push({ ...waiter, org: String(fate.org) });
      }
      return held;
    } catch (error) {
      const mapped = fromDatabaseError(error);
      const failure = mapped instanceof RingfenceAuditError ? mapped : unavailable(error);
      const orgs = new Set(batch.map(({ org }) => org));
      if (failure.code === 'audit.history_changed' && orgs.size > 1) {
        // One of the chains was set back: the others are sealed without it.
        for (const org of orgs) held.push(...(await this.#sealBatch(batch.filter((one) => one.org === org))));
        return held;
      }
      for (const waiter of batch) waiter.reject(failure);
      return [];
    }
  }

  async #call<Row>(query: CompiledQuery<Row>): Promise<readonly Row[]> {
    this.#calls++;
    this.#underWay++;
    try {
      return (await this.#db.executeQuery(query)).rows;
    } finally {
      this.#underWay--;
    }
  }

  #dropExpired(waiters: readonly HeldWaiter[]): HeldWaiter[] {
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
