/**
 * A key that was verified, and a key that was admitted to its organisation. A key acts for its creator: with the
 * creator's id, so that "nobody approves an entry of their own" holds for keys, within the key's scope, and within what
 * the creator may do at this moment. Invariant: no context leaves this file with which the creator's whole rights could
 * be used through the key.
 */
import { authorizeWithinCeiling } from '../ceiling.ts';
import { assertAllowed } from '../decision.ts';
import type { AllowDecision, Decision } from '../decision-types.ts';
import type { OrgId } from '../org-id.ts';
import type { Policy } from '../policy.ts';
import type { ActionOf, RequestContext, ResourceInstance, Resources } from '../policy-types.ts';
import type { AdmittedContext } from '../session/guard.ts';
import type { VerifiedSession } from '../session/verified-session.ts';
import { rowFilterWithinCeiling } from '../sql/ceiling-filter.ts';
import type { ColumnsOf, RowFilter } from '../sql/row-filter.ts';
import type { ApiKeyRecord, KeyScope } from './key-store.ts';

/** A key whose secret, expiry and revocation were checked. It is no permission yet. */
export interface VerifiedKey {
  /** Its id. */
  readonly id: string;
  /** Its organisation. */
  readonly org: OrgId;
  /** For people: what it is used for. */
  readonly name: string;
  /** First instant at which it is over, epoch ms; the end of the overlap, if it was rotated. */
  readonly expiresAt: number;
  /** The session of the key, for this request. */
  readonly session: VerifiedSession;
}

/** What a key may do in its organisation, for one request. */
export interface KeyAccess<R extends Resources = Resources> {
  /** The key. */
  readonly key: VerifiedKey;
  /** Id of the creator, for whom it acts: what to store as `createdBy`. Log the key's id beside it. */
  readonly actsFor: string;
  /**
   * Decides: the key's scope and the creator's rights as they are now must both allow. The answer is the decision that
   * is farther from an allow.
   *
   * @throws RingfenceAuthzError `authz.invalid_request`.
   */
  authorize<A extends ActionOf<R>>(action: A, resource: ResourceInstance<R, A>): Decision;
  /**
   * Decides, and throws unless the decision is an allow.
   *
   * @throws RingfenceAuthzError `authz.denied`, `authz.step_up_required`, `authz.approval_required`,
   * `authz.invalid_request`.
   */
  require<A extends ActionOf<R>>(action: A, resource: ResourceInstance<R, A>): AllowDecision;
  /**
   * The rows that the key's scope and the creator's rights as they are now both allow the action on: those that
   * `authorize` says allow for. `toSql` is the where clause; for Kysely `whereFilter` of `@ringfence/authz/kysely`.
   *
   * @throws RingfenceAuthzError `authz.invalid_request`, also when the key has ended meanwhile, and `authz.invalid_columns`.
   */
  filter<A extends ActionOf<R>>(action: A, columns: ColumnsOf<R, A>): RowFilter;
}

/** The only implementation of `KeyAccess`; internal to the package. */
export class ScopedAccess<R extends Resources, Role extends string> implements KeyAccess<R> {
  readonly key: VerifiedKey;
  readonly actsFor: string;
  readonly #policy: Policy<R, Role>;
  readonly #context: AdmittedContext<Role>;
  readonly #scope: KeyScope;
  readonly #clock: () => number;

  constructor(
    key: VerifiedKey,
    policy: Policy<R, Role>,
    context: AdmittedContext<Role>,
    { scope }: ApiKeyRecord,
    clock: () => number,
  ) {
    this.key = key;
    this.actsFor = context.principal.id;
    this.#policy = policy;
    this.#context = context;
    this.#scope = scope;
    this.#clock = clock;
    Object.freeze(this);
  }

  authorize<A extends ActionOf<R>>(action: A, resource: ResourceInstance<R, A>): Decision {
    const { principal } = this.#context;
    return authorizeWithinCeiling(this.#policy, this.#scoped(action), principal, action, resource);
  }

  filter<A extends ActionOf<R>>(action: A, columns: ColumnsOf<R, A>): RowFilter {
    const { principal } = this.#context;
    return rowFilterWithinCeiling(this.#policy, this.#scoped(action), principal, action, columns);
  }

  require<A extends ActionOf<R>>(action: A, resource: ResourceInstance<R, A>): AllowDecision {
    const decision = this.authorize(action, resource);
    assertAllowed(decision);
    return decision;
  }

  /** The creator with the roles of the scope, and with none for an action outside of it. */
  #scoped(action: string): RequestContext<Role> {
    const { principal, session } = this.#context;
    const { id, org } = principal;
    const inScope = this.#scope.actions.includes(action);
    const roles = (inScope ? this.#scope.roles : []) as readonly Role[];
    return { principal: { id, org, roles }, session, now: Math.floor(this.#clock()) };
  }
}

Object.freeze(ScopedAccess.prototype);
