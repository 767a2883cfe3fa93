/**
 * Subject keys in memory: by lease and subject, bounded, least recently used out first.
 * Invariant: a key lives no longer than the lease it was unwrapped under, and is wiped when it leaves; an erasure also
 * cancels what is being loaded, so that an answer from before it is never put in use.
 */
import type { Lease } from '../lease.ts';
import type { OrgId } from '../org-id.ts';
import type { LeasedSubjectKeys } from './subject-keys.ts';

interface Entry {
  readonly keys: LeasedSubjectKeys;
  /** Names of all entries of its lease. */
  readonly names: Set<string>;
}

interface Flight {
  readonly keys: Promise<LeasedSubjectKeys>;
  readonly org: OrgId;
  readonly subject: string;
  cancelled: boolean;
}

/** Counters of a subject cache since its creation. */
export interface SubjectCacheStats {
  /** Subject keys in memory now. */
  readonly keys: number;
  /** Calls answered from memory. */
  readonly hits: number;
  /** Calls that waited for the store. */
  readonly misses: number;
  /** Keys wiped before their lease ended, because of the bound or an erasure. */
  readonly evictions: number;
}

/** Cache of subject keys. */
export class SubjectCache {
  readonly #max: number;
  /** In order of last use, oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #byLease = new WeakMap<Lease, { readonly id: number; readonly names: Set<string> }>();
  readonly #flights = new Map<string, Flight>();
  readonly #counts = { hits: 0, misses: 0, evictions: 0 };
  #leases = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** The key in memory, or the one `load` makes; one load at a time per lease and subject. */
  async get(
    lease: Lease,
    subject: string,
    load: () => Promise<LeasedSubjectKeys>,
  ): Promise<LeasedSubjectKeys> {
    const name = this.#nameOf(lease, subject);
    for (;;) {
      const known = this.#entries.get(name);
      if (known?.keys.isLive()) {
        this.#counts.hits += 1;
        this.#entries.delete(name);
        this.#entries.set(name, known);
        return known.keys;
      }
      this.#counts.misses += 1;
      const flight = this.#flights.get(name) ?? this.#fly(name, lease, subject, load);
      const keys = await flight.keys;
      // An erasure since the call began outdates its answer: the store must be asked again.
      if (!flight.cancelled) return keys;
    }
  }

  /** Wipes a subject's keys under all leases. */
  erase(org: OrgId, subject: string): void {
    for (const [name, { keys }] of this.#entries) {
      if (keys.org === org && keys.subject === subject) this.#drop(name, 'erased');
    }
    for (const [name, flight] of this.#flights) {
      if (flight.org !== org || flight.subject !== subject) continue;
      flight.cancelled = true;
      this.#flights.delete(name);
    }
  }

  /** Counters. */
  stats(): SubjectCacheStats {
    return { keys: this.#entries.size, ...this.#counts };
  }

  #fly(name: string, lease: Lease, subject: string, load: () => Promise<LeasedSubjectKeys>): Flight {
    const flight: Flight = { keys: load(), org: lease.org, subject, cancelled: false };
    this.#flights.set(name, flight);
    const landed = () => {
      if (this.#flights.get(name) === flight) this.#flights.delete(name);
    };
    // Settled here, once, before any waiter continues.
    flight.keys.then((keys) => {
      landed();
      if (flight.cancelled) keys.wipe('erased');
      else this.#adopt(name, lease, keys);
    }, landed);
    return flight;
  }

  #adopt(name: string, lease: Lease, keys: LeasedSubjectKeys): void {
    const names = this.#byLease.get(lease)?.names;
    // A lease that ended while the store was read has wiped its names already; this one comes after.
    if (names === undefined || !lease.isLive()) {
      keys.wipe('evicted');
      return;
    }
    this.#entries.get(name)?.keys.wipe('evicted');
    this.#entries.set(name, { keys, names });
    names.add(name);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#max) break;
      this.#drop(oldest, 'evicted');
    }
  }

  #drop(name: string, why: 'erased' | 'evicted'): void {
    const entry = this.#entries.get(name);
    entry?.keys.wipe(why);
    entry?.names.delete(name);
    this.#entries.delete(name);
    this.#counts.evictions += 1;
  }

  /** Name of an entry; the first one of a lease ties the lease's end to its entries. */
  #nameOf(lease: Lease, subject: string): string {
    let known = this.#byLease.get(lease);
    if (known === undefined) {
      this.#leases += 1;
      const names = new Set<string>();
      known = { id: this.#leases, names };
      this.#byLease.set(lease, known);
      lease.whenEnded(() => {
        for (const name of names) {
          this.#entries.get(name)?.keys.wipe('evicted');
          this.#entries.delete(name);
        }
        names.clear();
      });
    }
    return `${known.id} ${subject}`;
  }
}
