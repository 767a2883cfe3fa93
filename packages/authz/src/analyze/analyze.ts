/**
 * Findings about one policy. Every "never" and "always" is decided over all situations (worlds.ts), every "possible"
 * comes with a request that replays.
 */
import { atomsOf, type ConditionNode } from '../condition-node.ts';
import { evaluate } from '../evaluate.ts';
import type { Formula } from '../formula.ts';
import { type AnalysisLimit, findPath, indexOf, roleSets } from '../implication.ts';
import type { Policy } from '../policy.ts';
import type { ActionIndex, PolicyIndex } from '../policy-index.ts';
import { factsOf } from '../record.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import { Worlds } from '../worlds.ts';
import { type Duty, dutyConflicts, mfaMissing, type SelfApproval, selfApprovals } from './declared.ts';
import { type Finding, finding } from './finding.ts';

/** What the application declares about its policy; each adds a check. */
export interface AnalysisOptions extends AnalysisLimit {
  /** Actions that must never be allowed to a session without a second factor. */
  readonly sensitive?: readonly string[];
  /** Pairs of actions that no principal may be able to do both of on one resource. */
  readonly duties?: readonly Duty[];
  /**
   * Sets of roles that one member may hold together, `any` when nothing keeps a member from holding all: two roles of a set
   * that together do both actions of a duty are a conflict, too. Absent: each role is looked at by itself.
   */
  readonly combinations?: readonly (readonly string[])[] | 'any';
  /** Actions that approve, and the attribute that says who made the resource. */
  readonly approvals?: readonly SelfApproval[];
}

const OTHER_ORG = '00000000-0000-4000-8000-000000000002';

/**
 * Everything found in a policy, gravest first.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large`, and `authz.invalid_policy` for a declared action or attribute
 * that the policy does not have.
 * @example
 * ```ts
 * const errors = analyze(policy, { sensitive: ['entry.approve'] }).filter(({ level }) => level === 'error');
 * ```
 */
export function analyze(policy: Policy, options: AnalysisOptions = {}): readonly Finding[] {
  const index = indexOf(policy);
  const context = new PolicyAnalysis(index, options);
  for (const actionIndex of index.actions.values()) context.action(actionIndex);
  const rank = { error: 0, warning: 1, note: 2 };
  return [
    ...context.findings(),
    ...dutyConflicts(index, options.duties ?? [], options.combinations ?? [], options),
    ...selfApprovals(index, options.approvals ?? [], options),
    ...mfaMissing(index, options.sensitive ?? [], options),
  ].sort((a, b) => rank[a.level] - rank[b.level]);
}

class PolicyAnalysis {
  readonly #index: PolicyIndex;
  readonly #options: AnalysisLimit;
  readonly #found: Finding[] = [];
  /** Grants and forbids that decide something for at least one action. */
  readonly #live: Set<string> = new Set();
  /** Grants that allow something no other grant allows. */
  readonly #needed: Set<string> = new Set();
  /** For each role a situation, if there is one, per action that is granted to it without a condition. */
  readonly #unconditional: Map<string, readonly (DecisionInputs | undefined)[]> = new Map();

  constructor(index: PolicyIndex, options: AnalysisLimit) {
    this.#index = index;
    this.#options = options;
  }

  /** Analyses one action. */
  action(index: ActionIndex): void {
    const { action, grants, forbids } = index;
    const worlds = new Worlds([this.#index], action);
    if (grants.length === 0) this.#report('unused-action', action, `no grant gives ${action} to anybody`);
    for (const { id, roleSet, mustHold } of forbids) {
      const lifted = mustHold === undefined ? 3 : worlds.condition(0, mustHold);
      const everybody = grants.every((grant) =>
        [...grant.roleSet].every((role) => roleSet?.has(role) ?? true),
      );
      const never = !findPath(worlds, lifted, 0, (level) => level < 3, this.#options);
      if (never && everybody && grants.length > 0) {
        this.#report('total-forbid', id, `forbid "${id}" refuses ${action} in every situation`);
      }
    }
    const sets = roleSets([this.#index], action);
    this.#tenant(worlds, sets);
    this.#grants(index, worlds, sets);
    this.#forbids(index, worlds, sets);
    for (const role of this.#index.document.roles) {
      // General forbids bind everybody; a role that is bound by nothing of its own is a blanket admin still.
      const granted = this.#without(undefined, grants, worlds, [role]);
      if (findPath(worlds, granted, 0, (level) => level > 0, this.#options)) continue;
      const path = findPath(worlds, worlds.level(0, [role]), 0, (level) => level === 0, this.#options);
      const witness = path === undefined ? undefined : worlds.situation(path, [role]);
      this.#unconditional.set(role, [...(this.#unconditional.get(role) ?? []), witness]);
    }
  }

  /** Everything found, with what only the whole policy shows. */
  findings(): readonly Finding[] {
    const { document, actions } = this.#index;
    for (const { id } of document.grants) {
      if (!this.#live.has(id)) this.#report('dead-grant', id, `grant "${id}" never decides`);
      else if (!this.#needed.has(id))
        this.#report('shadowed-grant', id, `grant "${id}" is covered by others`);
    }
    for (const { id } of document.forbids) {
      if (!this.#live.has(id)) this.#report('dead-forbid', id, `forbid "${id}" never changes a decision`);
    }
    const conditions = [...document.grants, ...document.forbids].flatMap((each) => [
      each.when ?? [],
      'unless' in each && each.unless !== undefined ? each.unless : [],
    ]);
    const approvers = conditions
      .flat()
      .flatMap((node) => atomsOf(node))
      .flatMap((atom) => (atom.op === 'approvedBy' ? atom.from : []));
    const used = new Set([...document.grants.flatMap(({ roles }) => roles), ...approvers]);
    for (const role of document.roles) {
      if (!used.has(role)) this.#report('unused-role', role, `no grant is for role "${role}"`);
      const open = this.#unconditional.get(role) ?? [];
      if (actions.size > 1 && open.length === actions.size) {
        const message = `role "${role}" is granted all ${actions.size} actions without a condition`;
        this.#found.push(
          finding(
            'blanket-admin',
            role,
            message,
            open.find((witness) => witness !== undefined),
          ),
        );
      }
    }
    return this.#found;
  }

  /** Grants that can decide, and grants whose absence would take something away; for each of their roles. */
  #grants({ grants }: ActionIndex, worlds: Worlds, sets: readonly (readonly string[])[]): void {
    for (const { id, roleSet, condition } of grants) {
      for (const held of sets) {
        const concerned = this.#ordinals(held).some((ordinal) => roleSet.has(ordinal));
        if (!concerned || this.#needed.has(id)) continue;
        const whole = worlds.level(0, held);
        const own = worlds.condition(0, condition);
        // Any effect but deny counts: a grant that leads to a step-up is alive.
        if (findPath(worlds, whole, own, (level, mine) => level < 3 && mine <= level, this.#options)) {
          this.#live.add(id);
        }
        const others = this.#without(id, grants, worlds, held);
        if (findPath(worlds, whole, others, (level, rest) => level < 3 && rest > level, this.#options)) {
          this.#needed.add(id);
        }
      }
    }
  }

  #forbids({ forbids, grants }: ActionIndex, worlds: Worlds, sets: readonly (readonly string[])[]): void {
    for (const { id, roleSet, mustHold } of forbids) {
      const lifted: Formula = mustHold === undefined ? 3 : worlds.condition(0, mustHold);
      for (const held of sets) {
        const ordinals = this.#ordinals(held);
        if (roleSet !== undefined && !ordinals.some((ordinal) => roleSet.has(ordinal))) continue;
        const granted = this.#without(undefined, grants, worlds, held);
        if (findPath(worlds, granted, lifted, (level, needed) => needed > level, this.#options))
          this.#live.add(id);
      }
    }
  }

  /** What the grants for these roles give, one of them left out; forbids are not looked at. */
  #without(
    id: string | undefined,
    grants: ActionIndex['grants'],
    worlds: Worlds,
    held: readonly string[],
  ): Formula {
    const ordinals = this.#ordinals(held);
    const rest = grants.filter(
      (each) => each.id !== id && ordinals.some((ordinal) => each.roleSet.has(ordinal)),
    );
    return worlds.store.any(
      rest.map(({ condition }) => worlds.condition(0, condition as ConditionNode | undefined)),
    );
  }

  /** Every allowed kind of request, asked again for a resource of another organisation. */
  #tenant(worlds: Worlds, sets: readonly (readonly string[])[]): void {
    for (const roles of sets) {
      const path = findPath(worlds, worlds.level(0, roles), 0, (level) => level === 0, this.#options);
      if (path === undefined) continue;
      const situation = worlds.situation(path, roles);
      const { resource } = situation;
      if (resource === undefined) continue;
      const witness = { ...situation, resource: { ...resource, org: OTHER_ORG } };
      if (evaluate(factsOf(this.#index, witness)).level !== 3) {
        this.#found.push(
          finding('cross-tenant', worlds.action, `${worlds.action} crosses organisations`, witness),
        );
      }
    }
  }

  #ordinals(roles: readonly string[]): readonly number[] {
    return roles.flatMap((role) => this.#index.roles.get(role) ?? []);
  }

  #report(...[id, subject, message]: Parameters<typeof finding>): void {
    if (!this.#found.some((each) => each.id === id && each.subject === subject)) {
      this.#found.push(finding(id, subject, message));
    }
  }
}
