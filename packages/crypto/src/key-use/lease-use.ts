/**
 * Counters of one lease: plain integer fields that the hot path increments, read and reset when the ledger drains them.
 * Invariant: counting allocates only for the first use of a table and purpose, and cannot fail.
 */
import { randomUUID } from 'node:crypto';
import type { ColumnContext } from '../field-context.ts';
import type { OrgId } from '../org-id.ts';
import type { KeyUse, KmsCall, UsedKey } from './key-use.ts';

/** Running counts of one key, purpose and table. */
export interface UseTally {
  /** Messages sealed. */
  sealed: number;
  /** Messages tried to open. */
  tried: number;
  /** Messages opened. */
  opened: number;
  /** Times the key was lent. */
  lent: number;
  /** Plaintext bytes sealed. */
  sealedBytes: number;
  /** Plaintext bytes opened. */
  openedBytes: number;
}

/** What the ledger is told of the life of a `LeaseUse`. */
export interface LeaseUseObserver {
  /** Clock, ms since the epoch. */
  readonly now: () => number;
  /** The lease has ended, or something was counted behind its end. */
  readonly due: (use: LeaseUse) => void;
}

/** Most combinations of key, purpose and table told apart in one lease; names may come from input. */
export const MAX_TALLIES = 256;
const MAX_KNOWN_CONTEXTS = 1024;

/** Counts of one lease, or of an attempt that brings none. */
export class LeaseUse {
  /** The organisation. */
  readonly org: OrgId;
  /** Random id. */
  readonly leaseId: string = randomUUID();
  readonly #observer: LeaseUseObserver;
  readonly #tallies = new Map<string, { key: UsedKey; purpose: string; table: string; tally: UseTally }>();
  readonly #fields = new Map<ColumnContext, UseTally>();
  #lastContext: ColumnContext | undefined;
  #lastTally: UseTally | undefined;
  #keyIds: readonly string[] = [];
  #kms: KmsCall[] = [];
  #sequence = 0;
  #from: number;
  #ended = false;

  constructor(org: OrgId, observer: LeaseUseObserver) {
    this.org = org;
    this.#observer = observer;
    this.#from = observer.now();
  }

  /** True once `end` was called. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Counters of the field key for a cell's table and purpose. */
  ofField(context: ColumnContext): UseTally {
    if (context === this.#lastContext) return this.#lastTally as UseTally;
    let tally = this.#fields.get(context);
    if (tally === undefined) {
      tally = this.of('field', context.purpose ?? 'field', context.table);
      if (this.#fields.size >= MAX_KNOWN_CONTEXTS) this.#fields.clear();
      this.#fields.set(context, tally);
    }
    this.#lastContext = context;
    this.#lastTally = tally;
    return tally;
  }

  /** Counters of a kind of key, a purpose and a table. */
  of(key: UsedKey, purpose: string, table: string): UseTally {
    const name = JSON.stringify([key, purpose, table]);
    const known = this.#tallies.get(name);
    if (known !== undefined) return known.tally;
    if (this.#tallies.size >= MAX_TALLIES && table !== '*') return this.of(key, '*', '*');
    const tally = { sealed: 0, tried: 0, opened: 0, lent: 0, sealedBytes: 0, openedBytes: 0 };
    this.#tallies.set(name, { key, purpose, table, tally });
    return tally;
  }

  /** Says that something was counted after a stream or file outlived its lease. */
  touched(): void {
    if (this.#ended) this.#observer.due(this);
  }

  /** Names the keys of the lease. */
  leased(keyIds: readonly string[]): void {
    this.#keyIds = keyIds;
  }

  /** Notes a KMS call, now. */
  called(call: Omit<KmsCall, 'at'>): void {
    this.#kms.push({ ...call, at: this.#observer.now() });
    this.touched();
  }

  /** Ends the lease; what was counted is reported now. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#observer.due(this);
  }

  /** Takes what was counted since the last time; undefined when that is nothing. */
  drain(): KeyUse | undefined {
    const from = this.#from;
    const to = this.#observer.now();
    this.#from = to;
    const counts: KeyUse['counts'][number][] = [];
    for (const { key, purpose, table, tally } of this.#tallies.values()) {
      const { sealed, tried, opened, lent, sealedBytes, openedBytes } = tally;
      if (sealed + tried + lent + opened + sealedBytes + openedBytes === 0) continue;
      const failed = Math.max(0, tried - opened);
      counts.push({ key, purpose, table, sealed, opened, failed, lent, sealedBytes, openedBytes });
      tally.sealed = tally.tried = tally.opened = tally.lent = tally.sealedBytes = tally.openedBytes = 0;
    }
    const kms = this.#kms;
    this.#kms = [];
    if (counts.length === 0 && kms.length === 0) return undefined;
    this.#sequence += 1;
    const { org, leaseId } = this;
    return { v: 1, org, leaseId, sequence: this.#sequence, keyIds: this.#keyIds, from, to, counts, kms };
  }
}
