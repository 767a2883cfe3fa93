/**
 * The ceiling of a delegation: nobody gives what they do not hold, conditions and forbids included. One check for every
 * door that gives rights, decided by implication (implication.ts) and not by comparing names; and its second half at
 * use, because roles, policies and people change after something was given.
 * Invariant: what was given allows a request only while its giver, in the same request, would be allowed it too.
 */
import type { Decision, Effect } from './decision-types.ts';
import { RingfenceAuthzError } from './errors.ts';
import { holdingImplies } from './implication.ts';
import type { OrgId } from './org-id.ts';
import type { Policy } from './policy.ts';
import type { ActionOf, RequestContext, ResourceInstance, Resources } from './policy-types.ts';
import type { DecisionInputs } from './record-inputs.ts';

/** A door through which rights are given. */
export type DelegationDoor = 'role_assignment' | 'api_key' | 'invitation' | 'scim_mapping' | 'jit_grant';

/** Rights in an organisation, held or about to be given. */
export interface Rights {
  /** The organisation they hold in. */
  readonly org: OrgId;
  /** The roles. */
  readonly roles: readonly string[];
  /** Only these actions. Absent: all the roles give, today and after a change of the policy. */
  readonly actions?: readonly string[];
  /** First instant at which they are over, epoch ms. Absent: they do not end by themselves. */
  readonly until?: number;
}

/** Why rights are above the ceiling. */
export type CeilingBreach =
  /** They hold in another organisation. */
  | 'org'
  /** They last longer than the giver's. */
  | 'until'
  /** A role or action is not one of the policy: what it will mean later nobody can compare today. */
  | 'unknown'
  /** They allow a request that the giver's do not; `witness` is one. */
  | 'rights';

/** Somebody tried to give rights above their own; nothing was given. */
export class AuthzCeilingExceededError extends RingfenceAuthzError {
  declare readonly code: 'authz.ceiling_exceeded';
  /** The door. */
  readonly door: DelegationDoor;
  /** Why. */
  readonly breach: CeilingBreach;
  /** A request that the given rights allow and the giver's do not; set for the breach `rights`. Replay it to see. */
  readonly witness: DecisionInputs | undefined;

  constructor(door: DelegationDoor, breach: CeilingBreach, message: string, witness?: DecisionInputs) {
    super('authz.ceiling_exceeded', `${door}: ${message}`);
    this.door = door;
    this.breach = breach;
    this.witness = witness;
  }
}

/** Effects from nearest to an allow to farthest from it. */
const DISTANCE: Readonly<Record<Effect, number>> = { allow: 0, step_up: 1, needs_approval: 2, deny: 3 };

/**
 * Returns when everything `given` allows, `giver` allows as well: in the same organisation, no longer, and in every
 * situation. Read both sides from your database in the transaction that stores what is given, and check again when an
 * invitation is accepted or a mapping is applied. Hand in all roles the receiver has afterwards: where a forbid is for
 * certain roles, taking one away gives rights too.
 *
 * @throws AuthzCeilingExceededError `authz.ceiling_exceeded`.
 * @throws RingfenceAuthzError `authz.analysis_too_large`: nothing was decided, so give nothing.
 * @throws TypeError when a part is of the wrong type.
 * @example
 * ```ts
 * assertWithinCeiling(policy, 'invitation', { org, roles: me.roles }, { org, roles: ['bookkeeper'] });
 * ```
 */
export function assertWithinCeiling<R extends Resources, Role extends string>(
  policy: Policy<R, Role>,
  door: DelegationDoor,
  giver: Rights,
  given: Rights,
): void {
  const [held, wanted] = [checkedRights(giver), checkedRights(given)];
  const refuse = (breach: CeilingBreach, message: string, witness?: DecisionInputs): never => {
    throw new AuthzCeilingExceededError(door, breach, message, witness);
  };
  if (held.org !== wanted.org) refuse('org', 'the giver acts in another organisation');
  if (held.until !== undefined && (wanted.until === undefined || wanted.until > held.until))
    refuse('until', 'the rights would outlast those of the giver');
  for (const role of wanted.roles)
    if (!policy.isRole(role)) refuse('unknown', 'a role is not one of the policy');
  for (const action of wanted.actions ?? [])
    if (!policy.isAction(action)) refuse('unknown', 'an action is not one of the policy');
  const erased = policy as unknown as Policy;
  const { implied, witness } = holdingImplies(
    { policy: erased, ...narrowed(wanted), roles: wanted.roles },
    { policy: erased, ...narrowed(held), roles: held.roles },
  );
  if (!implied) refuse('rights', `${witness.action} would be allowed where the giver may not`, witness);
}

/**
 * Decides a request of somebody whose rights were given by somebody else: both must be allowed, with the same principal,
 * session, approvals and instant. The answer is the decision that is farther from an allow.
 *
 * @param giver the giver's rights as they are now; undefined when they are a member no more, and then nothing is allowed.
 * @throws RingfenceAuthzError `authz.invalid_request`, as `authorize`.
 * @example
 * ```ts
 * const decision = authorizeWithinCeiling(policy, context, { org, roles: giver.roles }, 'entry.post', entry);
 * ```
 */
export function authorizeWithinCeiling<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  context: RequestContext<Role>,
  giver: Rights | undefined,
  action: A,
  resource: ResourceInstance<R, A>,
): Decision {
  const { own, ceiling } = contextsWithin(context, giver, action);
  return farther(policy.authorize(ceiling, action, resource), policy.authorize(own, action, resource));
}

/** The two contexts of a delegated request, at one instant: its own, and the same with the rights of the giver. */
export function contextsWithin<Role extends string>(
  context: RequestContext<Role>,
  giver: Rights | undefined,
  action: string,
): { readonly own: RequestContext<Role>; readonly ceiling: RequestContext<Role> } {
  const now = context.now ?? Date.now();
  const { id, org } = context.principal;
  const roles = rolesOf(giver, { org, action, now }) as readonly Role[];
  const own = { ...context, now };
  return { own, ceiling: { ...own, principal: { id, org, roles } } };
}

/** The roles a giver has in this organisation, at this instant and for this action; none when they are a member no more. */
function rolesOf(
  giver: Rights | undefined,
  { org, action, now }: { readonly org: OrgId; readonly action: string; readonly now: number },
): readonly string[] {
  const live =
    giver !== undefined &&
    giver.org === org &&
    (giver.until === undefined || now < giver.until) &&
    (giver.actions === undefined || giver.actions.includes(action));
  return live ? giver.roles : [];
}

/** The decision that is farther from an allow; the first when they are equally far. */
export function farther(a: Decision, b: Decision): Decision {
  return DISTANCE[b.effect] > DISTANCE[a.effect] ? b : a;
}

function narrowed({ actions }: Rights): { readonly actions?: readonly string[] } {
  return actions === undefined ? {} : { actions };
}

/** A copy whose parts are of their types: what is compared is what was checked. */
function checkedRights({ org, roles, actions, until }: Rights): Rights {
  if (typeof org !== 'string' || org === '') throw new TypeError('org is not an organisation id');
  if (until !== undefined && !Number.isSafeInteger(until))
    throw new TypeError('until is not an integer number of ms');
  return {
    org,
    roles: names('roles', roles),
    ...(actions === undefined ? {} : { actions: names('actions', actions) }),
    ...(until === undefined ? {} : { until }),
  };
}

function names(what: string, given: readonly string[]): readonly string[] {
  if (!Array.isArray(given)) throw new TypeError(`${what} is not an array of strings`);
  const copy: readonly unknown[] = [...given];
  if (!copy.every((name) => typeof name === 'string' && name !== ''))
    throw new TypeError(`${what} is not an array of strings`);
  return copy as readonly string[];
}
