/**
 * DEK rotation: a new version becomes the active one, the former one still opens. No data is touched.
 * Invariant: the new version is wrapped under exactly the KEKs the former one has at the moment of insertion (checked in
 * the same transaction), and every new wrap was opened once before anything is written.
 */

import type { KekCalls } from '../kek-calls.ts';
import { keyIdText } from '../key-id.ts';
import type { DekRecord, WrapRecord } from '../key-store.ts';
import type { OrgId } from '../org-id.ts';
import type { RandomFill } from '../salt-source.ts';
import {
  evictEverywhere,
  livingVersions,
  type OperationContext,
  repeatUntilDone,
} from './operation-context.ts';

/** The version that is active after a rotation. */
export interface Rotated {
  /** Key id, 32 hex digits. */
  readonly keyId: string;
  /** Number. */
  readonly version: number;
  /** True when all processes were told to take a new lease; else they follow when theirs end. */
  readonly notified: boolean;
}

/** Rotates; two rotations at the same time make one version. */
export async function rotateDek(context: OperationContext, org: OrgId): Promise<Rotated> {
  const calls = context.calls.counted();
  const before = (await livingVersions(context.store, org)).length;
  let active: Omit<Rotated, 'notified'> | undefined;
  await repeatUntilDone(async () => {
    const records = await livingVersions(context.store, org);
    const former = records.at(-1) as DekRecord;
    if (records.length > before) {
      // Another operator rotated since this call began: what was asked for is there.
      active = { keyId: former.keyId, version: former.version };
      return 'done';
    }
    const made = await makeVersion(calls, org, former, context.random);
    await context.store.insertVersion({ ...made, state: 'active', createdAt: context.now() }, former.wraps);
    active = { keyId: made.keyId, version: made.version };
    return 'done';
  });
  return { ...(active as Omit<Rotated, 'notified'>), notified: await evictEverywhere(context, org) };
}

async function makeVersion(
  calls: KekCalls,
  org: OrgId,
  former: DekRecord,
  random: RandomFill,
): Promise<Omit<DekRecord, 'state' | 'createdAt'>> {
  const dek = new Uint8Array(32);
  const id = new Uint8Array(16);
  random(dek);
  random(id);
  const identity = { org, keyId: keyIdText(id), version: former.version + 1 };
  try {
    const wraps: WrapRecord[] = [];
    for (const { kekUri } of former.wraps) wraps.push(await calls.wrap(dek, identity, kekUri));
    const record: DekRecord = { ...identity, state: 'active', wraps, createdAt: 0 };
    for (const wrap of wraps) await calls.prove(record, wrap);
    return { ...identity, wraps };
  } finally {
    dek.fill(0);
  }
}
