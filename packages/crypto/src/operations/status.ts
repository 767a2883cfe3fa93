/**
 * The state of an organisation's keys, with the state of each KEK asked from its KMS. Reads only.
 * Invariant: a KMS that can't be asked is part of the answer, not an error.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { KekCalls } from '../kek-calls.ts';
import type { DekState } from '../key-store.ts';
import type { KekState } from '../kms.ts';
import type { OrgId } from '../org-id.ts';
import type { OperationContext } from './operation-context.ts';

/** State of a KEK, or why it is not known: the KMS does not answer, does not allow the question, or has no provider here. */
export type KekStatus = KekState | 'unavailable' | 'denied' | 'not_configured';

/** One data-key version. */
export interface VersionStatus {
  /** Key id, 32 hex digits. */
  readonly keyId: string;
  /** Number, from 1. */
  readonly version: number;
  /** State. */
  readonly state: DekState;
  /** Time of creation, ms since the epoch. */
  readonly createdAt: number;
  /** KEK of each wrap, in the order they are tried. */
  readonly kekUris: readonly string[];
}

/** A KEK and its state. */
export interface KekReport {
  /** URI. */
  readonly kekUri: string;
  /** State as its KMS told it now. */
  readonly state: KekStatus;
}

/** State of an organisation's keys. */
export interface OrgKeyStatus {
  /** Organisation. */
  readonly org: OrgId;
  /** `unknown` when it has no keys. */
  readonly state: 'unknown' | 'live' | 'shredded';
  /** KEK that `kekFor` names for it; differs from the KEKs of its wraps while a move is due. */
  readonly kekFor: string;
  /** Versions in ascending order. */
  readonly versions: readonly VersionStatus[];
  /** Each KEK that a wrap is under, with its state. */
  readonly keks: readonly KekReport[];
}

/** Reads the status. */
export async function orgKeyStatus(context: OperationContext, org: OrgId): Promise<OrgKeyStatus> {
  const records = await context.store.load(org);
  const versions = records.map(({ keyId, version, state, createdAt, wraps }) => ({
    keyId,
    version,
    state,
    createdAt,
    kekUris: wraps.map(({ kekUri }) => kekUri),
  }));
  const kekUris = [...new Set(versions.flatMap((version) => version.kekUris))];
  const calls = context.calls.counted();
  const keks = await Promise.all(
    kekUris.map(async (kekUri) => ({ kekUri, state: await kekStatus(calls, kekUri) })),
  );
  const shredded = versions.some(({ state }) => state === 'shredded');
  const state = versions.length === 0 ? 'unknown' : shredded ? 'shredded' : 'live';
  return { org, state, kekFor: context.kekFor(org), versions, keks };
}

async function kekStatus(calls: KekCalls, kekUri: string): Promise<KekStatus> {
  try {
    return await calls.describe(kekUri);
  } catch (error) {
    if (!(error instanceof RingfenceCryptoError)) return 'unavailable';
    switch (error.code) {
      case 'crypto.key_revoked':
        return 'disabled';
      case 'crypto.key_destroyed':
        return 'destroyed';
      case 'crypto.key_denied':
        return 'denied';
      case 'crypto.kms_not_configured':
        return 'not_configured';
      default:
        return 'unavailable';
    }
  }
}
