/**
 * The policy: what it takes to define one, and the only door to a decision. Default deny; a forbid wins; the order of
 * grants, forbids and roles has no effect; principal and resource must belong to the same organisation.
 */
import { assertAllowed, decide } from './decision.ts';
import type { AllowDecision, Decision } from './decision-types.ts';
import { RingfenceAuthzError } from './errors.ts';
import { readFacts } from './facts.ts';
import { canonicalDocument, documentHash } from './policy-document.ts';
import { indexPolicy, type PolicyIndex } from './policy-index.ts';
import type {
  ActionOf,
  ForbidDefinition,
  GrantDefinition,
  PolicyDefinition,
  PolicyDocument,
  RequestContext,
  ResourceInstance,
  Resources,
} from './policy-types.ts';

/** A policy in force: immutable. `R` is the type of its resources, `Role` the union of its roles. */
export interface Policy<R extends Resources = Resources, Role extends string = string> {
  /** SHA-256 of the canonical document, 64 hex digits: equal for equal policies, whatever order they are written in. */
  readonly hash: string;
  /** The roles, sorted. */
  readonly roles: readonly Role[];
  /** The actions, `resource.action`, sorted. */
  readonly actions: readonly ActionOf<R>[];

  /**
   * Decides whether the principal may do the action on this resource. Never throws for a request that is merely wrong:
   * that is a deny with its reason.
   *
   * @throws RingfenceAuthzError `authz.invalid_request` when reading the request throws (a getter, a proxy).
   */
  authorize<A extends ActionOf<R>>(
    context: RequestContext<Role>,
    action: A,
    resource: ResourceInstance<R, A>,
  ): Decision;

  /**
   * Decides, and throws unless the decision is an allow.
   *
   * @throws RingfenceAuthzError `authz.denied`, `authz.step_up_required`, `authz.approval_required`,
   * `authz.invalid_request`.
   */
  require<A extends ActionOf<R>>(
    context: RequestContext<Role>,
    action: A,
    resource: ResourceInstance<R, A>,
  ): AllowDecision;

  /** True for a role of this policy, to narrow what comes from a database or a directory. */
  isRole(value: unknown): value is Role;

  /** True for an action of this policy. */
  isAction(value: unknown): value is ActionOf<R>;

  /** The canonical document, frozen: what the hash is of, and what `policyFromJSON` takes. */
  toJSON(): PolicyDocument;
}

/**
 * Defines a policy. Names and types are checked by the compiler, and all of it again at run time.
 *
 * @throws RingfenceAuthzError `authz.invalid_policy` with every issue found.
 * @example
 * ```ts
 * const policy = definePolicy({
 *   resources: { entry: { actions: ['read', 'approve'], attributes: { createdBy: 'string' } } },
 *   roles: ['bookkeeper', 'controller'],
 *   grants: [{ id: 'controller-approves', roles: ['controller'], actions: ['entry.approve'], when: mfa() }],
 *   forbids: [
 *     {
 *       id: 'no-self-approval',
 *       actions: ['entry.approve'],
 *       when: equals(resource('createdBy'), principal('id')),
 *       reason: 'nobody approves an entry of their own',
 *     },
 *   ],
 * });
 * ```
 */
export function definePolicy<
  const R extends Resources,
  const Role extends string,
  const G extends readonly GrantDefinition<ActionOf<R>, Role>[],
  const F extends readonly ForbidDefinition<ActionOf<R>, Role>[] = readonly [],
  const Acr extends string = never,
>(definition: PolicyDefinition<R, Role, Acr, G, F>): Policy<R, Role> {
  return policyFromJSON(definition) as unknown as Policy<R, Role>;
}

/**
 * Loads a policy from data of any origin, with the checks of `definePolicy`: unknown names, unknown properties and
 * operators, wildcards and dangling references are refused.
 *
 * @throws RingfenceAuthzError `authz.invalid_policy` with every issue found.
 */
export function policyFromJSON(document: unknown): Policy {
  const canonical = canonicalDocument(document);
  return new IndexedPolicy(indexPolicy(canonical, documentHash(canonical)));
}

/** The only implementation of `Policy`; internal to the package. */
export class IndexedPolicy implements Policy {
  readonly #index: PolicyIndex;
  readonly #roles: readonly string[];
  readonly #actions: readonly ActionOf<Resources>[];

  constructor(index: PolicyIndex) {
    this.#index = index;
    this.#roles = Object.freeze([...index.roles.keys()]);
    this.#actions = Object.freeze([...index.actions.keys()]) as readonly ActionOf<Resources>[];
    Object.freeze(this);
  }

  /** The index of a policy made by this package; undefined for a look-alike. */
  static indexOf(policy: object): PolicyIndex | undefined {
    return #index in policy ? policy.#index : undefined;
  }

  get hash(): string {
    return this.#index.hash;
  }

  get roles(): readonly string[] {
    return this.#roles;
  }

  get actions(): readonly ActionOf<Resources>[] {
    return this.#actions;
  }

  authorize(context: unknown, action: unknown, resource: unknown): Decision {
    try {
      return decide(this.#index, readFacts(this.#index, context, action, resource));
    } catch (cause) {
      throw new RingfenceAuthzError('authz.invalid_request', 'reading the request threw', { cause });
    }
  }

  require(context: unknown, action: unknown, resource: unknown): AllowDecision {
    const decision = this.authorize(context, action, resource);
    assertAllowed(decision);
    return decision;
  }

  isRole(value: unknown): value is string {
    return typeof value === 'string' && this.#index.roles.has(value);
  }

  isAction(value: unknown): value is ActionOf<Resources> {
    return typeof value === 'string' && this.#index.actions.has(value);
  }

  toJSON(): PolicyDocument {
    return this.#index.document;
  }
}

Object.freeze(IndexedPolicy.prototype);
