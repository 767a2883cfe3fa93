/**
 * The decision function. level = max( min over the grants of the principal's roles, max over the forbids ), and 3 when
 * the organisations differ or the request is malformed; 0 allow, 1 step_up, 2 needs_approval, 3 deny. Minimum and
 * maximum do not depend on order; ties between ids are broken by the ids.
 */
import type { Facts } from './facts.ts';
import { ALWAYS, type Level } from './level.ts';
import type { Candidate, IndexedForbid, IndexedGrant } from './policy-index.ts';

/** The outcome and what decides it. */
export interface Verdict {
  /** 0 allow, 1 step_up, 2 needs_approval, 3 deny. */
  readonly level: Level;
  /** The grant nearest to true among those of the principal's roles; undefined when none is in reach. */
  readonly grant: IndexedGrant | undefined;
  /** The forbid farthest from being lifted, when it is as far as the outcome; it decides then. */
  readonly forbid: IndexedForbid | undefined;
}

const OUT_OF_REACH: Verdict = Object.freeze({ level: 3, grant: undefined, forbid: undefined });

/** Evaluates the facts of a request. */
export function evaluate(facts: Facts): Verdict {
  const { index, problem, sameOrg, roles } = facts;
  if (index === undefined || problem !== undefined || !sameOrg) return OUT_OF_REACH;

  let nearest: Candidate | undefined;
  let level: Level = 3;
  for (let i = 0; i < roles.length; i += 1) {
    let candidate = index.byRole[roles[i] as number];
    while (candidate !== undefined) {
      const { predicate } = candidate;
      const next = predicate === ALWAYS ? 0 : predicate(facts);
      if (next < level || (next === level && nearest !== undefined && candidate.ordinal < nearest.ordinal)) {
        level = next;
        nearest = candidate;
      }
      if (next === 0) break; // the chain is in the order of ids: no later one wins a tie
      candidate = candidate.next;
    }
  }
  const { forbids } = index;
  let forbid: IndexedForbid | undefined;
  let farthest: Level = 0;
  for (let i = 0; i < forbids.length; i += 1) {
    const candidate = forbids[i] as IndexedForbid;
    if (candidate.roleSet !== undefined && !holdsOne(roles, candidate.roleSet)) continue;
    const next = candidate.predicate(facts);
    if (next > farthest) {
      farthest = next;
      forbid = candidate;
    }
  }
  if (farthest >= level && farthest > 0) return { level: farthest, grant: nearest?.grant, forbid };
  return nearest === undefined ? OUT_OF_REACH : { level, grant: nearest.grant, forbid: undefined };
}

/** True when one of the roles is in the set. */
export function holdsOne(roles: readonly number[], set: ReadonlySet<number>): boolean {
  for (let i = 0; i < roles.length; i += 1) if (set.has(roles[i] as number)) return true;
  return false;
}
