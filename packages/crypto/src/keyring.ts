/**
 * The keyring: from an organisation's id to keys that seal and open. KEK (in the KMS) wraps DEK versions (in the key
 * store), DEKs yield purpose keys, purpose keys yield one key per message.
 * Invariant: no key is served beyond its lease, and a lease comes only from a KMS that said yes.
 */
import { inspect } from 'node:util';
import { type Clock, systemClock } from './clock.ts';
import { RingfenceCryptoError } from './errors.ts';
import { ColumnContexts } from './field-context.ts';
import { assertRuntimeKnowsFormat } from './field-self-test.ts';
import type { DekRecord, KeyStore } from './key-store.ts';
import type { KeyUseSink } from './key-use/key-use-ledger.ts';
import { KmsGateway } from './key-wrapping.ts';
import type { KmsProvider } from './kms.ts';
import { type Instant, Lease, type LeaseLimits } from './lease.ts';
import { type KeyringStats, LeaseCache, type LeaseCacheOptions } from './lease-cache.ts';
import { encodePart } from './length-prefix.ts';
import { MessageSlab } from './message-slab.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import { type OrgKeys, orgKeysOf, type SealingParts } from './org-keys.ts';
import type { RevocationChannel } from './revocation.ts';
import { RevocationSubscription } from './revocation-subscription.ts';
import { type RandomFill, SaltSource, systemRandom } from './salt-source.ts';

/** Limits of leases and of their cache. */
export interface LeaseOptions {
  /** Hard maximum age in ms: the longest time keys work after the KMS last said yes. Default 300 000. */
  readonly maxAgeMs?: number;
  /** Share of the age after which `org` refreshes in the background, less up to a tenth of jitter. Default 0.8. */
  readonly refreshAheadAtShare?: number;
  /** Messages per lease. Default 2^27. */
  readonly maxMessages?: number;
  /** Plaintext bytes per lease. Default 2^40. */
  readonly maxBytes?: number;
  /** Organisations with a lease at a time; the least recently used is evicted. Default 10 000. */
  readonly maxOrgs?: number;
  /** How long a refusal of the KMS is remembered, in ms. Default 5 000. */
  readonly deniedForMs?: number;
  /** Time limit of one KMS call, in ms. Default 10 000. */
  readonly kmsTimeoutMs?: number;
}

/** Options of a keyring. */
export interface KeyringOptions {
  /** Application name; bound to every wrap and key. Changing it makes all data unreadable. */
  readonly app: string;
  /** KMS providers, one per URI scheme. */
  readonly kms: readonly KmsProvider[];
  /** Where data-key versions are kept. */
  readonly store: KeyStore;
  /** URI of the KEK under which a new organisation's first version is wrapped. */
  readonly kekFor: (org: OrgId) => string;
  /** Limits. */
  readonly lease?: LeaseOptions;
  /** Channel that carries revocations between processes. */
  readonly revocations?: RevocationChannel;
  /** Ledger that counts what keys are used for: `keyUseLedger` of `@ringfence/crypto/key-use`. */
  readonly keyUse?: KeyUseSink;
  /** False draws 24 random bytes per message instead of 8 KiB at a time; for machines snapshotted while they run. */
  readonly pool?: boolean;
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now?: () => number;
  /** Monotonic clock in ms; `performance.now` unless given. */
  readonly monotonicNow?: () => number;
  /** Source of randomness, for tests only; the system's unless given. */
  readonly random?: RandomFill;
}

/** Leases the keys of organisations. */
export interface Keyring {
  /**
   * Makes an organisation's first data-key version, unless it has one. Safe to call from several processes at once.
   *
   * @throws RingfenceCryptoError `crypto.key_shredded` when the organisation was shredded; errors of the KMS.
   */
  createOrg(org: OrgId): Promise<void>;
  /**
   * Leases an organisation's keys: from memory while the lease lives, else with one KMS call per version in use,
   * however many callers wait.
   *
   * @throws RingfenceCryptoError `crypto.org_unknown`, `crypto.key_shredded`, `crypto.key_revoked`, `crypto.key_denied`,
   * `crypto.key_destroyed`, `crypto.wrap_tampered`, `crypto.kms_unavailable` (retryable), `crypto.kms_malformed_answer`,
   * `crypto.kms_not_configured`.
   * @example
   * ```ts
   * const keys = await keyring.org(org);
   * const cell = { table: 'invoice', column: 'memo', row: invoiceId };
   * const sealed = keys.sealText(cell, 'Paid by wire');
   * keys.openText(cell, sealed); // 'Paid by wire'
   * ```
   */
  org(org: OrgId): Promise<OrgKeys>;
  /** Evicts and wipes an organisation's keys in this process now. The next `org` asks the KMS again. */
  revoke(org: OrgId): void;
  /** Evicts an organisation's keys here and, through the revocation channel, in all subscribed processes. */
  revokeEverywhere(org: OrgId): Promise<void>;
  /** Counters. */
  stats(): KeyringStats;
  /** Evicts everything and ends the subscription. The keyring can't be used afterwards. */
  close(): Promise<void>;
}

/**
 * Makes a keyring.
 *
 * @throws TypeError when an option is out of range.
 * @example
 * ```ts
 * const keyring = createKeyring({
 *   app: 'ledger',
 *   kms: [localKms({ keks: { main: kekFromEnv('LEDGER_KEK') } })],
 *   store: postgresKeyStore(db),
 *   kekFor: () => 'local:main',
 * });
 * await keyring.createOrg(org);
 * const keys = await keyring.org(org);
 * ```
 */
export function createKeyring(options: KeyringOptions): Keyring {
  return new LeasingKeyring(options);
}

class LeasingKeyring implements Keyring {
  readonly #store: KeyStore;
  readonly #kekFor: (org: OrgId) => string;
  readonly #gateway: KmsGateway;
  readonly #clock: Clock;
  readonly #random: RandomFill;
  readonly #limits: LeaseLimits;
  readonly #cache: LeaseCache;
  readonly #parts: SealingParts;
  readonly #handedOut = new WeakMap<Lease, OrgKeys>();
  readonly #channel: RevocationChannel | undefined;
  readonly #keyUse: KeyUseSink | undefined;
  readonly #subscription: RevocationSubscription | undefined;
  #closed = false;

  constructor(options: KeyringOptions) {
    encodePart('app', options.app);
    const lease = options.lease ?? {};
    this.#limits = {
      maxAgeMs: atLeast('maxAgeMs', lease.maxAgeMs ?? 300_000, 1),
      maxMessages: atLeast('maxMessages', lease.maxMessages ?? 2 ** 27, 1),
      maxBytes: atLeast('maxBytes', lease.maxBytes ?? 2 ** 40, 1),
    };
    const cache: LeaseCacheOptions = {
      maxAgeMs: this.#limits.maxAgeMs,
      refreshAheadAtShare: share('refreshAheadAtShare', lease.refreshAheadAtShare ?? 0.8),
      maxOrgs: atLeast('maxOrgs', lease.maxOrgs ?? 10_000, 1),
      deniedForMs: atLeast('deniedForMs', lease.deniedForMs ?? 5000, 0),
    };
    assertRuntimeKnowsFormat();
    this.#store = options.store;
    this.#kekFor = options.kekFor;
    this.#random = options.random ?? systemRandom;
    this.#clock = {
      now: options.now ?? systemClock.now,
      monotonicNow: options.monotonicNow ?? systemClock.monotonicNow,
    };
    this.#gateway = new KmsGateway(
      options.app,
      options.kms,
      atLeast('kmsTimeoutMs', lease.kmsTimeoutMs ?? 10_000, 1),
    );
    this.#parts = {
      contexts: new ColumnContexts(),
      salts: new SaltSource(this.#random, options.pool ?? true),
      slab: new MessageSlab(),
    };
    this.#cache = new LeaseCache(this.#clock, cache, (org, start) => this.#lease(org, start));
    this.#channel = options.revocations;
    this.#keyUse = options.keyUse;
    this.#subscription =
      options.revocations &&
      new RevocationSubscription(options.revocations, {
        revoked: (org) => this.#cache.evict(org),
        missed: () => this.#cache.evictAll(),
      });
  }

  async createOrg(org: OrgId): Promise<void> {
    this.#refuseIfClosed();
    parseOrgId(org);
    if (hasKeys(org, await this.#store.load(org))) return;
    const keyUse = this.#keyUse?.begin(org);
    const record = await this.#gateway
      .makeVersion(org, 1, this.#kekFor(org), this.#random, this.#clock.now(), keyUse)
      .finally(() => keyUse?.end());
    try {
      await this.#store.insertVersion(record);
    } catch (error) {
      if (!(error instanceof RingfenceCryptoError) || error.code !== 'crypto.store_conflict') throw error;
      // Another process was first: its version counts, ours was never used.
      if (!hasKeys(org, await this.#store.load(org))) throw error;
    }
    this.#cache.forgetDenial(org);
  }

  async org(org: OrgId): Promise<OrgKeys> {
    this.#refuseIfClosed();
    await this.#subscription?.ready();
    const lease = await this.#cache.get(parseOrgId(org));
    const known = this.#handedOut.get(lease);
    if (known !== undefined) return known;
    const keys = orgKeysOf(lease, this.#parts);
    this.#handedOut.set(lease, keys);
    return keys;
  }

  revoke(org: OrgId): void {
    this.#cache.evict(parseOrgId(org));
  }

  async revokeEverywhere(org: OrgId): Promise<void> {
    this.revoke(org);
    if (this.#channel === undefined) {
      throw new TypeError('revokeEverywhere needs a revocation channel: give `revocations` to createKeyring');
    }
    await this.#channel.publish(org);
  }

  stats(): KeyringStats {
    return { ...this.#cache.stats(), kmsCalls: this.#gateway.calls };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cache.evictAll();
    this.#parts.salts.wipe();
    await this.#subscription?.end();
    await this.#keyUse?.flush();
  }

  toJSON(): string {
    return '[Keyring]';
  }

  [inspect.custom](): string {
    return '[Keyring]';
  }

  async #lease(org: OrgId, start: Instant): Promise<Lease> {
    const records = await this.#store.load(org);
    if (!hasKeys(org, records)) {
      throw new RingfenceCryptoError(
        'crypto.org_unknown',
        'the organisation has no keys: call keyring.createOrg() when it signs up',
        { org },
      );
    }
    const inUse = records.filter((record) => record.state === 'active' || record.state === 'decrypt_only');
    for (const record of inUse) if (record.org !== org) throw foreignRecord(org, record);
    const keyUse = this.#keyUse?.begin(org);
    const unwrapped = await Promise.allSettled(
      inUse.map((record) => this.#gateway.unwrapVersion(record, keyUse)),
    );
    const versions = unwrapped.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = unwrapped.find((one) => one.status === 'rejected');
    const active = versions.filter((version) => version.active);
    const only = active[0];
    if (failed !== undefined || only === undefined || active.length > 1) {
      for (const version of versions) version.wipe();
      keyUse?.end();
      if (failed !== undefined) throw failed.reason;
      throw new RingfenceCryptoError(
        'crypto.wrap_tampered',
        'the key store must hold exactly one active version',
        {
          org,
        },
      );
    }
    const lease = new Lease(org, only, versions, this.#clock, start, this.#limits, keyUse);
    keyUse?.leased(lease.keyIds());
    return lease;
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new TypeError('the keyring is closed');
  }
}

/** True when an organisation has versions; refuses one that was shredded. */
function hasKeys(org: OrgId, records: readonly DekRecord[]): boolean {
  if (records.some((record) => record.state === 'shredded')) {
    throw new RingfenceCryptoError(
      'crypto.key_shredded',
      'the keys of this organisation were destroyed on purpose; its sealed data cannot be read again',
      { org },
    );
  }
  return records.length > 0;
}

function foreignRecord(org: OrgId, record: DekRecord): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.wrap_tampered',
    'the key store answered with keys of another organisation',
    {
      org,
      keyId: record.keyId,
    },
  );
}

function atLeast(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw new TypeError(`${name} must be a number of at least ${least}`);
}

function share(name: string, value: number): number {
  if (value > 0 && value <= 1) return value;
  throw new TypeError(`${name} must be above 0 and at most 1`);
}
