/**
 * The inputs of a decision as a Cedar request: entities, and a context that holds the facts about session and approvals.
 * Left out is what a decision does not use either: attributes that were not of their declared type. Approvals are
 * counted here, because Cedar has no size of a set.
 */
import { RingfenceAuthzError } from '../errors.ts';
import { stringProblem } from '../plain-copy.ts';
import { IndexedPolicy, type Policy } from '../policy.ts';
import type { PolicyDocument, Resources } from '../policy-types.ts';
import { type DecisionInputs, parseInputs } from '../record-inputs.ts';
import { ACTION, entityTypes, PRINCIPAL, ROLE } from './names.ts';
import { approverRoles } from './schema.ts';

/** The name of an entity. */
export interface CedarEntityName {
  /** Its type. */
  readonly type: string;
  /** Its id within the type. */
  readonly id: string;
}

/** A value of an attribute or of the context. */
export type CedarValue = string | number | boolean | { readonly [key: string]: number };

/** An entity with its attributes and memberships. */
export interface CedarEntity {
  /** Its name. */
  readonly uid: CedarEntityName;
  /** Its attributes. */
  readonly attrs: Readonly<Record<string, CedarValue>>;
  /** What it is a member of. */
  readonly parents: readonly CedarEntityName[];
}

/** A request in the JSON of Cedar's bindings, to be completed with policies and schema. */
export interface CedarRequest {
  /** Who. */
  readonly principal: CedarEntityName;
  /** What. */
  readonly action: CedarEntityName;
  /** On which resource; the id is empty for one that is about to be created. */
  readonly resource: CedarEntityName;
  /** Instant, session and approvals. */
  readonly context: Readonly<Record<string, CedarValue>>;
  /** Principal and resource. */
  readonly entities: readonly CedarEntity[];
}

/**
 * The Cedar request for the inputs of a decision, of now (`decisionInputs`) or of an archive.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` when the inputs are malformed, name an action or role that the
 * policy does not have, or say that the request could not be evaluated: `authorize` denies, and Cedar is not asked.
 * @throws TypeError for a policy that this package did not make.
 * @example
 * ```ts
 * const request = cedarRequest(policy, decisionInputs(policy.authorize(context, 'entry.read', entry)));
 * cedar.isAuthorized({ ...request, schema, policies: { staticPolicies: policies } });
 * ```
 */
export function cedarRequest<R extends Resources, Role extends string>(
  policy: Policy<R, Role>,
  inputs: DecisionInputs,
): CedarRequest {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  const { document } = index;
  const parsed = parseInputs(inputs);
  const { action, now, principal, resource } = parsed;
  const kind = action.slice(0, action.indexOf('.'));
  const type = entityTypes(Object.keys(document.resources)).get(kind);
  if (type === undefined || !index.actions.has(action)) throw refused('the policy has no such action');
  if (now === undefined || principal === undefined || resource === undefined) {
    throw refused('the request could not be evaluated');
  }
  for (const role of principal.roles) {
    if (!index.roles.has(role)) throw refused('the policy has no such role');
  }
  const texts = [principal.id, resource.id ?? '', ...Object.values(resource.attributes)];
  for (const text of texts) {
    const problem = typeof text === 'string' ? stringProblem(text) : undefined;
    if (problem !== undefined) throw refused(`a string ${problem}`);
  }
  const who = { type: PRINCIPAL, id: principal.id };
  const what = { type, id: resource.id ?? '' };
  return {
    principal: who,
    action: { type: ACTION, id: action },
    resource: what,
    context: contextOf(document, parsed),
    entities: [
      {
        uid: who,
        attrs: { id: principal.id, org: principal.org },
        parents: [...new Set(principal.roles)].map((id) => ({ type: ROLE, id })),
      },
      {
        uid: what,
        attrs: {
          ...resource.attributes,
          org: resource.org,
          ...(resource.id === undefined ? {} : { id: resource.id }),
        },
        parents: [],
      },
    ],
  };
}

function contextOf(document: PolicyDocument, inputs: DecisionInputs): CedarRequest['context'] {
  const { session, now = 0 } = inputs;
  return {
    now,
    mfa: session?.mfa === true,
    sso: session?.ssoConnection !== undefined,
    ...(session?.acr === undefined ? {} : { acr: session.acr }),
    ...(session?.authenticatedAt === undefined ? {} : { authenticatedAt: session.authenticatedAt }),
    approvals: Object.fromEntries(approverRoles(document).map((role) => [role, approvers(inputs, role)])),
  };
}

/** How many different people other than the principal approved this action on this resource in a role. */
function approvers({ approvals = [], action, principal, resource }: DecisionInputs, role: string): number {
  const counted = approvals.filter(
    (approval) =>
      approval.action === action &&
      approval.org === resource?.org &&
      approval.resourceId === resource.id &&
      approval.by !== principal?.id &&
      approval.roles.includes(role),
  );
  return new Set(counted.map(({ by }) => by)).size;
}

function refused(why: string): RingfenceAuthzError {
  return new RingfenceAuthzError('authz.invalid_request', `there is no Cedar request: ${why}`);
}
