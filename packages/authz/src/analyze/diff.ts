/**
 * The semantic difference of two policies: situations whose outcome differs, not lines that do. For each level of reach
 * (allow; at most a step-up; at most an approval) the argument of implication.ts holds, so role sets of at most two
 * roles find every difference. Policies written differently that decide alike have none.
 */
import type { Effect } from '../decision-types.ts';
import { type AnalysisLimit, findPath, indexOf, roleKinds, type Wanted } from '../implication.ts';
import type { Level } from '../level.ts';
import type { Policy } from '../policy.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import { Worlds } from '../worlds.ts';

/** A change of outcome for a set of roles and an action. */
export interface Change {
  /** The outcome under the second policy. */
  readonly kind: 'newly_allowed' | 'newly_step_up' | 'newly_needs_approval' | 'newly_denied';
  /** The action. */
  readonly action: string;
  /**
   * Everybody who sees the change: sets of one role, and of two held together where neither of them sees it alone.
   */
  readonly roles: readonly (readonly string[])[];
  /** Outcome under the first policy. */
  readonly before: Effect;
  /** Outcome under the second policy. */
  readonly after: Effect;
  /** A situation in which the outcomes are these. */
  readonly witness: DecisionInputs;
}

const EFFECTS: readonly Effect[] = ['allow', 'step_up', 'needs_approval', 'deny'];
const KINDS: readonly Change['kind'][] = [
  'newly_allowed',
  'newly_step_up',
  'newly_needs_approval',
  'newly_denied',
];

/**
 * Every change of outcome from one policy to another, by action and roles; empty exactly when they decide alike.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large`.
 * @example
 * ```ts
 * const opened = diff(before, after).filter(({ kind }) => kind === 'newly_allowed');
 * ```
 */
export function diff(before: Policy, after: Policy, options: AnalysisLimit = {}): readonly Change[] {
  const sides = [indexOf(before), indexOf(after)];
  const changes: Change[] = [];
  for (const action of new Set(sides.flatMap(({ actions }) => [...actions.keys()]))) {
    const worlds = new Worlds(sides, action);
    const found = new Map<string, { change: Omit<Change, 'roles'>; roles: (readonly string[])[] }>();
    for (const { roles, alike } of roleKinds(sides, action)) {
      const [a, b] = [worlds.level(0, roles), worlds.level(1, roles)];
      if (a === b) continue;
      for (const [from, to] of TRANSITIONS) {
        const wanted: Wanted = (left, right) => left === from && right === to;
        const known = found.get(`${from}${to}`);
        if (
          roles.length > 1 &&
          known?.roles.some(([role = '', ...more]) => more.length === 0 && roles.includes(role))
        )
          continue;
        const path = findPath(worlds, a, b, wanted, options);
        if (path === undefined) continue;
        if (known !== undefined) known.roles.push(...alike);
        else {
          const [kind, was, is] = [KINDS[to], EFFECTS[from], EFFECTS[to]] as [Change['kind'], Effect, Effect];
          const change = { kind, action, before: was, after: is, witness: worlds.situation(path, roles) };
          found.set(`${from}${to}`, { change, roles: [...alike] });
        }
      }
    }
    for (const { change, roles } of found.values()) changes.push(Object.freeze({ ...change, roles }));
  }
  return changes;
}

const LEVELS: readonly Level[] = [0, 1, 2, 3];
const TRANSITIONS: readonly (readonly [Level, Level])[] = LEVELS.flatMap((from) =>
  LEVELS.filter((to) => to !== from).map((to) => [from, to] as const),
);
