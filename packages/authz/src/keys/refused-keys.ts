/**
 * Keys that were refused, told to the application: those of a key that exists for the log of its organisation, all others
 * as a number. Whoever presents keys steers none of it. Invariants: a report holds no text of a key; at most one is made
 * per key and interval, whatever is presented; it is made after the refusal was given and never waited for, so the
 * refusal is the same, and takes the same, whether or not there is anybody to be told.
 */
import type { OrgId } from '../org-id.ts';

/** What a series of refusals has in common. */
export interface RefusedAttempts {
  /** How often, since the last report of the same key or kind. */
  readonly attempts: number;
  /** The first of them, epoch ms. */
  readonly firstAt: number;
  /** The last of them, epoch ms. */
  readonly lastAt: number;
}

/** A key that exists, and whose secret was right, was refused. */
export interface RefusedKnownKey extends RefusedAttempts {
  /** Its organisation. */
  readonly org: OrgId;
  /** Its id; the public part of the key. */
  readonly id: string;
  /** Code of the refusal: `authz.key_refused`, `authz.session_refused` or `authz.session_insufficient`. */
  readonly code: string;
  /** Why, as the error of the last attempt says: `revoked`, `expired`, `rotated`, `member`, `org`, … */
  readonly reason: string;
}

/** Keys were refused that are in nobody's organisation, or more different ones than are told apart. */
export interface RefusedOtherKeys extends RefusedAttempts {
  /** Never set: it is not known whose they are. */
  readonly org?: undefined;
  /** Never set. */
  readonly id?: undefined;
  /** Code of the refusal. */
  readonly code: string;
  /** `malformed`, `unknown`; `many` for the refusals of known keys beyond 10,000 different ones in an interval. */
  readonly reason: 'malformed' | 'unknown' | 'many';
}

/** Refusals of keys, as they are reported. */
export type RefusedKey = RefusedKnownKey | RefusedOtherKeys;

/** Whose key it was. */
export type KeyOwner = Pick<RefusedKnownKey, 'org' | 'id'>;

/** What to tell and whom. */
export interface RefusedKeysOptions {
  /** Told of refusals. */
  readonly tell: (refused: RefusedKey) => void | Promise<void>;
  /** Told when that failed. */
  readonly onError: (cause: unknown) => void;
  /** Least time between two reports of one key, ms. */
  readonly intervalMs: number;
}

interface Tally {
  readonly owner: KeyOwner | undefined;
  code: string;
  reason: string;
  attempts: number;
  firstAt: number;
  lastAt: number;
  /** First instant at which it may be told. */
  dueAt: number;
  telling: boolean;
}

const MOST_KEYS = 10_000;

/** Counts refusals and tells them. */
export class RefusedKeys {
  readonly #tell: RefusedKeysOptions['tell'];
  readonly #onError: (cause: unknown) => void;
  readonly #intervalMs: number;
  readonly #tallies = new Map<string, Tally>();
  readonly #tellings = new Set<Promise<void>>();
  /** First instant at which there is anything to tell or to forget. */
  #dueAt = Infinity;
  #scheduled = false;
  #now = 0;

  constructor({ tell, onError, intervalMs }: RefusedKeysOptions) {
    this.#tell = tell;
    this.#onError = onError;
    this.#intervalMs = intervalMs;
  }

  /** Counts a refusal. Never throws and never waits; nobody is called before the caller has its answer. */
  note(owner: KeyOwner | undefined, code: string, reason: string, at: number): void {
    const tally = this.#tallyOf(owner, reason);
    if (tally.attempts === 0) tally.firstAt = at;
    tally.attempts += 1;
    tally.lastAt = at;
    tally.code = code;
    if (owner === undefined || tally.owner !== undefined) tally.reason = reason;
    if (!tally.telling && tally.dueAt < this.#dueAt) this.#dueAt = tally.dueAt;
    this.pass(at);
  }

  /** Lets time pass: what was counted and is due by now is told soon. */
  pass(now: number): void {
    this.#now = now;
    if (now < this.#dueAt || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#tellDue(this.#now);
    });
  }

  /** Tells all that is counted, due or not. Rejects when somebody could not be told; it stays counted. */
  async flush(): Promise<void> {
    await Promise.allSettled(this.#tellings);
    const told = await Promise.allSettled(
      [...this.#tallies.values()].filter(({ attempts }) => attempts > 0).map((tally) => this.#report(tally)),
    );
    for (const each of told) if (each.status === 'rejected') throw each.reason;
  }

  /** An id has 16 characters, the reasons have others: neither is taken for the other. */
  #tallyOf(owner: KeyOwner | undefined, reason: string): Tally {
    const known = this.#tallies.get(owner?.id ?? reason);
    if (known !== undefined) return known;
    if (owner !== undefined && this.#tallies.size >= MOST_KEYS) return this.#tallyOf(undefined, 'many');
    const tally: Tally = {
      owner,
      code: '',
      reason,
      attempts: 0,
      firstAt: 0,
      lastAt: 0,
      dueAt: -Infinity,
      telling: false,
    };
    this.#tallies.set(owner?.id ?? reason, tally);
    return tally;
  }

  #tellDue(now: number): void {
    this.#dueAt = Infinity;
    for (const [name, tally] of this.#tallies) {
      if (!tally.telling && tally.dueAt <= now) {
        // Told nothing for a whole interval: the next refusal is told at once again.
        if (tally.attempts === 0) this.#tallies.delete(name);
        else {
          tally.dueAt = now + this.#intervalMs;
          this.#report(tally).catch(this.#onError);
        }
      }
      if (this.#tallies.has(name)) this.#dueAt = Math.min(this.#dueAt, Math.max(tally.dueAt, now + 1));
    }
  }

  async #report(tally: Tally): Promise<void> {
    const { owner, code, reason, attempts, firstAt, lastAt } = tally;
    tally.attempts = 0;
    tally.telling = true;
    tally.dueAt = Math.max(tally.dueAt, lastAt + this.#intervalMs);
    const counted = { code, reason, attempts, firstAt, lastAt };
    const refused = Object.freeze(owner === undefined ? counted : { ...owner, ...counted }) as RefusedKey;
    const telling = Promise.resolve(refused).then(this.#tell);
    const settled = telling.then(
      () => undefined,
      () => {
        tally.firstAt = firstAt;
        tally.attempts += attempts;
      },
    );
    this.#tellings.add(settled);
    try {
      await telling;
    } finally {
      await settled;
      tally.telling = false;
      this.#tellings.delete(settled);
    }
  }
}
