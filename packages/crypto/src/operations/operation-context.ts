/**
 * What all key operations share: store, KMS calls, clocks, revocation channel, and how a change that lost a race is
 * decided again. Invariant: a change is always decided on what was loaded last; a conflict loads again.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { KekCalls } from '../kek-calls.ts';
import type { DekRecord, KeyStore } from '../key-store.ts';
import type { KeyUseSink } from '../key-use/key-use-ledger.ts';
import type { OrgId } from '../org-id.ts';
import type { RevocationChannel } from '../revocation.ts';
import type { RandomFill } from '../salt-source.ts';

/** Waits `ms`, or less when the signal aborts; never rejects. */
export type Wait = (ms: number, signal?: AbortSignal) => Promise<void>;

/** Parts of one `KeyOperations`. */
export interface OperationContext {
  readonly store: KeyStore;
  readonly calls: KekCalls;
  readonly keyUse: KeyUseSink | undefined;
  readonly kekFor: (org: OrgId) => string;
  readonly revocations: RevocationChannel | undefined;
  readonly now: () => number;
  readonly monotonicNow: () => number;
  readonly random: RandomFill;
  readonly wait: Wait;
  readonly maxLeaseAgeMs: number;
}

/** Runs a step on one organisation whose KMS calls are reported to the key-use ledger when it ends. */
export async function noted<T>(
  { keyUse }: Pick<OperationContext, 'keyUse'>,
  calls: KekCalls,
  org: OrgId,
  step: (calls: KekCalls) => Promise<T>,
): Promise<T> {
  const use = keyUse?.begin(org);
  try {
    return await step(calls.noting(use));
  } finally {
    use?.end();
  }
}

const MOST_CONFLICTS = 20;

/** Versions of a living organisation. */
export async function livingVersions(store: KeyStore, org: OrgId): Promise<readonly DekRecord[]> {
  const records = await store.load(org);
  for (const record of records) {
    if (record.org !== org) {
      throw new RingfenceCryptoError(
        'crypto.wrap_tampered',
        'the key store answered with keys of another organisation',
        { org, keyId: record.keyId },
      );
    }
  }
  if (records.length === 0) {
    throw new RingfenceCryptoError('crypto.org_unknown', 'the organisation has no keys', { org });
  }
  if (records.some(({ state }) => state === 'shredded')) {
    throw new RingfenceCryptoError(
      'crypto.key_shredded',
      'the keys of this organisation were destroyed on purpose; nothing can be done with them',
      { org },
    );
  }
  return records;
}

/** Repeats `step` until it is done; a lost race counts and is decided again on what is there then. */
export async function repeatUntilDone(step: () => Promise<'done' | 'again'>): Promise<void> {
  let conflicts = 0;
  for (;;) {
    try {
      if ((await step()) === 'done') return;
    } catch (error) {
      if (!isConflict(error)) throw error;
      conflicts += 1;
      if (conflicts >= MOST_CONFLICTS) throw error;
    }
  }
}

/** True for the error of a change that was decided on a state that is no more. */
export function isConflict(error: unknown): boolean {
  return error instanceof RingfenceCryptoError && error.code === 'crypto.store_conflict';
}

/**
 * Tells all processes to drop an organisation's keys. False when there is no channel or it failed: then they follow when
 * their leases end, which is what the guarantee rests on.
 */
export async function evictEverywhere(
  { revocations }: Pick<OperationContext, 'revocations'>,
  org: OrgId,
): Promise<boolean> {
  if (revocations === undefined) return false;
  try {
    await revocations.publish(org);
    return true;
  } catch {
    return false;
  }
}

/** Waits on a timer. */
export const timerWait: Wait = (ms, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
