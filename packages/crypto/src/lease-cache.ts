/**
 * The lease cache: one unwrap per organisation at a time, refreshed ahead of its end, bounded, and wiped on eviction.
 *
 * What a failure does (docs/formats and README state the same): a refusal (`key_revoked`, `key_denied`, `key_destroyed`,
 * `key_shredded`, `wrap_tampered`, `org_unknown`) on refresh evicts at once; silence (`kms_unavailable`, a malformed
 * answer, a store that fails) lets the running lease serve to its end and not a moment longer.
 *
 * Invariant: an eviction also cancels what is in flight, so that an answer asked for before it is never put in use.
 */
import type { Clock } from './clock.ts';
import { type CryptoErrorCode, RingfenceCryptoError } from './errors.ts';
import { type Instant, instantOf, type Lease } from './lease.ts';
import type { OrgId } from './org-id.ts';

/** Options of the cache, all set. */
export interface LeaseCacheOptions {
  /** Hard maximum age of a lease, ms. */
  readonly maxAgeMs: number;
  /** Share of the age after which the lease is refreshed in the background. */
  readonly refreshAheadAtShare: number;
  /** Organisations kept. */
  readonly maxOrgs: number;
  /** How long a refusal is remembered, ms. */
  readonly deniedForMs: number;
}

/** Counters of a keyring since its creation, and what it holds now. */
export interface KeyringStats {
  /** Organisations with a lease now. */
  readonly orgs: number;
  /** Leases alive now, superseded ones that callers may still hold included. */
  readonly leases: number;
  /** Calls of `org` answered from a lease. */
  readonly hits: number;
  /** Calls of `org` that waited for the KMS. */
  readonly misses: number;
  /** Calls to a KMS, wraps and unwraps. */
  readonly kmsCalls: number;
  /** Refreshes in the background that succeeded. */
  readonly refreshes: number;
  /** Refreshes in the background that failed. */
  readonly refreshFailures: number;
  /** Calls of `org` answered with a remembered refusal. */
  readonly deniedHits: number;
  /** Leases ended before their time: revoked, refused on refresh, or beyond `maxOrgs`. */
  readonly evictions: number;
}

const REFUSALS: ReadonlySet<CryptoErrorCode> = new Set<CryptoErrorCode>([
  'crypto.key_revoked',
  'crypto.key_denied',
  'crypto.key_destroyed',
  'crypto.key_shredded',
  'crypto.wrap_tampered',
  'crypto.org_unknown',
]);
/** Refusals that cost a KMS call to learn, and so are remembered. */
const REMEMBERED: ReadonlySet<CryptoErrorCode> = new Set<CryptoErrorCode>([
  'crypto.key_revoked',
  'crypto.key_denied',
  'crypto.key_destroyed',
  'crypto.wrap_tampered',
]);
const JITTER_SHARE = 0.1;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
const LEAST_SWEEP_MS = 1000;
const MAX_ATTEMPTS = 3;

interface Entry {
  current: Lease;
  /** Superseded leases that callers may still hold. */
  readonly older: Set<Lease>;
  refreshAt: number;
  failures: number;
}

interface Flight {
  readonly lease: Promise<Lease>;
  cancelled: boolean;
}

/** Leases by organisation. */
export class LeaseCache {
  readonly #clock: Clock;
  readonly #options: LeaseCacheOptions;
  readonly #make: (org: OrgId, start: Instant) => Promise<Lease>;
  /** In order of last use, oldest first. */
  readonly #entries = new Map<OrgId, Entry>();
  readonly #flights = new Map<OrgId, Flight>();
  readonly #denied = new Map<OrgId, { readonly error: RingfenceCryptoError; readonly until: number }>();
  readonly #counts = { hits: 0, misses: 0, refreshes: 0, refreshFailures: 0, deniedHits: 0, evictions: 0 };
  #sweeper: NodeJS.Timeout | undefined;

  constructor(
    clock: Clock,
    options: LeaseCacheOptions,
    make: (org: OrgId, start: Instant) => Promise<Lease>,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.#make = make;
  }

  /** A live lease of an organisation. */
  async get(org: OrgId): Promise<Lease> {
    const held = this.#held(org);
    if (held !== undefined) {
      this.#counts.hits += 1;
      return held;
    }
    for (let attempt = 1; ; attempt += 1) {
      this.#refuseIfDenied(org);
      this.#counts.misses += 1;
      const flight = this.#fly(org);
      const lease = await flight.lease;
      // A revocation since the call began outdates its answer: the KMS must be asked again.
      if (!flight.cancelled && lease.isLive()) return lease;
      if (attempt === MAX_ATTEMPTS) {
        throw new RingfenceCryptoError(
          'crypto.lease_expired',
          'the lease ended before it could be used: the KMS answers too slowly, or the organisation is revoked again and again',
          { org },
          true,
        );
      }
    }
  }

  /** Ends all leases of an organisation now and drops what is in flight for it. */
  evict(org: OrgId): void {
    this.forgetDenial(org);
    const flight = this.#flights.get(org);
    if (flight !== undefined) flight.cancelled = true;
    this.#flights.delete(org);
    const entry = this.#entries.get(org);
    if (entry === undefined) return;
    this.#entries.delete(org);
    for (const lease of [entry.current, ...entry.older]) {
      if (lease.isLive()) this.#counts.evictions += 1;
      lease.end('revoked');
    }
  }

  /** Ends all leases of all organisations now. */
  evictAll(): void {
    for (const org of new Set([...this.#entries.keys(), ...this.#flights.keys()])) this.evict(org);
    clearTimeout(this.#sweeper);
    this.#sweeper = undefined;
  }

  /** Forgets that an organisation was refused. */
  forgetDenial(org: OrgId): void {
    this.#denied.delete(org);
  }

  /** Counters, without the KMS calls. */
  stats(): Omit<KeyringStats, 'kmsCalls'> {
    let leases = 0;
    for (const entry of this.#entries.values()) {
      for (const lease of [entry.current, ...entry.older]) if (lease.isLive()) leases += 1;
    }
    return { orgs: this.#entries.size, leases, ...this.#counts };
  }

  /** The current lease if it may be handed out; starts a refresh when one is due. */
  #held(org: OrgId): Lease | undefined {
    const entry = this.#entries.get(org);
    if (entry === undefined) return undefined;
    const lease = entry.current;
    if (!lease.isLive() || !lease.hasRoom()) return undefined;
    const monotonic = this.#clock.monotonicNow();
    // An unknown key id may name a version made since; asked at most once per denial period, so that forged ids are cheap.
    if (lease.missedKey && monotonic - lease.startedMonotonic >= this.#options.deniedForMs) return undefined;
    this.#entries.delete(org);
    this.#entries.set(org, entry);
    if (monotonic >= entry.refreshAt && !this.#flights.has(org)) this.#refresh(org, entry);
    return lease;
  }

  #refresh(org: OrgId, entry: Entry): void {
    this.#fly(org).lease.then(
      () => {
        this.#counts.refreshes += 1;
      },
      () => {
        // The refusal has evicted already (#fly); silence only delays the next attempt.
        this.#counts.refreshFailures += 1;
        const delay = Math.min(FIRST_RETRY_MS * 2 ** entry.failures, LAST_RETRY_MS);
        entry.failures += 1;
        entry.refreshAt = this.#clock.monotonicNow() + delay * (0.5 + Math.random() / 2);
      },
    );
  }

  /** The one call in flight of an organisation. */
  #fly(org: OrgId): Flight {
    const running = this.#flights.get(org);
    if (running !== undefined) return running;
    const flight: Flight = { lease: this.#make(org, instantOf(this.#clock)), cancelled: false };
    this.#flights.set(org, flight);
    const landed = () => {
      if (this.#flights.get(org) === flight) this.#flights.delete(org);
    };
    // Settled here, once, before any waiter continues: waiters only look at the outcome.
    flight.lease.then(
      (lease) => {
        landed();
        if (flight.cancelled) lease.end('revoked');
        else this.#adopt(org, lease);
      },
      (error: unknown) => {
        landed();
        if (!flight.cancelled) this.#settleFailure(org, error);
      },
    );
    return flight;
  }

  #adopt(org: OrgId, lease: Lease): void {
    const former = this.#entries.get(org);
    this.#entries.delete(org);
    const older = new Set<Lease>();
    if (former !== undefined) {
      for (const old of [former.current, ...former.older]) if (old.isLive()) older.add(old);
    }
    const { maxAgeMs, refreshAheadAtShare, maxOrgs } = this.#options;
    const share = refreshAheadAtShare * (1 - JITTER_SHARE * Math.random());
    this.#entries.set(org, {
      current: lease,
      older,
      refreshAt: lease.startedMonotonic + maxAgeMs * share,
      failures: 0,
    });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= maxOrgs) break;
      this.evict(oldest);
    }
    this.#armSweeper(lease.remainingMs());
  }

  #settleFailure(org: OrgId, error: unknown): void {
    if (!(error instanceof RingfenceCryptoError) || !REFUSALS.has(error.code)) return;
    this.evict(org);
    if (!REMEMBERED.has(error.code)) return;
    this.#denied.delete(org);
    this.#denied.set(org, { error, until: this.#clock.monotonicNow() + this.#options.deniedForMs });
    for (const oldest of this.#denied.keys()) {
      if (this.#denied.size <= this.#options.maxOrgs) break;
      this.#denied.delete(oldest);
    }
  }

  #refuseIfDenied(org: OrgId): void {
    const denial = this.#denied.get(org);
    if (denial === undefined) return;
    if (this.#clock.monotonicNow() >= denial.until) {
      this.#denied.delete(org);
      return;
    }
    this.#counts.deniedHits += 1;
    const { code, message, details, retryable } = denial.error;
    throw new RingfenceCryptoError(code, message, details, retryable);
  }

  /** Wipes leases that end without being asked for again. */
  #armSweeper(inMs: number): void {
    if (this.#sweeper !== undefined) return;
    this.#sweeper = setTimeout(
      () => {
        this.#sweeper = undefined;
        this.#sweep();
      },
      Math.min(Math.max(inMs, LEAST_SWEEP_MS), 0x7fff_ffff),
    );
    this.#sweeper.unref();
  }

  #sweep(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const [org, entry] of this.#entries) {
      for (const lease of entry.older) if (!lease.isLive()) entry.older.delete(lease);
      if (entry.current.isLive()) next = Math.min(next, entry.current.remainingMs());
      else if (entry.older.size === 0) this.#entries.delete(org);
      for (const lease of entry.older) next = Math.min(next, lease.remainingMs());
    }
    if (next !== Number.POSITIVE_INFINITY) this.#armSweeper(next);
  }
}
