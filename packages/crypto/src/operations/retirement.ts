/**
 * Verified retirement: a version stops opening only after every place that could name it was counted, twice, and held
 * nothing. The second count, made when the version is already retired, finds what was written between.
 * Invariant: a counter that fails, or that finds something, leaves the version opening as before.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { DekRecord } from '../key-store.ts';
import type { OrgId } from '../org-id.ts';
import { evictEverywhere, livingVersions, type OperationContext } from './operation-context.ts';

/** A place that may name a data-key version: a column, an index, a bucket. */
export interface ReferenceCounter {
  /** Name for errors and proofs, e.g. `ledger.entry.memo`. */
  readonly name: string;
  /** Counts what names the version; must see everything committed before the call. */
  readonly count: (org: OrgId, keyId: string) => Promise<number>;
}

/** Proof of a retirement for the audit log. All values are JSON. */
export interface RetirementProof {
  /** Format, 1. */
  readonly v: 1;
  /** Organisation. */
  readonly org: OrgId;
  /** Key id, 32 hex digits. */
  readonly keyId: string;
  /** Number. */
  readonly version: number;
  /** Time of the second count, ISO 8601 in UTC. */
  readonly retiredAt: string;
  /** Names of the places counted; all held nothing, before and after. */
  readonly counted: readonly string[];
  /** True when all processes were told to take a new lease; else they follow when theirs end. */
  readonly notified: boolean;
}

/** Something still names the version that was to be retired. */
export class StillReferencedError extends RingfenceCryptoError {
  override readonly name: string = 'StillReferencedError';
  /** Name of the counter. */
  readonly counter: string;
  /** What it counted. */
  readonly count: number;

  constructor(counter: string, count: number, org: OrgId, keyId: string) {
    super(
      'crypto.still_referenced',
      `${counter} still names the version ${count} times: sweep it, then retire again`,
      { org, keyId },
    );
    this.counter = counter;
    this.count = count;
  }
}

/** Wall clocks of two machines may differ by this much. */
const CLOCK_MARGIN_MS = 60_000;

/** Retires a version; to be called again after a crash. */
export async function retireDek(
  context: OperationContext,
  org: OrgId,
  keyId: string,
  references: readonly ReferenceCounter[],
): Promise<RetirementProof> {
  if (references.length === 0) {
    throw new TypeError('retirement needs at least one reference counter: nothing counted proves nothing');
  }
  const record = await retirable(context, org, keyId);
  if (record.state === 'decrypt_only') {
    await countAll(references, org, keyId);
    await context.store.setState(org, keyId, 'decrypt_only', 'retired');
  }
  try {
    await countAll(references, org, keyId);
  } catch (error) {
    await undo(context, org, keyId, error);
    throw error;
  }
  const retiredAt = new Date(context.now()).toISOString();
  const notified = await evictEverywhere(context, org);
  const counted = references.map(({ name }) => name);
  return { v: 1, org, keyId, version: record.version, retiredAt, counted, notified };
}

async function retirable(context: OperationContext, org: OrgId, keyId: string): Promise<DekRecord> {
  const records = await livingVersions(context.store, org);
  const record = records.find((one) => one.keyId === keyId);
  if (record === undefined) {
    throw new RingfenceCryptoError(
      'crypto.unknown_key_version',
      'the organisation has no version of this key id',
      { org, keyId },
    );
  }
  const successor = records.find(({ version }) => version === record.version + 1);
  if (record.state === 'active' || successor === undefined) {
    throw new RingfenceCryptoError(
      'crypto.version_active',
      `version ${record.version} is the active one: rotate first`,
      { org, keyId },
    );
  }
  // Until then a process that heard nothing of the rotation may hold a lease in which this version seals.
  const earliest = successor.createdAt + context.maxLeaseAgeMs + CLOCK_MARGIN_MS;
  if (record.state === 'decrypt_only' && context.now() < earliest) {
    throw new RingfenceCryptoError(
      'crypto.retirement_too_early',
      `leases from before the rotation may seal under version ${record.version} until ${new Date(earliest).toISOString()}`,
      { org, keyId },
      true,
    );
  }
  return record;
}

async function countAll(references: readonly ReferenceCounter[], org: OrgId, keyId: string): Promise<void> {
  for (const { name, count } of references) {
    const found = await count(org, keyId);
    if (!Number.isSafeInteger(found) || found < 0) {
      throw new TypeError(`the reference counter ${name} did not answer with a whole number`);
    }
    if (found > 0) throw new StillReferencedError(name, found, org, keyId);
  }
}

/** Sets the version back; when that fails too, both errors are told, and calling retire again does the rest. */
async function undo(context: OperationContext, org: OrgId, keyId: string, cause: unknown): Promise<void> {
  try {
    await context.store.setState(org, keyId, 'retired', 'decrypt_only');
  } catch (error) {
    throw new AggregateError(
      [cause, error],
      'the second count of a retirement failed and the version could not be set back: retire it again',
    );
  }
  await evictEverywhere(context, org);
}
