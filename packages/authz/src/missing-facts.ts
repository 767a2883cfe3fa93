/**
 * Why not: the smallest set of facts that would have made the decision an allow. Worked out only when somebody asks,
 * from the facts that were read for the decision. Each condition has alternatives (sets of leaves that are not true);
 * `any` joins them, `all` combines them, and the smallest combination over nearest grant and forbids wins. Exact while
 * no condition has more than 256 alternatives; beyond that the smallest of those kept. Leaves are taken one by one: that
 * two of them contradict each other is a fault of the policy, which the analyser reports, not the check. Where no fact
 * would help (an unconditional forbid), the set is empty.
 */
import { type AtomNode, type ConditionNode, describeAtom, isComposite } from './condition-node.ts';
import type { MissingFact } from './decision-types.ts';
import { holdsOne } from './evaluate.ts';
import type { Facts } from './facts.ts';
import { approvalsGiven, compilePredicate, type Level, type PredicateScope } from './level.ts';
import type { ActionIndex, IndexedGrant, PolicyIndex } from './policy-index.ts';

/** The nearest grant and what is missing for it. */
export interface Explanation {
  readonly grant: IndexedGrant | undefined;
  readonly missing: readonly MissingFact[];
}

/** Facts by their key, so that the same one counts once. */
type FactSet = ReadonlyMap<string, MissingFact>;

const MAX_ALTERNATIVES = 256;
const NOTHING: FactSet = new Map();

/** Explains why the level of a decision is not 0, with facts that are within that level's reach. */
export function explain(policy: PolicyIndex, facts: Facts, level: Level): Explanation {
  const { index, problem } = facts;
  if (problem !== undefined) return { grant: undefined, missing: [{ kind: 'request', ...problem }] };
  if (index === undefined || level === 0) return { grant: undefined, missing: [] };
  if (!facts.sameOrg) return { grant: undefined, missing: [{ kind: 'tenant' }] };

  const reach = new Reach(policy, index, facts, level);
  let lifted: readonly FactSet[] = [NOTHING];
  for (const { roleSet, mustHold } of index.forbids) {
    if (roleSet !== undefined && !holdsOne(facts.roles, roleSet)) continue;
    if (mustHold === undefined) return { grant: undefined, missing: [] }; // no fact lifts it
    lifted = combine(lifted, reach.alternatives(mustHold));
  }
  let nearest: IndexedGrant | undefined;
  let smallest: FactSet | undefined;
  for (const grant of index.grants) {
    const start = reach.role(grant);
    if (start === undefined) continue;
    const own = grant.condition === undefined ? [NOTHING] : reach.alternatives(grant.condition);
    for (const set of combine(lifted, combine([start], own))) {
      if (smallest === undefined || set.size < smallest.size) {
        smallest = set;
        nearest = grant;
      }
    }
  }
  return { grant: nearest, missing: [...(smallest ?? NOTHING).values()] };
}

class Reach {
  readonly #policy: PolicyIndex;
  readonly #index: ActionIndex;
  readonly #facts: Facts;
  readonly #level: Level;
  readonly #scope: PredicateScope;

  constructor(policy: PolicyIndex, index: ActionIndex, facts: Facts, level: Level) {
    this.#policy = policy;
    this.#index = index;
    this.#facts = facts;
    this.#level = level;
    this.#scope = {
      acrRanks: policy.acrRanks,
      slotOf: (attribute) => this.#position(attribute),
    };
  }

  /** What a grant asks of the roles; undefined when that is out of reach. */
  role({ roleSet, roles }: IndexedGrant): FactSet | undefined {
    if (holdsOne(this.#facts.roles, roleSet)) return NOTHING;
    return this.#level === 3 ? new Map([['role', { kind: 'role', anyOf: roles }]]) : undefined;
  }

  /** The sets of facts each of which makes the condition true, smallest first; none when out of reach. */
  alternatives(node: ConditionNode): readonly FactSet[] {
    if (isComposite(node)) {
      if (node.op === 'any') return pruned(node.of.flatMap((part) => this.alternatives(part)));
      let sets: readonly FactSet[] = [NOTHING];
      for (const part of node.of) sets = combine(sets, this.alternatives(part));
      return sets;
    }
    const level = compilePredicate(node, this.#scope)(this.#facts);
    if (level === 0) return [NOTHING];
    return level > this.#level ? [] : [new Map([[describeAtom(node), this.#fact(node)]])];
  }

  #fact(node: AtomNode): MissingFact {
    switch (node.op) {
      case 'mfa':
      case 'sso':
        return { kind: node.op };
      case 'acrAtLeast': {
        const levels = this.#policy.document.acrLevels ?? [];
        return { kind: 'acr', acrValues: levels.slice(levels.indexOf(node.acr)) };
      }
      case 'authenticatedWithin':
        return { kind: 'authentication', maxAgeMs: node.maxAgeMs };
      case 'approvedBy':
        if (this.#facts.resourceId === undefined) {
          return { kind: 'attribute', attribute: 'id', expected: 'a resource with an id', found: 'missing' };
        }
        return { kind: 'approval', n: node.n - approvalsGiven(this.#facts, node), from: node.from };
      case 'timeWindow':
      case 'outsideTimeWindow':
        return { kind: 'time', expected: describeAtom(node) };
      default:
        return {
          kind: 'attribute',
          attribute: node.left.attribute,
          expected: describeAtom(node),
          found: this.#found(node.left.attribute),
        };
    }
  }

  #found(attribute: string): 'missing' | 'ill_typed' | 'other' {
    const value = this.#facts.values[this.#position(attribute)];
    return value === undefined ? 'missing' : value === null ? 'ill_typed' : 'other';
  }

  #position(attribute: string): number {
    return this.#index.slots.find(({ name }) => name === attribute)?.position ?? -1;
  }
}

function combine(left: readonly FactSet[], right: readonly FactSet[]): readonly FactSet[] {
  const sets: FactSet[] = [];
  for (const a of left) for (const b of right) sets.push(b.size === 0 ? a : new Map([...a, ...b]));
  return pruned(sets);
}

function pruned(sets: readonly FactSet[]): readonly FactSet[] {
  return sets.length < 2 ? sets : [...sets].sort((a, b) => a.size - b.size).slice(0, MAX_ALTERNATIVES);
}
