/**
 * Wraps of a living organisation: add one, remove one, move from one KEK to another. No data is touched, and data keys
 * stay the same, so leases go on undisturbed.
 * All versions that have a wrap are covered, retired ones too: a wrap left behind under the KEK an organisation has moved
 * away from would still open old backups of its data.
 * Invariant: at every instant each version has a wrap that was opened after it was written; a version changes in one
 * transaction, and only while its wraps are those the change was decided on.
 */
import { type CryptoErrorDetails, RingfenceCryptoError } from '../errors.ts';
import type { KekCalls } from '../kek-calls.ts';
import type { DekRecord, WrapRecord } from '../key-store.ts';
import type { OrgId } from '../org-id.ts';
import { livingVersions, type OperationContext, repeatUntilDone } from './operation-context.ts';

/** What a change of wraps did. */
export interface WrapChange {
  /** Versions changed by this call; 0 when all was done before. */
  readonly versions: number;
  /** KMS calls made. */
  readonly kmsCalls: number;
}

/** What a move did. */
export interface MoveReport {
  /** Organisation. */
  readonly org: OrgId;
  /** KEK it left. */
  readonly from: string;
  /** KEK it is under now. */
  readonly to: string;
  /** Wraps made under the new KEK by this call. */
  readonly added: number;
  /** Wraps under the old KEK removed by this call. */
  readonly removed: number;
  /** KMS calls made. */
  readonly kmsCalls: number;
}

/** Wraps every version under one more KEK. */
export async function addWrap(context: OperationContext, org: OrgId, kekUri: string): Promise<WrapChange> {
  const calls = context.calls.counted();
  let versions = 0;
  await repeatUntilDone(async () => {
    const record = (await livingVersions(context.store, org)).find((one) => !isUnder(one, kekUri));
    if (record === undefined) return 'done';
    const added = await calls.withDek(record, record.wraps, (dek) => calls.wrap(dek, record, kekUri));
    await calls.prove(record, added);
    await context.store.replaceWraps(org, record.keyId, record.wraps, [...record.wraps, added]);
    versions += 1;
    return 'again';
  });
  return { versions, kmsCalls: calls.calls };
}

/** Removes the wraps of every version under a KEK. */
export async function removeWrap(context: OperationContext, org: OrgId, kekUri: string): Promise<WrapChange> {
  const calls = context.calls.counted();
  const versions = await removeWraps(context, org, kekUri, (record, rest) => proveAny(calls, record, rest));
  return { versions, kmsCalls: calls.calls };
}

/** Moves every version from one KEK to another. */
export async function moveKek(
  context: OperationContext,
  org: OrgId,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<MoveReport> {
  if (from === to) throw new TypeError('a move needs two different KEKs');
  for (const record of await livingVersions(context.store, org)) {
    if (!isUnder(record, from) && !isUnder(record, to)) {
      throw new RingfenceCryptoError(
        'crypto.wrap_not_found',
        `version ${record.version} has no wrap under ${from}: nothing was changed`,
        detailsOf(record, from),
      );
    }
  }
  const { versions: added, kmsCalls } = await addWrap(context, org, to);
  const calls = context.calls.counted();
  const removed = await removeWraps(context, org, from, (record, rest) =>
    proveAny(
      calls,
      record,
      rest.filter((wrap) => wrap.kekUri === to),
    ),
  );
  return { org, from, to, added, removed, kmsCalls: kmsCalls + calls.calls };
}

/** True when a version has a wrap under a KEK. */
export function isUnder(record: DekRecord, kekUri: string): boolean {
  return record.wraps.some((wrap) => wrap.kekUri === kekUri);
}

async function removeWraps(
  context: OperationContext,
  org: OrgId,
  kekUri: string,
  prove: (record: DekRecord, rest: readonly WrapRecord[]) => Promise<void>,
): Promise<number> {
  let versions = 0;
  await repeatUntilDone(async () => {
    const pending = (await livingVersions(context.store, org)).filter((one) => isUnder(one, kekUri));
    for (const record of pending) {
      // All are looked at before the first is changed, so that a refusal leaves no half-removed KEK behind.
      if (record.wraps.length === 1) throw lastWrap(record, kekUri);
    }
    const [record] = pending;
    if (record === undefined) return 'done';
    const rest = record.wraps.filter((wrap) => wrap.kekUri !== kekUri);
    await prove(record, rest);
    await context.store.replaceWraps(org, record.keyId, record.wraps, rest);
    versions += 1;
    return 'again';
  });
  return versions;
}

/** Resolves when one of the wraps opens; any may be the one, since the others may be what a removal is to get rid of. */
async function proveAny(calls: KekCalls, record: DekRecord, wraps: readonly WrapRecord[]): Promise<void> {
  let first: unknown;
  for (const wrap of wraps) {
    try {
      await calls.prove(record, wrap);
      return;
    } catch (error) {
      first ??= error;
    }
  }
  throw (
    first ??
    new RingfenceCryptoError(
      'crypto.wrap_not_found',
      `another operator removed the wrap of version ${record.version} that was to replace the old one: nothing was removed`,
      { org: record.org, keyId: record.keyId },
      true,
    )
  );
}

function lastWrap(record: DekRecord, kekUri: string): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.last_wrap',
    `the only wrap of version ${record.version} is under this KEK; without it the data is lost: add another wrap first`,
    detailsOf(record, kekUri),
  );
}

function detailsOf({ org, keyId }: DekRecord, kekUri: string): CryptoErrorDetails {
  return { org, keyId, kekUri };
}
