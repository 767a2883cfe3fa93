/**
 * Key operations: the life of an organisation's keys after creation. They work on the key store and the KMS, never on
 * data; docs/key-operations.md says for each what a crash leaves and how to go on.
 * Invariant: every operation may be killed at any instant and called again; no data key is lost by it, and none but a
 * shred destroys one.
 */

import { KekCalls } from '../kek-calls.ts';
import type { KeyStore } from '../key-store.ts';
import type { KeyUseSink } from '../key-use/key-use-ledger.ts';
import type { KmsProvider } from '../kms.ts';
import { encodePart } from '../length-prefix.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { RevocationChannel } from '../revocation.ts';
import { type RandomFill, systemRandom } from '../salt-source.ts';
import { noted, type OperationContext, timerWait, type Wait } from './operation-context.ts';
import { type ReferenceCounter, type RetirementProof, retireDek } from './retirement.ts';
import { type RewrapOptions, type RewrapReport, rewrapAll } from './rewrap-all.ts';
import { type Rotated, rotateDek } from './rotation.ts';
import { type ShredCertificate, type ShredOptions, shredOrg } from './shredding.ts';
import { type OrgKeyStatus, orgKeyStatus } from './status.ts';
import { addWrap, type MoveReport, moveKek, removeWrap, type WrapChange } from './wraps.ts';

/** Options of key operations: `app`, `kms` and `kekFor` as the keyring has them. */
export interface KeyOperationsOptions {
  /** Application name, the same as the keyring's. */
  readonly app: string;
  /** KMS providers, one per URI scheme; for a move between clouds both. */
  readonly kms: readonly KmsProvider[];
  /** The keyring's key store, with a role that may delete wraps. */
  readonly store: KeyStore;
  /** URI of the KEK an organisation should be under. */
  readonly kekFor: (org: OrgId) => string;
  /** Channel on which keyrings listen, so that they follow at once and not at the end of their leases. */
  readonly revocations?: RevocationChannel;
  /**
   * Ledger that gets the request ids of the KMS calls, one report per operation and organisation: `keyUseLedger` of
   * `@ringfence/crypto/key-use`. Reports leave behind the operation; `await keyUse.flush()` before the process exits.
   */
  readonly keyUse?: KeyUseSink;
  /** Time limit of one KMS call, ms. Default 10 000. */
  readonly kmsTimeoutMs?: number;
  /** Longest lease of any keyring of the application, ms: a version is not retired before it has passed. Default 300 000. */
  readonly maxLeaseAgeMs?: number;
  /** Wall clock in ms; `Date.now` unless given. */
  readonly now?: () => number;
  /** Monotonic clock in ms; `performance.now` unless given. */
  readonly monotonicNow?: () => number;
  /** Waits between attempts and calls; a timer unless given. */
  readonly wait?: Wait;
  /** Source of randomness, for tests only; the system's unless given. */
  readonly random?: RandomFill;
}

/** Operations on the keys of organisations. */
export interface KeyOperations {
  /** Versions, wraps, and the state of each KEK. A KMS that can't be asked is part of the answer, not an error. */
  status(org: OrgId): Promise<OrgKeyStatus>;
  /**
   * Makes a new active version under the KEKs of the former one, which opens on. Two rotations at the same time make one.
   *
   * @throws RingfenceCryptoError `crypto.org_unknown`, `crypto.key_shredded`, `crypto.store_conflict` (retryable), and
   * those of the KMS; then nothing has changed.
   */
  rotate(org: OrgId): Promise<Rotated>;
  /**
   * Wraps every version under one more KEK, and opens each new wrap once. Versions that have it are left alone.
   *
   * @throws RingfenceCryptoError `crypto.org_unknown`, `crypto.key_shredded`, and those of the KMS; then some versions may
   * have the new wrap, none has lost one.
   */
  addWrap(org: OrgId, kekUri: string): Promise<WrapChange>;
  /**
   * Removes the wraps under a KEK, after another wrap of the same version was opened.
   *
   * @throws RingfenceCryptoError `crypto.last_wrap` when a version has no other wrap (nothing is changed then),
   * `crypto.org_unknown`, `crypto.key_shredded`, and the error of the KMS when no other wrap opens.
   */
  removeWrap(org: OrgId, kekUri: string): Promise<WrapChange>;
  /**
   * Moves every version from one KEK to another: adds, opens through the new one, removes. Resumable at any point.
   *
   * @throws RingfenceCryptoError `crypto.wrap_not_found` when a version is under neither KEK, and as `addWrap` and
   * `removeWrap`.
   * @throws TypeError when both are the same.
   * @example
   * ```ts
   * await operations.moveKek(org, { from: 'local:platform', to: `aws-kms:${customerKeyArn}` });
   * ```
   */
  moveKek(org: OrgId, move: { readonly from: string; readonly to: string }): Promise<MoveReport>;
  /**
   * Re-wraps many organisations under other KEKs: two KMS calls per version, and one more per KEK to prove that it opens.
   * Failures are collected per organisation.
   *
   * @throws TypeError when an option is out of range, an organisation's id is malformed, or organisations do not come in
   * ascending order although `resumeAfter` was given.
   */
  rewrapAll(options: RewrapOptions): Promise<RewrapReport>;
  /**
   * Retires a version that nothing names any more, counted before and after. Call it again after a crash.
   *
   * @throws RingfenceCryptoError `crypto.still_referenced` (`StillReferencedError`), `crypto.version_active`,
   * `crypto.retirement_too_early` (retryable), `crypto.unknown_key_version`, `crypto.org_unknown`, `crypto.key_shredded`,
   * and what a counter throws; then the version opens as before.
   * @throws TypeError when there is no counter, or one does not answer with a whole number.
   * @throws AggregateError when the second count failed and so did setting the version back; retire it again.
   */
  retire(org: OrgId, keyId: string, references: readonly ReferenceCounter[]): Promise<RetirementProof>;
  /**
   * Destroys every wrap of every version: the organisation's data can never be read again. Repeating it is harmless.
   *
   * @throws RingfenceCryptoError `crypto.org_unknown`, `crypto.store_conflict` (retryable) when the store still holds a
   * wrap afterwards.
   * @throws TypeError when the reason does not have 1 to 500 characters.
   */
  shred(org: OrgId, options: ShredOptions): Promise<ShredCertificate>;
}

/**
 * Makes key operations. They need no keyring and hold no key between calls.
 *
 * @throws TypeError when an option is out of range or two providers serve one scheme.
 * @example
 * ```ts
 * const operations = createKeyOperations({ app: 'ledger', kms, store: postgresKeyStore(db), kekFor, revocations });
 * const { version } = await operations.rotate(org);
 * ```
 */
export function createKeyOperations(options: KeyOperationsOptions): KeyOperations {
  encodePart('app', options.app);
  const timeoutMs = atLeast('kmsTimeoutMs', options.kmsTimeoutMs ?? 10_000, 1);
  const context: OperationContext = {
    store: options.store,
    calls: KekCalls.to(options.app, options.kms, timeoutMs),
    keyUse: options.keyUse,
    kekFor: options.kekFor,
    revocations: options.revocations,
    now: options.now ?? (() => Date.now()),
    monotonicNow: options.monotonicNow ?? (() => performance.now()),
    random: options.random ?? systemRandom,
    wait: options.wait ?? timerWait,
    maxLeaseAgeMs: atLeast('maxLeaseAgeMs', options.maxLeaseAgeMs ?? 300_000, 0),
  };
  const on = <T>(org: OrgId, run: (context: OperationContext, org: OrgId) => Promise<T>): Promise<T> => {
    const parsed = parseOrgId(org);
    return noted(context, context.calls, parsed, (calls) => run({ ...context, calls }, parsed));
  };
  return {
    status: async (org) => on(org, orgKeyStatus),
    rotate: async (org) => on(org, rotateDek),
    addWrap: async (org, kekUri) => on(org, (noting, parsed) => addWrap(noting, parsed, kekUri)),
    removeWrap: async (org, kekUri) => on(org, (noting, parsed) => removeWrap(noting, parsed, kekUri)),
    moveKek: async (org, move) => on(org, (noting, parsed) => moveKek(noting, parsed, move)),
    rewrapAll: async (rewrap) => rewrapAll(context, rewrap),
    retire: async (org, keyId, references) => retireDek(context, parseOrgId(org), keyId, references),
    shred: async (org, shred) => shredOrg(context, parseOrgId(org), shred),
  };
}

function atLeast(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw new TypeError(`${name} must be a number of at least ${least}`);
}
