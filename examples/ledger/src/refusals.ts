/**
 * What counts as a refusal, and how it enters the audit log: the transaction that a refusal stopped leaves nothing, so it
 * is recorded on its own. A refusal that cannot be recorded stays a refusal.
 */
import {
  AuthzApprovalRequiredError,
  AuthzCeilingExceededError,
  AuthzDeniedError,
  AuthzStepUpRequiredError,
} from '@ringfence/authz';
import { AuthzKeyRefusedError, type RefusedKey } from '@ringfence/authz/keys';
import {
  AuthzAssuranceRefusedError,
  AuthzSessionInsufficientError,
  AuthzSessionRefusedError,
  type VerifiedSession,
} from '@ringfence/authz/session';
import type { OrgId, Principal } from '@ringfence/tenancy';
import type { Knock } from './door-refusals.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';

const REFUSALS = [
  AuthzDeniedError,
  AuthzStepUpRequiredError,
  AuthzApprovalRequiredError,
  AuthzCeilingExceededError,
  AuthzSessionRefusedError,
  AuthzSessionInsufficientError,
  AuthzAssuranceRefusedError,
  AuthzKeyRefusedError,
] as const;

/** A refusal of whatever kind. */
export type Refusal = InstanceType<(typeof REFUSALS)[number]>;

/** Tells a refusal from a failure. */
export function isRefusal(error: unknown): error is Refusal {
  return REFUSALS.some((kind) => error instanceof kind);
}

/** Whose refusal it is. */
export interface Refused {
  readonly org: OrgId;
  readonly actor: string;
  readonly principal: Principal;
}

/** Runs something and records its refusal, or that what was asked for is not there. */
export async function recordingRefusals<T>(ledger: Ledger, by: Refused, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isRefusal(error) || error instanceof NotFoundError)
      await recordRefusal(ledger, by, error).catch(reportUnrecorded);
    throw error;
  }
}

async function recordRefusal(ledger: Ledger, by: Refused, error: Refusal | NotFoundError): Promise<void> {
  const db = ledger.tenancy.forOrg(by.org, by.principal);
  await ledger.audit.record(db, 'access.denied', {
    target: by.actor,
    outcome: 'denied',
    reason: error.message,
    data: { action: actionOf(error), code: error.code },
  });
}

/** What was asked for: an action, a door through which rights are given, or entry. */
function actionOf(error: Refusal | NotFoundError): string {
  if (error instanceof NotFoundError) return error.action;
  if ('decision' in error) return error.decision.action;
  return 'door' in error ? error.door : 'session.enter';
}

/**
 * Throws the refusal of somebody whose token is genuine and who was not let into an organisation; its log is told
 * (`door-refusals.ts`). A token that does not verify is in nobody's log: anybody can send one.
 */
export async function refusedAtTheDoor(
  ledger: Ledger,
  org: OrgId,
  session: VerifiedSession,
  error: unknown,
): Promise<never> {
  // Of other reasons it is not known whether there is such an organisation.
  const named = error instanceof AuthzSessionRefusedError && ['member', 'connection'].includes(error.reason);
  if (named || error instanceof AuthzSessionInsufficientError)
    await noteAtTheDoor(ledger, org, session, error).catch(reportUnrecorded);
  throw error;
}

async function noteAtTheDoor(
  { identity, atTheDoor }: Ledger,
  org: OrgId,
  session: VerifiedSession,
  { code, message: reason }: AuthzSessionRefusedError | AuthzSessionInsufficientError,
): Promise<void> {
  const member = await identity.directory.member(org, session);
  const by = member === undefined ? { actor: 'system:sign-in', kind: 'system' } : { actor: member.id };
  await atTheDoor.note({ org, by, code, reason }, session);
}

/** Records that somebody was not let in. The log of one organisation is no place for people of another: it has a digest. */
export async function recordKnock(
  { audit, tenancy }: Pick<Ledger, 'audit' | 'tenancy'>,
  { org, by, code, reason, issuer, subject, attempts }: Knock,
): Promise<void> {
  await audit.record(tenancy.forOrg(org, by), 'session.refused', {
    outcome: 'denied',
    reason,
    data: { code, issuer, subject, attempts },
  });
}

/**
 * Records that a key of an organisation was refused, once a minute however often it is presented: a key that was revoked
 * and is still used is a leak, or an integration that nobody has told. Keys that are nobody's are in nobody's log.
 */
export async function recordRefusedKey(
  { audit, tenancy }: Pick<Ledger, 'audit' | 'tenancy'>,
  refused: RefusedKey,
): Promise<void> {
  const { org, id, code, reason, attempts, firstAt, lastAt } = refused;
  if (org === undefined) {
    console.error(`${attempts} API keys refused: ${reason}`);
    return;
  }
  const actor = `key:${id}`;
  const db = tenancy.forOrg(org, { actor, kind: 'api_key', requestId: actor });
  await audit.record(db, 'api_key.refused', {
    target: id,
    outcome: 'denied',
    data: {
      code,
      reason,
      attempts,
      firstAt: new Date(firstAt).toISOString(),
      lastAt: new Date(lastAt).toISOString(),
    },
  });
}

/** Reports that the log does not have a refusal. */
export function reportUnrecorded(error: unknown): void {
  console.error('a refusal could not be recorded:', error);
}
