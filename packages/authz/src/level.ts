/**
 * Conditions compiled to predicates. A predicate does not answer yes or no but how far the condition is from true:
 * 0 true now, 1 true once facts about the session are supplied, 2 true once approvals are, 3 out of reach. `all` is the
 * maximum, `any` the minimum, so one pass gives allow, step_up, needs_approval or deny. A comparison with an absent or
 * ill-typed attribute is never true, and its opposite is not true either (Kleene's strong logic, as SQL's NULL).
 */
import {
  type ApprovalNode,
  type AtomNode,
  type ConditionNode,
  type EqualityNode,
  isComposite,
} from './condition-node.ts';
import type { Facts, FactValue } from './facts.ts';

/** Distance from true: 0 true, 1 session facts missing, 2 approvals missing, 3 out of reach. */
export type Level = 0 | 1 | 2 | 3;

/** How far a condition is from true for the facts of a request. */
export type Predicate = (facts: Facts) => Level;

/** What compiling needs to know of the policy. */
export interface PredicateScope {
  /** Slot of an attribute in `Facts.values`. */
  slotOf(attribute: string): number;
  /** Rank of an acr level; undefined when not of the policy. */
  readonly acrRanks: ReadonlyMap<string, number>;
}

/** The predicate of an absent condition. */
export const ALWAYS: Predicate = () => 0;

/** Compiles a condition of a checked document. */
export function compilePredicate(node: ConditionNode, scope: PredicateScope): Predicate {
  if (!isComposite(node)) return compileAtom(node, scope);
  const parts = node.of.map((part) => compilePredicate(part, scope));
  const [first, second] = parts;
  if (first !== undefined && parts.length === 1) return first;
  if (first !== undefined && second !== undefined && parts.length === 2) {
    return node.op === 'all' ? both(first, second) : either(first, second);
  }
  return node.op === 'all' ? every(parts) : some(parts);
}

function both(first: Predicate, second: Predicate): Predicate {
  return (facts) => {
    const a = first(facts);
    if (a === 3) return 3;
    const b = second(facts);
    return Math.max(a, b) as Level;
  };
}

function either(first: Predicate, second: Predicate): Predicate {
  return (facts) => {
    const a = first(facts);
    if (a === 0) return 0;
    const b = second(facts);
    return Math.min(a, b) as Level;
  };
}

function every(parts: readonly Predicate[]): Predicate {
  return (facts) => {
    let level: Level = 0;
    for (const part of parts) {
      const next = part(facts);
      if (next === 3) return 3;
      if (next > level) level = next;
    }
    return level;
  };
}

function some(parts: readonly Predicate[]): Predicate {
  return (facts) => {
    let level: Level = 3;
    for (const part of parts) {
      const next = part(facts);
      if (next === 0) return 0;
      if (next < level) level = next;
    }
    return level;
  };
}

function compileAtom(node: AtomNode, scope: PredicateScope): Predicate {
  switch (node.op) {
    case 'equals':
    case 'notEquals':
      return compileEquality(node, scope);
    case 'oneOf':
    case 'noneOf': {
      const slot = scope.slotOf(node.left.attribute);
      const values: ReadonlySet<FactValue> = new Set(node.values);
      return node.op === 'oneOf'
        ? (facts) => (values.has(facts.values[slot]) ? 0 : 3)
        : (facts) => (isKnown(facts.values[slot]) && !values.has(facts.values[slot]) ? 0 : 3);
    }
    case 'lessThan':
    case 'atMost':
    case 'moreThan':
    case 'atLeast':
      return compileOrder(node.op, scope.slotOf(node.left.attribute), node.right);
    case 'timeWindow':
    case 'outsideTimeWindow': {
      const { from = -Infinity, until = Infinity } = node;
      return node.op === 'timeWindow'
        ? (facts) => (facts.now >= from && facts.now < until ? 0 : 3)
        : (facts) => (facts.now < from || facts.now >= until ? 0 : 3);
    }
    case 'mfa':
      return (facts) => (facts.session?.mfa === true ? 0 : 1);
    case 'sso':
      return (facts) => (facts.session?.ssoConnection === undefined ? 1 : 0);
    case 'acrAtLeast': {
      const { acrRanks } = scope;
      const needed = acrRanks.get(node.acr) ?? Infinity;
      return (facts) => (rankOf(acrRanks, facts.session?.acr) >= needed ? 0 : 1);
    }
    case 'authenticatedWithin': {
      const { maxAgeMs } = node;
      return (facts) => {
        const at = facts.session?.authenticatedAt;
        // An authentication in the future is a clock that cannot be trusted: not fresh.
        return at !== undefined && facts.now >= at && facts.now - at <= maxAgeMs ? 0 : 1;
      };
    }
    case 'approvedBy':
      return (facts) => (facts.resourceId === undefined ? 3 : approvalsGiven(facts, node) >= node.n ? 0 : 2);
  }
}

function compileEquality(node: EqualityNode, scope: PredicateScope): Predicate {
  const slot = scope.slotOf(node.left.attribute);
  const equal = node.op === 'equals';
  const { right } = node;
  if (typeof right !== 'object') {
    return equal
      ? (facts) => (facts.values[slot] === right ? 0 : 3)
      : (facts) => (isKnown(facts.values[slot]) && facts.values[slot] !== right ? 0 : 3);
  }
  if (right.ref === 'principal') {
    return equal
      ? (facts) => (facts.values[slot] === facts.principalId ? 0 : 3)
      : (facts) => (isKnown(facts.values[slot]) && facts.values[slot] !== facts.principalId ? 0 : 3);
  }
  const other = scope.slotOf(right.attribute);
  return (facts) => {
    const a = facts.values[slot];
    const b = facts.values[other];
    return isKnown(a) && isKnown(b) && (a === b) === equal ? 0 : 3;
  };
}

function compileOrder(
  op: 'lessThan' | 'atMost' | 'moreThan' | 'atLeast',
  slot: number,
  n: number,
): Predicate {
  const test = {
    lessThan: (value: number) => value < n,
    atMost: (value: number) => value <= n,
    moreThan: (value: number) => value > n,
    atLeast: (value: number) => value >= n,
  }[op];
  return (facts) => {
    const value = facts.values[slot];
    return typeof value === 'number' && test(value) ? 0 : 3;
  };
}

/** How many different people approved this action on this resource in the role asked for, the principal left out. */
export function approvalsGiven(facts: Facts, node: ApprovalNode): number {
  if (facts.approvals.length === 0) return 0;
  const people = new Set<string>();
  for (const approval of facts.approvals) {
    if (
      approval.by !== facts.principalId &&
      approval.org === facts.resourceOrg &&
      approval.action === facts.action &&
      approval.resourceId === facts.resourceId &&
      approval.roles.includes(node.from)
    ) {
      people.add(approval.by);
    }
  }
  return people.size;
}

function isKnown(value: FactValue): boolean {
  return value !== undefined && value !== null;
}

function rankOf(ranks: ReadonlyMap<string, number>, acr: string | undefined): number {
  return acr === undefined ? -1 : (ranks.get(acr) ?? -1);
}
