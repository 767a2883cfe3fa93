/**
 * Who is asking, by which door, and what they may do at this moment: a person with an access token, an integration with
 * an API key, or a job on behalf of either. A session cannot be written down as an object: only the functions of this
 * file make one, and each rests on something that was verified.
 * Invariant: a revocation and an expiry count in the next decision, a change of roles or settings within
 * `admissionMaxAgeMs`, however long a session is held.
 */
import { assertAllowed, authorizeWithinCeiling, type ResourceInstance } from '@ringfence/authz';
import { AuthzKeyRefusedError } from '@ringfence/authz/keys';
import type { AdmittedContext, VerifiedSession } from '@ringfence/authz/session';
import type { OrgId, Principal } from '@ringfence/tenancy';
import type { Ledger } from './ledger.ts';
import { type LedgerAction, type LedgerResources, policy, type Role } from './policy.ts';
import { refusedAtTheDoor } from './refusals.ts';

/** What a session may do, as it was admitted. */
export interface Access {
  /**
   * Returns when the policy allows.
   *
   * @throws AuthzDeniedError, AuthzStepUpRequiredError.
   */
  require(action: LedgerAction, resource: ResourceInstance<LedgerResources, LedgerAction>): void;
}

/** Who stands behind a session. */
interface Holder {
  readonly org: OrgId;
  /** `user:<uuid>`; for a key its creator. */
  readonly actor: string;
  /** Id of the API key. */
  readonly key?: string;
  /** What the verifier vouches for; a job has none. */
  readonly verified?: VerifiedSession;
}

/** When an admission has to be repeated. */
interface Freshness {
  readonly maxAgeMs: number;
  /** Changes with every revocation. */
  revocations(): number;
}

/** A session in one organisation. */
class Session {
  readonly org: OrgId;
  readonly actor: string;
  readonly key: string | undefined;
  readonly verified: VerifiedSession | undefined;
  readonly #admit: () => Promise<Access>;
  readonly #freshness: Freshness;
  #admitted: { readonly access: Access; readonly at: number; readonly revocations: number };

  constructor(
    { org, actor, key, verified }: Holder,
    admitted: Access,
    freshness: Freshness,
    admit: () => Promise<Access>,
  ) {
    this.#admitted = { access: admitted, at: performance.now(), revocations: freshness.revocations() };
    this.org = org;
    this.actor = actor;
    this.key = key;
    this.verified = verified;
    this.#admit = admit;
    this.#freshness = freshness;
  }

  /** Who acts, for handles and jobs. Every audit event of a key names it as the request. */
  get principal(): Principal {
    const { actor, key } = this;
    return key === undefined ? { actor } : { actor, kind: 'api_key', requestId: `key:${key}` };
  }

  /** What the session may do, asked of the database unless that was a moment ago and nothing was revoked since. */
  async admit(): Promise<Access> {
    const [at, revocations] = [performance.now(), this.#freshness.revocations()];
    const last = this.#admitted;
    if (last.revocations === revocations && at - last.at < this.#freshness.maxAgeMs) return last.access;
    const access = await this.#admit();
    this.#admitted = { access, at, revocations };
    return access;
  }
}

export type { Session };

/**
 * Opens the session of a person in an organisation; that, and its refusal, is recorded.
 *
 * @throws AuthzTokenRefusedError `authz.token_refused` for anything but a valid access token of a configured issuer.
 * @throws AuthzSessionRefusedError `authz.session_refused` for who is no member of the organisation.
 * @throws AuthzSessionInsufficientError `authz.session_insufficient` when the organisation asks for a second factor.
 */
export async function signIn(ledger: Ledger, org: OrgId, accessToken: string): Promise<Session> {
  const { verifier, guard } = ledger.identity;
  const verified = await verifier.verifyAccessToken(accessToken);
  const admit = () => guard.admit(verified, org);
  const first = await admit().catch((error: unknown) => refusedAtTheDoor(ledger, org, verified, error));
  const holder = { org, actor: first.principal.id, verified };
  const opened = new Session(holder, accessOf(first), freshness(ledger), async () => accessOf(await admit()));
  await ledger.audit.record(ledger.tenancy.forOrg(org, opened.principal), 'session.opened', {
    outcome: 'success',
    data: { issuer: verified.issuer, mfa: first.session.mfa },
  });
  return opened;
}

function accessOf(context: AdmittedContext<Role>): Access {
  return { require: (action, resource) => policy.require(context, action, resource) };
}

/**
 * The session of an API key: it acts for its creator, within its scope and within what the creator may do at the moment.
 *
 * @throws AuthzKeyRefusedError `authz.key_refused`, also when its creator is a member no more.
 */
export async function enterWithKey(ledger: Ledger, key: string): Promise<Session> {
  const admit = () => ledger.apiKeys.admit(key); // and what it refuses is told to the log: `onRefused` of the keys
  const first = await admit();
  const { id, org, session: verified } = first.key;
  return new Session({ org, actor: first.actsFor, key: id, verified }, first, freshness(ledger), admit);
}

/** Whoever enqueued a job. */
export interface Enqueuer {
  /** `user:<uuid>`; for a key its creator. */
  readonly actor: string;
  /** Id of the API key it was enqueued with. */
  readonly key?: string | undefined;
}

/** Thrown when whoever enqueued a job is a member of the organisation no more. */
export class NotAMemberError extends Error {
  override readonly name: string = 'NotAMemberError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.not_a_member';
}

/**
 * The session of a job, on behalf of whoever enqueued it, with the roles they have now. It has no facts about an
 * authentication: nobody is there to authenticate, and those of the session it was enqueued in are over. So a job can do
 * nothing that asks for a second factor.
 *
 * @throws NotAMemberError when the enqueuer is a member no more.
 * @throws AuthzKeyRefusedError `authz.key_refused` when the key was revoked or has expired meanwhile.
 */
export async function onBehalfOf(ledger: Ledger, org: OrgId, enqueuer: Enqueuer): Promise<Session> {
  const { actor, key } = enqueuer;
  const member = await ledger.tenancy
    .forOrg(org, { actor })
    .selectFrom('ledger.member')
    .select('roles')
    .where('user_id', '=', actor.replace(/^user:/, ''))
    .executeTakeFirst();
  if (member === undefined) throw new NotAMemberError(`${actor} is not a member of organisation ${org}`);
  const roles = member.roles as readonly Role[];
  const scope = key === undefined ? undefined : await liveScope(ledger, org, key);
  const holder = { org, actor, ...(key === undefined ? {} : { key }) };
  const access: Access = {
    require: (action, resource) => {
      const within = scope === undefined || scope.actions.includes(action);
      const own = scope === undefined ? roles : (scope.roles as readonly Role[]);
      const principal = { id: actor, org, roles: within ? own : [] };
      assertAllowed(authorizeWithinCeiling(policy, { principal }, { org, roles }, action, resource));
    },
  };
  return new Session(holder, access, freshness(ledger), async () => access);
}

/** What a key may do at most, if it is alive; its secret was checked when the job was enqueued. */
async function liveScope(ledger: Ledger, org: OrgId, id: string) {
  const record = await ledger.apiKeyStore.find(id);
  if (record === undefined || record.org !== org)
    throw new AuthzKeyRefusedError('unknown', 'there is no such key');
  if (record.revokedAt !== undefined) throw new AuthzKeyRefusedError('revoked', 'it was revoked');
  if (Date.now() >= Math.min(record.expiresAt, record.overlapUntil ?? record.expiresAt))
    throw new AuthzKeyRefusedError('expired', 'its expiry has passed');
  return record.scope;
}

function freshness({ identity, admissionMaxAgeMs }: Ledger): Freshness {
  return { maxAgeMs: admissionMaxAgeMs, revocations: () => identity.revocations.version };
}
