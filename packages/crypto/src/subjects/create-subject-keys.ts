/**
 * Subject keys: one random key per data subject of an organisation, wrapped by the organisation's data key, so that one
 * person's data can be erased inside a living organisation by destroying one row.
 * Invariant: a subject has one key for ever; once erased, no call makes it another and nothing opens what it sealed.
 */
import { inspect } from 'node:util';
import { RingfenceCryptoError } from '../errors.ts';
import { checkFieldHeader, fromTextForm, SUITE_SUBJECT_FIELD } from '../field-format.ts';
import { keyIdText } from '../key-id.ts';
import type { Lease } from '../lease.ts';
import { encodePart } from '../length-prefix.ts';
import type { ReferenceCounter } from '../operations/retirement.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { leaseBehind, type OrgKeys, type SealingParts } from '../org-keys.ts';
import type { RevocationChannel } from '../revocation.ts';
import { type RandomFill, systemRandom } from '../salt-source.ts';
import { type ErasureCertificate, erasureCertificate } from './erasure.ts';
import { rewrapSubjectKeys, type SubjectRewrapOptions, type SubjectRewrapReport } from './rewrap.ts';
import { SubjectCache, type SubjectCacheStats } from './subject-cache.ts';
import { isErased, type SubjectEntry, type SubjectKeyStore } from './subject-key-store.ts';
import { erased, type LeasedSubjectKeys, leasedSubjectKeys, type SubjectKeys } from './subject-keys.ts';
import { SUBJECT_KEY_BYTES, unwrapSubjectKey, wrapSubjectKey } from './subject-wrap.ts';

/** Options of subject keys. */
export interface SubjectKeysOptions {
  /** Where wrapped subject keys are kept. */
  readonly store: SubjectKeyStore;
  /** Subject keys in memory; the least recently used is wiped. Default 10 000. */
  readonly maxKeys?: number;
  /** Channel of the keyrings: an erasure evicts the organisation's leases, and with them the key, in all processes. */
  readonly revocations?: RevocationChannel;
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now?: () => number;
  /** Source of randomness, for tests only; the system's unless given. */
  readonly random?: RandomFill;
}

/** Subject keys of all organisations. */
export interface SubjectKeyring {
  /**
   * The key of a data subject, made on first use. From memory while the organisation's lease lives, else one read of the
   * store; never a KMS call. `subject` is 1 to 1024 bytes of UTF-8, an opaque id of the application rather than a name or
   * address, since it outlives the erasure in the tombstone.
   *
   * @throws RingfenceCryptoError `crypto.key_shredded` when the subject was erased, `crypto.wrap_tampered`,
   * `crypto.unknown_key_version` (retryable) when its key is wrapped under a newer version than the lease holds.
   * @throws TypeError when the keys do not come from a keyring, or the subject is empty, too long or ill-formed.
   * @example
   * ```ts
   * const keys = await subjects.of(await keyring.org(org), employee.id);
   * const cell = { table: 'payslip', column: 'iban', row: payslip.id };
   * const sealed = keys.sealText(cell, 'DE02120300000000202051');
   * ```
   */
  of(orgKeys: OrgKeys, subject: string): Promise<SubjectKeys>;
  /**
   * The key that a sealed message or text names, whoever the subject is; compare `subject` where it matters.
   *
   * @throws RingfenceCryptoError `crypto.malformed_message`, `crypto.unsupported_version`, `crypto.unknown_key_version`
   * when the organisation has no such subject key, and as `of`.
   */
  ofSealed(orgKeys: OrgKeys, sealed: Uint8Array | string): Promise<SubjectKeys>;
  /**
   * Destroys the key of a data subject and gives the certificate for the audit log. A subject that never had a key gets
   * none any more. Repeating it is harmless, which is how erasures are applied again after a restore of the key store.
   *
   * Processes that hold the key drop it at once when told through `revocations`, else when their leases end.
   */
  erase(org: OrgId, subject: string): Promise<ErasureCertificate>;
  /**
   * Wraps the subject keys of an organisation under its active data-key version. Give a function
   * (`() => keyring.org(org)`) when it may outlast a lease. Run again to resume.
   *
   * @throws RingfenceCryptoError errors of the lease, and `crypto.unknown_key_version` when a key is wrapped under a
   * version the lease does not hold.
   */
  rewrap(
    orgKeys: OrgKeys | (() => Promise<OrgKeys>),
    options?: SubjectRewrapOptions,
  ): Promise<SubjectRewrapReport>;
  /** Counter for verified retirement: give it to the key operations among their references. */
  readonly references: ReferenceCounter;
  /** Counters of the keys in memory. */
  stats(): SubjectCacheStats;
}

/**
 * Makes subject keys over a store.
 *
 * @throws TypeError when `maxKeys` is out of range.
 * @example
 * ```ts
 * const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(db) });
 * const certificate = await subjects.erase(org, employee.id);
 * ```
 */
export function createSubjectKeys(options: SubjectKeysOptions): SubjectKeyring {
  return new LeasingSubjectKeyring(options);
}

class LeasingSubjectKeyring implements SubjectKeyring {
  readonly references: ReferenceCounter;
  readonly #store: SubjectKeyStore;
  readonly #cache: SubjectCache;
  readonly #revocations: RevocationChannel | undefined;
  readonly #now: () => number;
  readonly #random: RandomFill;

  constructor(options: SubjectKeysOptions) {
    const maxKeys = options.maxKeys ?? 10_000;
    if (!(maxKeys >= 1)) throw new TypeError('maxKeys must be a number of at least 1');
    this.#store = options.store;
    this.#cache = new SubjectCache(maxKeys);
    this.#revocations = options.revocations;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? systemRandom;
    this.references = { name: 'subject keys', count: (org, keyId) => this.#store.count(org, keyId) };
  }

  async of(orgKeys: OrgKeys, subject: string): Promise<SubjectKeys> {
    const { lease, parts } = leaseBehind(orgKeys);
    encodePart('subject', subject);
    lease.use(0);
    return this.#cache.get(lease, subject, () => this.#load(lease, parts, subject));
  }

  async ofSealed(orgKeys: OrgKeys, sealed: Uint8Array | string): Promise<SubjectKeys> {
    const { lease } = leaseBehind(orgKeys);
    const message = typeof sealed === 'string' ? fromTextForm(sealed) : sealed;
    const keyId = subjectKeyIdOfMessage(message);
    lease.use(0);
    const entry = await this.#store.loadByKeyId(lease.org, keyId);
    if (entry === undefined) {
      throw new RingfenceCryptoError(
        'crypto.unknown_key_version',
        'the message names a key that is not the key of any data subject of this organisation',
        { org: lease.org, keyId },
      );
    }
    const keys = await this.of(orgKeys, entry.subject);
    if (keys.keyId === keyId) return keys;
    throw new RingfenceCryptoError(
      'crypto.wrap_tampered',
      'the store answered with the key of another data subject',
      { org: lease.org, keyId },
    );
  }

  async erase(org: OrgId, subject: string): Promise<ErasureCertificate> {
    parseOrgId(org);
    encodePart('subject', subject);
    const tombstone = await this.#store.erase(org, subject, this.#now());
    this.#cache.erase(org, subject);
    return erasureCertificate(tombstone, await this.#notify(org));
  }

  rewrap(
    orgKeys: OrgKeys | (() => Promise<OrgKeys>),
    options: SubjectRewrapOptions = {},
  ): Promise<SubjectRewrapReport> {
    const leased = typeof orgKeys === 'function' ? orgKeys : async () => orgKeys;
    return rewrapSubjectKeys(this.#store, leased, options);
  }

  stats(): SubjectCacheStats {
    return this.#cache.stats();
  }

  toJSON(): string {
    return '[SubjectKeyring]';
  }

  [inspect.custom](): string {
    return '[SubjectKeyring]';
  }

  async #load(lease: Lease, parts: SealingParts, subject: string): Promise<LeasedSubjectKeys> {
    const entry = (await this.#store.load(lease.org, subject)) ?? (await this.#make(lease, parts, subject));
    if (entry.org !== lease.org || entry.subject !== subject) {
      throw new RingfenceCryptoError(
        'crypto.wrap_tampered',
        'the store answered with the key of another organisation or data subject',
        { org: lease.org },
      );
    }
    if (isErased(entry)) throw erased(lease.org, entry.keyId);
    const key = unwrapSubjectKey(lease, entry);
    try {
      return leasedSubjectKeys(lease, parts, subject, entry.keyId, key);
    } finally {
      key.fill(0);
    }
  }

  /** Makes a key and stores it, unless another process was first: then its key counts and ours was never used. */
  async #make(lease: Lease, parts: SealingParts, subject: string): Promise<SubjectEntry> {
    const key = new Uint8Array(SUBJECT_KEY_BYTES);
    const id = new Uint8Array(16);
    this.#random(key);
    this.#random(id);
    const keyId = keyIdText(id);
    try {
      const wrapped = wrapSubjectKey(lease, parts, subject, keyId, key);
      const dekKeyId = lease.active.keyId;
      return await this.#store.insert({
        org: lease.org,
        subject,
        keyId,
        dekKeyId,
        wrapped,
        createdAt: this.#now(),
      });
    } finally {
      key.fill(0);
    }
  }

  /** False when there is no channel or it failed: then the end of the leases bounds how long the key is held. */
  async #notify(org: OrgId): Promise<boolean> {
    if (this.#revocations === undefined) return false;
    try {
      await this.#revocations.publish(org);
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * Id of the subject key that a message names, 32 hex digits.
 *
 * @throws RingfenceCryptoError `crypto.malformed_message`, `crypto.unsupported_version` for a message not sealed with a
 * subject key.
 */
export function subjectKeyIdOfMessage(message: Uint8Array): string {
  checkFieldHeader(message, SUITE_SUBJECT_FIELD);
  return keyIdText(message.subarray(2, 18));
}
