/**
 * A lease: the right to use an organisation's unwrapped keys for a limited time, number of messages and number of bytes.
 * Invariant: once the lease has ended, by age on either clock, use or eviction, its keys are wiped and nothing that was
 * handed out under it works any more, but the stream of a file that had begun (docs/formats/file-v1.md). Its age counts from before the KMS was asked.
 */
import type { Clock } from './clock.ts';
import { RingfenceCryptoError } from './errors.ts';
import type { LeaseUse } from './key-use/lease-use.ts';
import type { KeyVersion } from './key-version.ts';
import type { OrgId } from './org-id.ts';

/** Limits of one lease. */
export interface LeaseLimits {
  /** Hard maximum age in ms. */
  readonly maxAgeMs: number;
  /** Messages sealed and opened. */
  readonly maxMessages: number;
  /** Plaintext bytes sealed and opened. */
  readonly maxBytes: number;
}

/** Instant on both clocks, ms. */
export interface Instant {
  /** Wall clock. */
  readonly wall: number;
  /** Monotonic clock. */
  readonly monotonic: number;
}

/** Reads both clocks. */
export function instantOf(clock: Clock): Instant {
  return { wall: clock.now(), monotonic: clock.monotonicNow() };
}

/** Keys of one organisation with an end. */
export class Lease {
  /** Owner. */
  readonly org: OrgId;
  /** The version that seals. */
  readonly active: KeyVersion;
  /** Messages so far. */
  messages = 0;
  /** Bytes so far. */
  bytes = 0;
  /** Monotonic time of the start, ms. */
  readonly startedMonotonic: number;
  /** True once a message named a key id this lease does not know, e.g. of a version made since. */
  missedKey = false;
  /** Counters for the key-use ledger. */
  readonly keyUse: LeaseUse | undefined;
  readonly #versions: readonly KeyVersion[];
  readonly #clock: Clock;
  readonly #limits: LeaseLimits;
  readonly #wallEnd: number;
  readonly #monotonicEnd: number;
  readonly #onEnd = new Set<() => void>();
  #ended: 'expired' | 'revoked' | undefined;

  constructor(
    org: OrgId,
    active: KeyVersion,
    versions: readonly KeyVersion[],
    clock: Clock,
    start: Instant,
    limits: LeaseLimits,
    keyUse?: LeaseUse,
  ) {
    this.org = org;
    this.active = active;
    this.keyUse = keyUse;
    this.#versions = versions;
    this.#clock = clock;
    this.#limits = limits;
    this.startedMonotonic = start.monotonic;
    this.#wallEnd = start.wall + limits.maxAgeMs;
    this.#monotonicEnd = start.monotonic + limits.maxAgeMs;
  }

  /** True while the lease lives; ends it when its time has passed. */
  isLive(): boolean {
    if (this.#ended !== undefined) return false;
    if (this.#clock.monotonicNow() < this.#monotonicEnd && this.#clock.now() < this.#wallEnd) return true;
    this.end('expired');
    return false;
  }

  /** True while messages and bytes are left. */
  hasRoom(): boolean {
    return this.messages < this.#limits.maxMessages && this.bytes < this.#limits.maxBytes;
  }

  /** Ms until the age limit, on the clock that says less. */
  remainingMs(): number {
    return Math.min(this.#monotonicEnd - this.#clock.monotonicNow(), this.#wallEnd - this.#clock.now());
  }

  /** Counts one message of `bytes`; every use of a key goes through here first. */
  use(bytes: number): void {
    if (!this.isLive()) {
      throw new RingfenceCryptoError(
        'crypto.lease_expired',
        this.#ended === 'revoked'
          ? 'the keys of this organisation were evicted: call keyring.org() again'
          : 'the lease of these keys has ended: call keyring.org() again',
        { org: this.org },
        true,
      );
    }
    if (!this.hasRoom()) {
      throw new RingfenceCryptoError(
        'crypto.lease_exhausted',
        'the lease of these keys has no messages or bytes left: call keyring.org() again',
        { org: this.org },
        true,
      );
    }
    this.messages += 1;
    this.bytes += bytes;
  }

  /** The version a message names. */
  versionOf(message: Uint8Array): KeyVersion {
    if (this.active.isNamedBy(message)) return this.active;
    const named = this.#versions.find((version) => version.isNamedBy(message));
    if (named === undefined) throw this.#unknown();
    return named;
  }

  /** The version of a key id, or the active one. */
  versionById(keyId: string): KeyVersion {
    if (keyId === 'active') return this.active;
    const named = this.#versions.find((version) => version.keyId === keyId);
    if (named === undefined) throw this.#unknown();
    return named;
  }

  /** Key ids of all versions that open, the active one first. */
  keyIds(): readonly string[] {
    return [this.active.keyId, ...this.#versions.filter((v) => v !== this.active).map((v) => v.keyId)];
  }

  /** Ends the lease and wipes its keys. */
  end(reason: 'expired' | 'revoked'): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    for (const version of this.#versions) version.wipe();
    for (const ended of this.#onEnd) ended();
    this.#onEnd.clear();
    this.keyUse?.end();
  }

  /** Calls `ended` when the lease ends, at once if it has: for keys that may live no longer than it. */
  whenEnded(ended: () => void): void {
    if (this.#ended === undefined) this.#onEnd.add(ended);
    else ended();
  }

  #unknown(): RingfenceCryptoError {
    this.missedKey = true;
    return new RingfenceCryptoError(
      'crypto.unknown_key_version',
      'the message names a key id that is none of the versions leased for this organisation',
      { org: this.org },
      true,
    );
  }
}
