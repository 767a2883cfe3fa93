/**
 * Does everything that one policy allows stay within what another allows? Decided completely: the formulas of worlds.ts
 * are walked region by region, a pair of formulas at most once, and a part is skipped only where no outcome of it could
 * be a counterexample. A counterexample is a request that replays in the real evaluation.
 *
 * Role sets of at most two roles suffice. Take a principal whom `a` allows and `b` does not. Of its roles keep one that
 * holds the deciding grant of `a`; if a forbid for certain roles is what `b` refuses by (or a role `b` does not know),
 * keep one such role too. Fewer roles make no grant of `b` true and no forbid of `a` apply that was not before.
 */
import { AuthzAnalysisTooLargeError } from './errors.ts';
import type { Formula, LevelSet } from './formula.ts';
import type { Level } from './level.ts';
import { IndexedPolicy, type Policy } from './policy.ts';
import type { PolicyIndex } from './policy-index.ts';
import type { Resources } from './policy-types.ts';
import type { DecisionInputs } from './record-inputs.ts';
import { type Path, Worlds } from './worlds.ts';

/** What to look for: the level on either side. */
export type Wanted = (a: Level, b: Level) => boolean;

/** Bounds of an analysis. */
export interface AnalysisLimit {
  /** Most steps for one action before the analysis is given up. Default 1,000,000. */
  readonly limit?: number;
}

/** The answer of `implies`. */
export type Implication =
  | {
      /** Every situation that the first allows is allowed by the second. */
      readonly implied: true;
      /** There is none. */
      readonly witness?: undefined;
    }
  | {
      /** Some situation is allowed by the first only. */
      readonly implied: false;
      /** Such a situation, to be replayed. */
      readonly witness: DecisionInputs;
    };

/** What a principal with certain roles, and no others, may do under a policy; narrowed to some actions. */
export interface Holding {
  /** The policy. */
  readonly policy: Policy<Resources, string> | Policy;
  /** The roles held. A role the policy does not know allows nothing. */
  readonly roles: readonly string[];
  /** Only these actions. Absent: all of the policy. */
  readonly actions?: readonly string[];
}

const DEFAULT_LIMIT = 1_000_000;

/**
 * Whether every request that `a` allows is allowed by `b` as well, whoever asks, in whatever session, at whatever time.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large` when the conditions of an action have too many cases.
 * @example
 * ```ts
 * const { implied, witness } = implies(after, before); // false: `after` allows something new, for instance `witness`
 * ```
 */
export function implies(a: Policy, b: Policy, options: AnalysisLimit = {}): Implication {
  const [left, right] = [indexOf(a), indexOf(b)];
  for (const action of left.actions.keys()) {
    const worlds = new Worlds([left, right], action);
    for (const roles of roleSets([left, right], action)) {
      const path = findPath(
        worlds,
        worlds.level(0, roles),
        worlds.level(1, roles),
        ALLOWED_BY_FIRST_ONLY,
        options,
      );
      if (path !== undefined) return { implied: false, witness: worlds.situation(path, roles) };
    }
  }
  return { implied: true };
}

/**
 * Whether everything the holder of `a` may do, the holder of `b` may do as well: the ceiling of a delegation. The
 * principal's id, session, time and approvals are the same on both sides.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large`.
 */
export function holdingImplies(a: Holding, b: Holding, options: AnalysisLimit = {}): Implication {
  const [left, right] = [indexOf(a.policy), indexOf(b.policy)];
  for (const action of left.actions.keys()) {
    if (a.actions !== undefined && !a.actions.includes(action)) continue;
    const within = b.actions === undefined || b.actions.includes(action);
    const worlds = new Worlds([left, right], action);
    const held = within ? worlds.level(1, b.roles) : 3;
    const path = findPath(worlds, worlds.level(0, a.roles), held, ALLOWED_BY_FIRST_ONLY, options);
    if (path !== undefined) return { implied: false, witness: worlds.situation(path, a.roles) };
  }
  return { implied: true };
}

/**
 * A path on which the two formulas take wanted levels; undefined when there is none. Formulas of one side alone: give 0
 * for the other.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large`.
 */
export function findPath(
  worlds: Worlds,
  a: Formula,
  b: Formula,
  wanted: Wanted,
  { limit = DEFAULT_LIMIT }: AnalysisLimit = {},
): Path | undefined {
  const { store } = worlds;
  const path = new Map<number, number>();
  const seen = new Set<string>();
  let steps = 0;
  const walk = (left: Formula, right: Formula): boolean => {
    if (!isPossible(store.levels(left), store.levels(right), left === right, wanted)) return false;
    if (left < 4 && right < 4) return true;
    const key = `${left},${right}`;
    if (seen.has(key)) return false;
    seen.add(key);
    const dimension = Math.min(...store.dimensions(left), ...store.dimensions(right));
    const regions = worlds.regionsOf(dimension);
    for (let region = 0; region < regions; region += 1) {
      steps += 1;
      if (steps > limit) {
        const { dimensions, regions: combinations } = worlds.size;
        throw new AuthzAnalysisTooLargeError(worlds.action, { dimensions, regions: combinations, limit });
      }
      path.set(dimension, region);
      if (walk(store.decide(left, dimension, region), store.decide(right, dimension, region))) return true;
    }
    path.delete(dimension);
    return false;
  };
  return walk(a, b) ? path : undefined;
}

/** Role sets between which no decision about an action differs. */
export interface RoleKind {
  /** One of them, to be analysed. */
  readonly roles: readonly string[];
  /** All of them, that one included. */
  readonly alike: readonly (readonly string[])[];
}

/**
 * Role sets that stand for all others of this action: one of each kind of role, and pairs with a role that only a
 * forbid, or a policy that does not know it, speaks of. Roles of one kind occur in the same grants and forbids.
 */
export function roleSets(sides: readonly PolicyIndex[], action: string): readonly (readonly string[])[] {
  return roleKinds(sides, action).map(({ roles }) => roles);
}

/** The role sets of `roleSets`, each with those it stands for. */
export function roleKinds(sides: readonly PolicyIndex[], action: string): readonly RoleKind[] {
  const kinds = new Map<string, string[]>();
  const refusing = new Set<string[]>();
  for (const role of new Set(sides.flatMap(({ roles }) => [...roles.keys()]))) {
    let refuses = false;
    const kind = sides.map(({ actions, roles }) => {
      const ordinal = roles.get(role);
      if (ordinal === undefined) refuses = true;
      if (ordinal === undefined) return 'unknown';
      const index = actions.get(action);
      const grants = index?.grants.flatMap(({ id, roleSet }) => (roleSet.has(ordinal) ? [id] : []));
      const forbids = index?.forbids.flatMap(({ id, roleSet }) => (roleSet?.has(ordinal) ? [id] : []));
      if (forbids?.length) refuses = true;
      return `${grants?.join()};${forbids?.join()}`;
    });
    const key = kind.join('|');
    const known = kinds.get(key);
    if (known !== undefined) {
      known.push(role);
      continue;
    }
    const members = [role];
    kinds.set(key, members);
    if (refuses) refusing.add(members);
  }
  const groups = [...kinds.values()];
  const singles = groups.map((group) => ({ roles: group.slice(0, 1), alike: group.map((role) => [role]) }));
  const pairs = groups.flatMap((group) =>
    [...refusing]
      .filter(
        (others) =>
          others !== group && !(refusing.has(group) && groups.indexOf(others) < groups.indexOf(group)),
      )
      .map((others) => ({
        roles: [group[0] as string, others[0] as string],
        alike: group.flatMap((role) => others.map((other) => [role, other])),
      })),
  );
  return [...singles, ...pairs];
}

/** The index behind a policy. */
export function indexOf(policy: Policy): PolicyIndex {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  return index;
}

const ALLOWED_BY_FIRST_ONLY: Wanted = (a, b) => a === 0 && b !== 0;

function isPossible(a: LevelSet, b: LevelSet, equal: boolean, wanted: Wanted): boolean {
  for (let x = 0; x < 4; x += 1) {
    if ((a & (1 << x)) === 0) continue;
    for (let y = 0; y < 4; y += 1) {
      if ((b & (1 << y)) !== 0 && !(equal && x !== y) && wanted(x as Level, y as Level)) return true;
    }
  }
  return false;
}
