/**
 * Evidence. A decision record is plain JSON for the audit log: which policy (hash), which inputs (hash), which grant or
 * forbid, which outcome. The inputs themselves are returned apart, to be kept sealed or not at all; with them and the
 * archived policy any decision can be made again and compared.
 */
import { MintedApproval } from './approval.ts';
import { deepFreeze, sha256Hex } from './canonical.ts';
import { EvaluatedDecision } from './decision.ts';
import type { Decision, Effect } from './decision-types.ts';
import { RingfenceAuthzError } from './errors.ts';
import { type Facts, problem as malformed, readFacts } from './facts.ts';
import { inputsText } from './inputs-text.ts';
import { IndexedPolicy, type Policy } from './policy.ts';
import type { PolicyIndex } from './policy-index.ts';
import type { Resources } from './policy-types.ts';
import { type DecisionInputs, parseInputs } from './record-inputs.ts';
import { MintedSessionFacts } from './session-facts.ts';

/** Stands for a value that was not of its declared type: no declared type takes it. */
const ILL_TYPED = Symbol('ill-typed');

/** A decision as it goes to the audit log. Plain JSON. */
export interface DecisionRecord {
  /** Version of the format. */
  readonly version: 1;
  /** SHA-256 of the canonical policy document, hex. */
  readonly policy: string;
  /** SHA-256 of the canonical JSON of `decisionInputs`, hex. */
  readonly inputs: string;
  /** The outcome. */
  readonly effect: Effect;
  /** The action. */
  readonly action: string;
  /** Organisation of the principal; absent when the request was malformed. */
  readonly org?: string;
  /** Id of the principal; absent when the request was malformed. */
  readonly principal?: string;
  /** Id of the resource, if it had one. */
  readonly resource?: string;
  /** Deciding grant, or the nearest one. */
  readonly grant?: string;
  /** Deciding forbid. */
  readonly forbid?: string;
  /** One sentence for a person. */
  readonly reason: string;
}

/** The answer of `replayDecision`. */
export interface Replay {
  /** True when the decision made again is the recorded one. */
  readonly agrees: boolean;
  /** The decision made again. A record, not a decision: it opens nothing. */
  readonly record: DecisionRecord;
}

/**
 * The record of a decision.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` for an object that no policy made.
 */
export function decisionRecord(decision: Decision): DecisionRecord {
  const { policy, facts } = internals(decision);
  return recordOf(decision, policy, facts);
}

/**
 * What a decision was made from: exactly what was read of the request, no more. Holds values of attributes.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` for an object that no policy made.
 */
export function decisionInputs(decision: Decision): DecisionInputs {
  const { policy, facts } = internals(decision);
  return deepFreeze(inputsOf(policy, facts));
}

/**
 * Makes a recorded decision again, against the archived policy.
 *
 * @throws RingfenceAuthzError `authz.replay_mismatch` when policy or inputs are not those of the record, and
 * `authz.invalid_request` when the inputs are malformed.
 */
export function replayDecision<R extends Resources, Role extends string>(
  policy: Policy<R, Role>,
  record: DecisionRecord,
  inputs: unknown,
): Replay {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  if (index.hash !== record.policy) {
    throw new RingfenceAuthzError(
      'authz.replay_mismatch',
      `the record was decided by policy ${record.policy}, not by ${index.hash}: load the archived document`,
    );
  }
  const facts = factsOf(index, inputsOfRecord(record, inputs));
  const again = recordOf(new EvaluatedDecision(index, facts), index, facts);
  const agrees =
    again.effect === record.effect && again.grant === record.grant && again.forbid === record.forbid;
  return { agrees, record: again };
}

/**
 * The inputs of a record, if they are.
 *
 * @throws RingfenceAuthzError `authz.replay_mismatch` when they do not have the record's hash, and `authz.invalid_request`
 * when they are malformed.
 */
export function inputsOfRecord({ inputs: recorded }: DecisionRecord, given: unknown): DecisionInputs {
  const parsed = parseInputs(given);
  if (hashOf(parsed) !== recorded) {
    throw new RingfenceAuthzError('authz.replay_mismatch', 'the inputs are not those of the record');
  }
  return parsed;
}

function internals(decision: Decision): { readonly policy: PolicyIndex; readonly facts: Facts } {
  const evaluated = EvaluatedDecision.of(decision);
  if (evaluated === undefined) {
    throw new RingfenceAuthzError('authz.invalid_request', 'the object is not a decision made by a policy');
  }
  return EvaluatedDecision.internals(evaluated);
}

function recordOf(decision: EvaluatedDecision | Decision, policy: PolicyIndex, facts: Facts): DecisionRecord {
  const { effect, action, grant, forbid, reason, policyHash } = decision;
  return Object.freeze({
    version: 1,
    policy: policyHash,
    inputs: hashOf(inputsOf(policy, facts)),
    effect,
    action,
    ...(facts.problem === undefined ? { org: facts.principalOrg, principal: facts.principalId } : {}),
    ...(facts.resourceId === undefined ? {} : { resource: facts.resourceId }),
    ...(grant === undefined ? {} : { grant }),
    ...(forbid === undefined ? {} : { forbid }),
    reason,
  });
}

function hashOf(inputs: DecisionInputs): string {
  return sha256Hex(inputsText(inputs));
}

function inputsOf(policy: PolicyIndex, facts: Facts): DecisionInputs {
  const { action, index, problem, session } = facts;
  if (problem !== undefined || index === undefined) {
    return { action, problem: problem ?? { field: 'action', problem: 'is not an action of this policy' } };
  }
  const attributes: Record<string, string | number | boolean> = {};
  const illTyped: string[] = [];
  for (const { name, isId, position } of index.slots) {
    const value = facts.values[position];
    if (isId || value === undefined) continue;
    if (value === null) illTyped.push(name);
    else attributes[name] = value;
  }
  return {
    action,
    now: facts.now,
    principal: { id: facts.principalId, org: facts.principalOrg, roles: rolesOf(policy, facts) },
    resource: {
      org: facts.resourceOrg,
      ...(facts.resourceId === undefined ? {} : { id: facts.resourceId }),
      attributes,
      ...(illTyped.length === 0 ? {} : { illTyped: illTyped.sort() }),
    },
    ...(session === undefined ? {} : { session: sessionOf(session) }),
    ...(facts.approvals.length === 0
      ? {}
      : {
          approvals: facts.approvals.map(({ by, roles, org, action: approved, resourceId }) => ({
            by,
            roles,
            org,
            action: approved,
            resourceId,
          })),
        }),
  };
}

/** The facts of archived inputs, read by the same code as those of a request. */
export function factsOf(policy: PolicyIndex, inputs: DecisionInputs): Facts {
  const { action, problem, now, principal, resource, session, approvals } = inputs;
  if (problem !== undefined)
    return malformed(action, policy.actions.get(action), problem.field, problem.problem);
  const illTyped = (resource?.illTyped ?? []).map((name) => [name, ILL_TYPED] as const);
  const context = {
    principal,
    now,
    ...(session === undefined ? {} : { session: new MintedSessionFacts(session) }),
    ...(approvals === undefined
      ? {}
      : { approvals: approvals.map((approval) => new MintedApproval(approval)) }),
  };
  const instance = { ...resource?.attributes, ...Object.fromEntries(illTyped), ...identity(resource) };
  return readFacts(policy, context, action, instance);
}

function identity(resource: DecisionInputs['resource']): { readonly org?: string; readonly id?: string } {
  if (resource === undefined) return {};
  return resource.id === undefined ? { org: resource.org } : { org: resource.org, id: resource.id };
}

function rolesOf({ document }: PolicyIndex, facts: Facts): readonly string[] {
  return [...new Set(facts.roles)].sort((a, b) => a - b).map((ordinal) => document.roles[ordinal] as string);
}

function sessionOf({
  mfa,
  acr,
  authenticatedAt,
  ssoConnection,
}: MintedSessionFacts): NonNullable<DecisionInputs['session']> {
  return {
    mfa,
    ...(acr === undefined ? {} : { acr }),
    ...(authenticatedAt === undefined ? {} : { authenticatedAt }),
    ...(ssoConnection === undefined ? {} : { ssoConnection }),
  };
}
