/**
 * Re-wrap of subject keys after a rotation of the organisation's data key: each key is unwrapped under its old version and
 * wrapped under the active one. The keys stay the same, so no data is touched and no KMS is called.
 * Invariant: a key changes its wrap only while it is the one that was read; stopping at any point loses nothing, since
 * what remains is whatever is not yet under the active version.
 */
import { RingfenceCryptoError } from '../errors.ts';
import { leaseBehind, type OrgKeys } from '../org-keys.ts';
import type { SubjectKeyStore, SubjectRewrap } from './subject-key-store.ts';
import { unwrapSubjectKey, wrapSubjectKey } from './subject-wrap.ts';

/** Progress of a re-wrap so far. */
export interface SubjectRewrapProgress {
  /** Keys re-wrapped. */
  readonly rewrapped: number;
  /** Keys that were erased or re-wrapped by another process meanwhile. */
  readonly skipped: number;
  /** Keys whose wrap does not authenticate; they keep their version from being retired. */
  readonly failed: readonly {
    /** Key id of the subject key. */
    readonly keyId: string;
    /** Code of the error. */
    readonly code: string;
  }[];
}

/** What a re-wrap did. */
export interface SubjectRewrapReport extends SubjectRewrapProgress {
  /** True when every living key of the organisation was looked at; false when it was stopped. */
  readonly complete: boolean;
}

/** Options of a re-wrap. */
export interface SubjectRewrapOptions {
  /** Keys per transaction. Default 500. */
  readonly batch?: number;
  /** Stops after the running batch. */
  readonly signal?: AbortSignal;
  /** Told after each batch. */
  readonly onProgress?: (progress: SubjectRewrapProgress) => void;
}

/** Runs a re-wrap. */
export async function rewrapSubjectKeys(
  store: SubjectKeyStore,
  leased: () => Promise<OrgKeys>,
  options: SubjectRewrapOptions,
): Promise<SubjectRewrapReport> {
  const batch = options.batch ?? 500;
  if (!Number.isSafeInteger(batch) || batch < 1)
    throw new TypeError('batch must be a whole number of at least 1');
  let rewrapped = 0;
  let skipped = 0;
  const failed: { keyId: string; code: string }[] = [];
  let after: string | undefined;
  while (options.signal?.aborted !== true) {
    const { lease, parts } = leaseBehind(await leased());
    const target = lease.active.keyId;
    const records = await store.listOthers(lease.org, target, after, batch);
    const wraps: SubjectRewrap[] = [];
    for (const record of records) {
      const { subject, keyId, dekKeyId } = record;
      let key: Uint8Array | undefined;
      try {
        key = unwrapSubjectKey(lease, record);
        const wrapped = wrapSubjectKey(lease, parts, subject, keyId, key);
        wraps.push({ subject, keyId, fromDekKeyId: dekKeyId, dekKeyId: target, wrapped });
      } catch (error) {
        if (!(error instanceof RingfenceCryptoError) || error.code !== 'crypto.wrap_tampered') throw error;
        failed.push({ keyId, code: error.code });
      } finally {
        key?.fill(0);
      }
    }
    const replaced = wraps.length === 0 ? 0 : await store.replaceWraps(lease.org, wraps);
    rewrapped += replaced;
    skipped += wraps.length - replaced;
    after = records.at(-1)?.subject;
    if (records.length > 0) options.onProgress?.({ rewrapped, skipped, failed: [...failed] });
    if (records.length < batch) return { rewrapped, skipped, failed, complete: true };
  }
  return { rewrapped, skipped, failed, complete: false };
}
