/**
 * The one way from a verified session into an organisation, whatever the door: it must not have ended, its SSO
 * connection must belong to the organisation, its subject must be a member, and it must satisfy what the organisation asks
 * for. Only then are facts minted, tied to that principal and that organisation: handed in with another one, or after the
 * session has ended, they deny.
 */
import type { OrgId } from '../org-id.ts';
import { parseOrgId } from '../org-id.ts';
import type { Principal, RequestContext } from '../policy-types.ts';
import { MintedSessionFacts, type SessionFacts } from '../session-facts.ts';
import {
  type AssuranceChange,
  type AssuranceDemand,
  assuranceDemand,
  type ConnectionDirectory,
  changedAssurance,
  missingAssurance,
  type OrgAssurance,
} from './assurance.ts';
import { type Clock, clockOf, steadyTime } from './clock.ts';
import { AuthzSessionInsufficientError, AuthzSessionRefusedError } from './errors.ts';
import type { Revocations } from './revocations.ts';
import { MintedSession, type SessionEvidence, type VerifiedSession } from './verified-session.ts';

/** A subject at its issuer: the two together name a person or a key. Never an e-mail address. */
export interface Identity {
  /** The issuer; for an API key `api_key`. */
  readonly issuer: string;
  /** The subject at that issuer; for an API key its id. */
  readonly subject: string;
}

/** A member of an organisation. */
export interface Member<Role extends string = string> {
  /** Id of the person or key, as the policy knows it. */
  readonly id: string;
  /** Its roles in the organisation. */
  readonly roles: readonly Role[];
}

/** What the guard asks of the application. Answer from your database, not from the token. */
export interface SessionDirectory<Role extends string = string> extends ConnectionDirectory {
  /** The settings of an organisation; undefined when there is no such organisation. */
  assurance(org: OrgId): Promise<OrgAssurance | undefined>;
  /** The member with this identity; undefined when there is none. */
  member(org: OrgId, identity: Identity): Promise<Member<Role> | undefined>;
}

/** What a guard needs. */
export interface SessionGuardOptions<Role extends string> extends Partial<Clock> {
  /** The application's data. */
  readonly directory: SessionDirectory<Role>;
  /** The register the verifier uses too. */
  readonly revocations: Revocations;
  /** `acr_values` that a step-up for more than one factor asks for. Default: none, and the challenge does not say. */
  readonly mfaAcrValues?: readonly string[];
}

/** The context of an admitted session, to be handed to `authorize`. For one request; admit again for the next. */
export interface AdmittedContext<Role extends string = string> extends RequestContext<Role> {
  /** The member. */
  readonly principal: Principal<Role>;
  /** The facts, tied to this principal and organisation. */
  readonly session: SessionFacts;
}

/** Admits sessions to organisations. */
export interface SessionGuard<Role extends string = string> {
  /**
   * Admits a session to an organisation.
   *
   * @throws AuthzSessionInsufficientError `authz.session_insufficient`: `challenge` is the RFC 9470 header.
   * @throws AuthzSessionRefusedError `authz.session_refused`.
   * @throws TypeError when `org` is not an organisation id, or a stored setting cannot be read.
   */
  admit(session: VerifiedSession, org: OrgId): Promise<AdmittedContext<Role>>;

  /**
   * Changes what an organisation asks of every session, if the session that asks is alive and satisfies them before
   * and after. Store the answer in the transaction that read `settings`. Authorize the change first: this knows no roles.
   *
   * @throws AuthzSessionInsufficientError `authz.session_insufficient` with the authentication to do first.
   * @throws AuthzAssuranceRefusedError `authz.assurance_refused` when the plan does not include it, or an API key asks.
   * @throws AuthzSessionRefusedError `authz.session_refused` for a session no verifier minted, and for one that has ended.
   * @throws TypeError when `org` is not an organisation id, or a setting cannot be read.
   */
  changeAssurance(
    session: VerifiedSession,
    org: OrgId,
    settings: OrgAssurance,
    change: AssuranceChange,
  ): Promise<OrgAssurance>;
}

/** RFC 9470 `acr_values`, as they can stand in a header. */
const ACR = /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/;

/**
 * Makes a guard.
 *
 * @throws TypeError when `mfaAcrValues` cannot stand in a header.
 * @example
 * ```ts
 * const context = await guard.admit(await verifier.verifyAccessToken(token), org);
 * policy.require(context, 'entry.approve', entry);
 * ```
 */
export function createSessionGuard<Role extends string>(
  options: SessionGuardOptions<Role>,
): SessionGuard<Role> {
  return new DirectoryGuard(options);
}

class DirectoryGuard<Role extends string> implements SessionGuard<Role> {
  readonly #directory: SessionDirectory<Role>;
  readonly #revocations: Revocations;
  readonly #mfaAcrValues: readonly string[];
  readonly #now: () => number;

  constructor({ directory, revocations, mfaAcrValues = [], ...clock }: SessionGuardOptions<Role>) {
    for (const acr of mfaAcrValues) {
      if (!ACR.test(acr))
        throw new TypeError('mfaAcrValues has a value that is not printable ASCII without quotes');
    }
    this.#directory = directory;
    this.#revocations = revocations;
    this.#mfaAcrValues = Object.freeze([...mfaAcrValues]);
    this.#now = steadyTime(clockOf(clock));
  }

  async admit(session: VerifiedSession, given: OrgId): Promise<AdmittedContext<Role>> {
    const org = parseOrgId(given);
    const evidence = MintedSession.evidenceOf(session);
    if (evidence === undefined) throw new AuthzSessionRefusedError('forged', 'no verifier minted it');
    this.#refuseEnded(evidence, org, evidence.expiresAt);
    const settings = await this.#directory.assurance(org);
    if (settings === undefined) throw new AuthzSessionRefusedError('org', 'there is no such organisation');
    const demand = assuranceDemand(settings);
    const viaSso = await this.#belongs(evidence, org);
    const { issuer, subject } = evidence;
    const member = await this.#directory.member(org, { issuer, subject });
    if (member === undefined) throw new AuthzSessionRefusedError('member', 'the subject is no member');

    if (evidence.key === undefined) this.#refuseWeak(demand, evidence, viaSso);
    else await this.#refuseWeakOrigin(demand, evidence.key, org);
    const expiresAt = expiryUnder(demand, evidence);
    this.#refuseEnded(evidence, org, expiresAt); // the directory took its time
    return this.#context(evidence, member, org, expiresAt);
  }

  async changeAssurance(
    session: VerifiedSession,
    given: OrgId,
    settings: OrgAssurance,
    change: AssuranceChange,
  ): Promise<OrgAssurance> {
    const org = parseOrgId(given);
    const evidence = MintedSession.evidenceOf(session);
    if (evidence === undefined) throw new AuthzSessionRefusedError('forged', 'no verifier minted it');
    const { ssoConnection } = evidence;
    const viaSso =
      ssoConnection !== undefined && (await this.#directory.connectionOrg(ssoConnection)) === org;
    this.#refuseEnded(evidence, org, evidence.expiresAt); // asked last: the directory took its time
    const by = { evidence, viaSso, now: this.#now(), mfaAcrValues: this.#mfaAcrValues };
    return changedAssurance(settings, change, by);
  }

  /** True when the session came through a connection of the organisation; refuses one of another organisation. */
  async #belongs({ ssoConnection, key }: SessionEvidence, org: OrgId): Promise<boolean> {
    if (key !== undefined && key.org !== org) {
      throw new AuthzSessionRefusedError('connection', 'the API key belongs to another organisation');
    }
    if (ssoConnection === undefined) return false;
    if ((await this.#directory.connectionOrg(ssoConnection)) === org) return true;
    throw new AuthzSessionRefusedError('connection', 'the SSO connection belongs to another organisation');
  }

  #refuseWeak(demand: AssuranceDemand, evidence: SessionEvidence, viaSso: boolean): void {
    const missing = missingAssurance(demand, evidence, viaSso, this.#now(), this.#mfaAcrValues);
    if (missing !== undefined) throw new AuthzSessionInsufficientError(missing);
  }

  /** A key cannot authenticate again, so what counts is the session it was created in, as the organisation is today. */
  async #refuseWeakOrigin(
    { sso, mfa }: AssuranceDemand,
    origin: NonNullable<SessionEvidence['key']>,
    org: OrgId,
  ): Promise<void> {
    const { ssoConnection } = origin;
    const viaSso =
      ssoConnection !== undefined && (await this.#directory.connectionOrg(ssoConnection)) === org;
    if ((sso && !viaSso) || (mfa && !origin.mfa)) {
      throw new AuthzSessionRefusedError(
        'key_origin',
        'create the key anew in a session that satisfies the organisation',
      );
    }
  }

  #refuseEnded(evidence: SessionEvidence, org: OrgId, expiresAt: number): void {
    const ended = this.#ended(evidence, org, expiresAt, this.#now());
    if (ended !== undefined) throw new AuthzSessionRefusedError('ended', `it ${ended}`);
  }

  #ended(evidence: SessionEvidence, org: OrgId, expiresAt: number, now: number): string | undefined {
    if (now >= expiresAt) return 'has expired';
    return this.#revocations.ends(evidence, org) ? 'was revoked' : undefined;
  }

  #context(
    evidence: SessionEvidence,
    { id, roles }: Member<Role>,
    org: OrgId,
    expiresAt: number,
  ): AdmittedContext<Role> {
    const { mfa, acr, authenticatedAt, ssoConnection } = evidence;
    const session = new MintedSessionFacts(
      {
        mfa,
        ...(acr === undefined ? {} : { acr }),
        ...(authenticatedAt === undefined ? {} : { authenticatedAt }),
        ...(ssoConnection === undefined ? {} : { ssoConnection }),
      },
      {
        principal: id,
        org,
        ended: (now) => this.#ended(evidence, org, expiresAt, Math.max(now, this.#now())),
      },
    );
    return Object.freeze({
      principal: Object.freeze({ id, org, roles: Object.freeze([...roles]) }),
      session,
    });
  }
}

/** The organisation's greatest age ends a session of which the age is known; a key has its own expiry. */
function expiryUnder({ maxSessionAgeMs }: AssuranceDemand, evidence: SessionEvidence): number {
  const { authenticatedAt, expiresAt, key } = evidence;
  if (maxSessionAgeMs === undefined || authenticatedAt === undefined || key !== undefined) return expiresAt;
  return Math.min(expiresAt, authenticatedAt + maxSessionAgeMs);
}
