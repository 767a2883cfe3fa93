/**
 * Checks of what the application declares: duties that must be separate, approvals that must not be one's own, actions
 * that need a second factor. A declared condition is made a policy of its own, so that it is checked and evaluated like
 * any other, and "allowed although" is a situation in which both allow.
 */

import type { ConditionNode } from '../condition-node.ts';
import { resource as attribute, equals, principal } from '../conditions.ts';
import { AuthzInvalidPolicyError } from '../errors.ts';
import { type AnalysisLimit, findPath, roleKinds } from '../implication.ts';
import { canonicalDocument } from '../policy-document.ts';
import { indexPolicy, type PolicyIndex } from '../policy-index.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import { Worlds } from '../worlds.ts';
import type { AnalysisOptions } from './analyze.ts';
import { type Finding, type FindingId, finding, roleFinding } from './finding.ts';

/** Two actions that one principal must not be able to do both of. */
export interface Duty {
  /** The two actions, e.g. `['entry.post', 'entry.approve']`. */
  readonly actions: readonly [string, string];
  /** Attribute that says who did the first; then only the second on a resource of one's own is a conflict. */
  readonly owner?: string;
}

/** An action that approves what somebody made. */
export interface SelfApproval {
  /** The action. */
  readonly action: string;
  /** The attribute that names who made the resource. */
  readonly owner: string;
}

/**
 * Roles with which both actions of a duty are possible: one alone, or two together. Two suffice: of all roles held keep
 * the one with the grant of the first action and the one with that of the second; what is left out brings only forbids.
 *
 * @param combinations the sets of roles that one member may hold together.
 */
export function dutyConflicts(
  index: PolicyIndex,
  duties: readonly Duty[],
  combinations: NonNullable<AnalysisOptions['combinations']>,
  limit: AnalysisLimit,
): readonly Finding[] {
  const sets = combinations === 'any' ? [[...index.roles.keys()]] : combinations;
  for (const role of sets.flat()) {
    if (index.roles.has(role)) continue;
    const message = `"${role}" is not a role of the policy`;
    throw new AuthzInvalidPolicyError([{ path: 'combinations', message }]);
  }
  return duties.flatMap(({ actions: [first, second], owner }) => {
    const doing = worldsOf(index, first, undefined);
    const checking = worldsOf(index, second, owner);
    const subject = `${first} + ${second}`;
    const can = `can do ${first} and ${second}${owner === undefined ? '' : ' of its own resource'}`;
    const doers = able(index, first, (role) => situationOf(doing, [role], limit)).roles;
    const checkers = able(index, second, (role) => situationOf(checking, [role], limit)).roles;
    const alone = able(index, second, (role) => situationOf(checking, [role], limit), new Set(doers));
    const together = doers.flatMap((doer) =>
      checkers.flatMap((checker): readonly Finding[] => {
        const roles = [doer, checker];
        if (roles.some((role) => alone.roles.includes(role))) return [];
        if (!sets.some((set) => roles.every((role) => set.includes(role)))) return [];
        const witness = situationOf(checking, roles, limit);
        if (witness === undefined || situationOf(doing, roles, limit) === undefined) return [];
        const message = `roles "${doer}" and "${checker}" together ${can}`;
        return [Object.freeze({ ...finding('duty-conflict', subject, message, witness), roles })];
      }),
    );
    return [...report('duty-conflict', subject, alone, can), ...together];
  });
}

/** Approvals that the maker of the resource can give. */
export function selfApprovals(
  index: PolicyIndex,
  approvals: readonly SelfApproval[],
  limit: AnalysisLimit,
): readonly Finding[] {
  return approvals.flatMap(({ action, owner }) => {
    const worlds = worldsOf(index, action, owner);
    const found = able(index, action, (role) => situationOf(worlds, [role], limit));
    return report('self-approval', action, found, `may do ${action} where ${owner} is the principal`);
  });
}

/** Sensitive actions that a session without a second factor may do. */
export function mfaMissing(
  index: PolicyIndex,
  sensitive: readonly string[],
  limit: AnalysisLimit,
): readonly Finding[] {
  return sensitive.flatMap((action) => {
    const probe = probeOf(index, action, { op: 'mfa' });
    const worlds = new Worlds([index, probe], action);
    const without = worlds.level(1, [PROBE]);
    const found = able(index, action, (role) => {
      const path = findPath(worlds, worlds.level(0, [role]), without, (a, b) => a === 0 && b === 1, limit);
      return path === undefined ? undefined : worlds.situation(path, [role]);
    });
    return report('mfa-missing', action, found, `may do ${action} without a second factor`);
  });
}

/** Roles, sorted, and a situation of the first. */
interface Able {
  readonly roles: readonly string[];
  readonly witness: DecisionInputs | undefined;
}

/**
 * Every role, out of some, for which there is a situation. One role each suffices: a further role adds nothing to what
 * the deciding grant needs, and can only bring forbids. Roles of one kind are asked about once.
 */
function able(
  index: PolicyIndex,
  action: string,
  situation: (role: string) => DecisionInputs | undefined,
  among?: ReadonlySet<string>,
): Able {
  const found = new Map<string, () => DecisionInputs | undefined>();
  for (const { roles, alike } of roleKinds([index], action)) {
    const members = alike.flatMap(([role = '']) => (among?.has(role) === false ? [] : [role]));
    const [first] = members;
    if (roles.length > 1 || first === undefined || situation(first) === undefined) continue;
    for (const role of members) found.set(role, () => situation(role));
  }
  const roles = [...found.keys()].sort();
  return { roles, witness: found.get(roles[0] ?? '')?.() };
}

function report(id: FindingId, subject: string, { roles, witness }: Able, can: string): readonly Finding[] {
  return witness === undefined ? [] : [roleFinding(id, subject, roles, can, witness)];
}

const PROBE = 'probe';

/** The regions of an action beside those of "on a resource of one's own"; without an owner, of any resource. */
function worldsOf(index: PolicyIndex, action: string, owner: string | undefined): Worlds {
  const when = owner === undefined ? undefined : equals(attribute(owner), principal('id'));
  const probe = probeOf(index, action, when as unknown as ConditionNode | undefined);
  return new Worlds([index, probe], action);
}

/** A situation in which the policy and the probe both allow. */
function situationOf(
  worlds: Worlds,
  roles: readonly string[],
  limit: AnalysisLimit,
): DecisionInputs | undefined {
  const path = findPath(
    worlds,
    worlds.level(0, roles),
    worlds.level(1, [PROBE]),
    (a, b) => a === 0 && b === 0,
    limit,
  );
  return path === undefined ? undefined : worlds.situation(path, roles);
}

/** A policy that says the condition, over the same resources. */
function probeOf({ document }: PolicyIndex, action: string, when: ConditionNode | undefined): PolicyIndex {
  const { resources, acrLevels } = document;
  const kind = action.slice(0, action.indexOf('.'));
  const declaration = Object.hasOwn(resources, kind) ? { [kind]: resources[kind] } : resources;
  const probe = canonicalDocument({
    resources: declaration,
    roles: [PROBE],
    ...(acrLevels === undefined ? {} : { acrLevels }),
    grants: [{ id: PROBE, roles: [PROBE], actions: [action], ...(when === undefined ? {} : { when }) }],
  });
  return indexPolicy(probe, '');
}
