/**
 * What an organisation asks of every session, whatever the door: SSO, more than one factor, a greatest age.
 * Pro and above may turn it on; Enterprise has SSO on by default from the moment somebody has signed in through a
 * connection of the organisation, so that a default locks nobody out. A downgrade weakens nothing: what was turned on stays on.
 * Invariant: whoever changes it satisfies what was asked before, so that nobody lifts what binds them, and what is asked
 * afterwards, so that nobody locks themselves out; else nothing is changed and they are told what to do first.
 */
import type { StepUp } from '../decision-types.ts';
import type { OrgId } from '../org-id.ts';
import { AuthzAssuranceRefusedError, AuthzSessionInsufficientError } from './errors.ts';
import type { SessionEvidence } from './verified-session.ts';

/** What the plan of an organisation includes. */
export type AssurancePlan = 'free' | 'pro' | 'enterprise';

/** The settings of one organisation, as stored. */
export interface OrgAssurance {
  /** Its plan. */
  readonly plan: AssurancePlan;
  /** True once somebody has signed in through a connection of the organisation. */
  readonly ssoProven: boolean;
  /** SSO for every session. Absent: the plan's default. */
  readonly requireSso?: 'on' | 'off';
  /** More than one factor for every session. Absent: off. */
  readonly requireMfa?: 'on' | 'off';
  /** Greatest age of the authentication, in ms, at least 60,000. Absent: none. */
  readonly maxSessionAgeMs?: number;
}

/** What is asked of every session. */
export interface AssuranceDemand {
  /** Authentication through a connection of the organisation. */
  readonly sso: boolean;
  /** More than one factor. */
  readonly mfa: boolean;
  /** Greatest age of the authentication, in ms; undefined: none. */
  readonly maxSessionAgeMs: number | undefined;
}

/** A change of the settings; what is absent stays. */
export interface AssuranceChange {
  /** SSO for every session. */
  readonly requireSso?: 'on' | 'off';
  /** More than one factor for every session. */
  readonly requireMfa?: 'on' | 'off';
  /** Greatest age of the authentication, in ms, at least 60,000; null: none. */
  readonly maxSessionAgeMs?: number | null;
}

/** Where connections belong. */
export interface ConnectionDirectory {
  /** The organisation an SSO connection belongs to; undefined when there is no such connection. */
  connectionOrg(connection: string): Promise<OrgId | undefined>;
}

/** Shortest greatest age: below it people do nothing but sign in. */
const LEAST_AGE_MS = 60_000;

/**
 * What the settings ask of every session.
 *
 * @throws TypeError when a setting is not one of its values: a setting that cannot be read must not count as off.
 */
export function assuranceDemand(settings: OrgAssurance): AssuranceDemand {
  const { plan, ssoProven, requireSso, requireMfa, maxSessionAgeMs } = settings;
  if (!['free', 'pro', 'enterprise'].includes(plan)) throw new TypeError('plan is not one of its values');
  if (typeof ssoProven !== 'boolean') throw new TypeError('ssoProven is not a boolean');
  if (maxSessionAgeMs !== undefined && !isAge(maxSessionAgeMs))
    throw new TypeError('maxSessionAgeMs is not an age in ms');
  return Object.freeze({
    sso: toggle('requireSso', requireSso) ?? (plan === 'enterprise' && ssoProven),
    mfa: toggle('requireMfa', requireMfa) ?? false,
    maxSessionAgeMs,
  });
}

/** Who asks for a change: the evidence of a session that has not ended, as the guard sees it now. */
interface AssuranceRequester {
  readonly evidence: SessionEvidence;
  /** It came through a connection of the organisation. */
  readonly viaSso: boolean;
  /** Epoch ms. */
  readonly now: number;
  /** `acr` values that a step-up for more than one factor asks for. */
  readonly mfaAcrValues: readonly string[];
}

/** The settings after a change, if the session that asks satisfies them before and after; behind `SessionGuard.changeAssurance`. */
export function changedAssurance(
  settings: OrgAssurance,
  change: AssuranceChange,
  { evidence, viaSso, now, mfaAcrValues }: AssuranceRequester,
): OrgAssurance {
  if (evidence.door === 'api_key') throw new AuthzAssuranceRefusedError('api_key', 'only a person may');
  const { requireSso, requireMfa, maxSessionAgeMs } = change;
  const turnsOn = requireSso === 'on' || requireMfa === 'on' || typeof maxSessionAgeMs === 'number';
  if (turnsOn && settings.plan === 'free') {
    throw new AuthzAssuranceRefusedError('plan', 'it is part of the plans pro and enterprise');
  }
  const { maxSessionAgeMs: age, ...rest } = settings;
  const nextAge = maxSessionAgeMs === undefined ? age : (maxSessionAgeMs ?? undefined);
  const next: OrgAssurance = Object.freeze({
    ...rest,
    ssoProven: settings.ssoProven || viaSso,
    ...(requireSso === undefined ? {} : { requireSso }),
    ...(requireMfa === undefined ? {} : { requireMfa }),
    ...(nextAge === undefined ? {} : { maxSessionAgeMs: nextAge }),
  });
  for (const demand of [assuranceDemand(settings), assuranceDemand(next)]) {
    const missing = missingAssurance(demand, evidence, viaSso, now, mfaAcrValues);
    if (missing !== undefined) throw new AuthzSessionInsufficientError(missing);
  }
  return next;
}

/** What a person's session lacks; undefined when it satisfies the demand. Unknown never satisfies. */
export function missingAssurance(
  { sso, mfa, maxSessionAgeMs }: AssuranceDemand,
  evidence: SessionEvidence,
  viaSso: boolean,
  now: number,
  mfaAcrValues: readonly string[],
): StepUp | undefined {
  const { authenticatedAt } = evidence;
  const needsSso = sso && !viaSso;
  const needsMfa = mfa && !evidence.mfa;
  const tooOld =
    maxSessionAgeMs !== undefined &&
    !(authenticatedAt !== undefined && now - authenticatedAt < maxSessionAgeMs);
  if (!needsSso && !needsMfa && !tooOld) return undefined;
  return Object.freeze({
    ...(needsMfa && mfaAcrValues.length > 0 ? { acrValues: mfaAcrValues } : {}),
    ...(tooOld ? { maxAge: Math.floor(maxSessionAgeMs / 1_000) } : {}),
    mfa: needsMfa,
    sso: needsSso,
  });
}

function toggle(name: string, value: unknown): boolean | undefined {
  if (value === undefined) return undefined;
  if (value !== 'on' && value !== 'off') throw new TypeError(`${name} is neither on nor off`);
  return value === 'on';
}

function isAge(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= LEAST_AGE_MS;
}
