/**
 * What a person should look at: keys that are overdue for rotation, unused, orphaned, or above their ceiling. The last
 * two are worth nothing already, since both halves are asked at each use; the report says so before a caller complains.
 */
import { AuthzCeilingExceededError, assertWithinCeiling } from '../ceiling.ts';
import type { OrgId } from '../org-id.ts';
import type { Policy } from '../policy.ts';
import type { Resources } from '../policy-types.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import type { Identity, Member } from '../session/guard.ts';
import type { ApiKeyRecord } from './key-store.ts';

/** From when on a key is reported. */
export interface KeyReportLimits {
  /** Age from which a key is overdue for rotation, in ms. */
  readonly rotateAfterMs: number;
  /** Time without use from which a key is unused, in ms; one never used counts from its creation. */
  readonly unusedAfterMs: number;
}

/** What is the matter with a key. */
export type KeyFinding = 'overdue' | 'unused' | 'orphaned' | 'above_ceiling';

/** A key of the report. */
export interface ReportedKey {
  /** Its id. */
  readonly id: string;
  /** For people: what it is used for. */
  readonly name: string;
  /** Its organisation. */
  readonly org: OrgId;
  /** When it was created, epoch ms. */
  readonly createdAt: number;
  /** First instant at which it is over, epoch ms. */
  readonly expiresAt: number;
  /** Last use that was written down, epoch ms. */
  readonly lastUsedAt: number | undefined;
  /** Id of its pepper: an old one can go when no key is under it. */
  readonly pepper: string;
  /** What is the matter; empty when nothing is. */
  readonly findings: readonly KeyFinding[];
  /** For `above_ceiling`: a request that its scope allows and its creator may not do, and so the key may not either. */
  readonly witness: DecisionInputs | undefined;
}

/** The keys of an organisation that live. */
export interface KeyReport {
  /** Epoch ms. */
  readonly at: number;
  /** All of them, in the order of their expiry. */
  readonly keys: readonly ReportedKey[];
}

/** What the report is made against. */
interface Surroundings<R extends Resources, Role extends string> {
  readonly now: number;
  readonly policy: Policy<R, Role>;
  member(creator: Identity): Promise<Member<Role> | undefined>;
}

/** Makes the report. */
export async function reportKeys<R extends Resources, Role extends string>(
  records: readonly ApiKeyRecord[],
  limits: KeyReportLimits,
  { now, policy, member }: Surroundings<R, Role>,
): Promise<KeyReport> {
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${name} is not a number of ms`);
  }
  const live = records
    .filter((record) => record.revokedAt === undefined && now < endOf(record))
    .sort((a, b) => endOf(a) - endOf(b));
  const keys: ReportedKey[] = [];
  for (const record of live) {
    const { id, name, org, createdAt, lastUsedAt, pepper, creator } = record;
    const holder = await member(creator);
    const excess = holder === undefined ? undefined : above(policy, org, holder.roles, record);
    const findings: KeyFinding[] = [];
    if (now - createdAt >= limits.rotateAfterMs) findings.push('overdue');
    if (now - (lastUsedAt ?? createdAt) >= limits.unusedAfterMs) findings.push('unused');
    if (holder === undefined) findings.push('orphaned');
    if (excess !== undefined) findings.push('above_ceiling');
    const { witness } = excess ?? {};
    keys.push({ id, name, org, createdAt, expiresAt: endOf(record), lastUsedAt, pepper, findings, witness });
  }
  return { at: now, keys };
}

function endOf({ expiresAt, overlapUntil }: ApiKeyRecord): number {
  return Math.min(expiresAt, overlapUntil ?? expiresAt);
}

function above<R extends Resources, Role extends string>(
  policy: Policy<R, Role>,
  org: OrgId,
  roles: readonly string[],
  { scope, expiresAt }: ApiKeyRecord,
): AuthzCeilingExceededError | undefined {
  try {
    assertWithinCeiling(policy, 'api_key', { org, roles }, { org, ...scope, until: expiresAt });
    return undefined;
  } catch (error) {
    if (error instanceof AuthzCeilingExceededError) return error;
    throw error;
  }
}
