/**
 * Narrower conditions that a grant could have: alternatives nobody used left out, and one of a short list of further
 * leaves that every recorded allow satisfied (one's own resource, a second factor, some of the listed values). Only
 * attributes that the policy reads for the action are known from records; ranges of numbers and instants are not
 * narrowed, since the next request would be just outside of them.
 */
import { type CanonicalValue, canonicalJson } from '../canonical.ts';
import { type AtomNode, atomsOf, type ConditionNode } from '../condition-node.ts';
import type { Facts } from '../facts.ts';
import { compilePredicate, type PredicateScope } from '../level.ts';
import type { ActionIndex, PolicyIndex } from '../policy-index.ts';

/** Where the attributes of an action lie, to compile conditions beside those of the policy. */
export function scopeOf({ acrRanks }: PolicyIndex, { slots }: ActionIndex): PredicateScope {
  const slotOf = (attribute: string): number => slots.find(({ name }) => name === attribute)?.position ?? -1;
  return { acrRanks, slotOf };
}

/** Every leaf that tells situations of an action apart, for the policy and for what this module makes of it. */
export function leavesOf(
  { document }: PolicyIndex,
  { grants, forbids, resource, slots }: ActionIndex,
): readonly AtomNode[] {
  const leaves = new Map<string, AtomNode>();
  const add = (atom: AtomNode): void => {
    leaves.set(canonicalJson(atom as unknown as CanonicalValue), atom);
  };
  for (const { condition } of grants) for (const atom of condition ? atomsOf(condition) : []) add(atom);
  for (const { mustHold } of forbids) for (const atom of mustHold ? atomsOf(mustHold) : []) add(atom);
  add({ op: 'mfa' });
  for (const { name } of slots) {
    const type = document.resources[resource]?.attributes?.[name];
    if (type === 'string') add(own(name));
    if (typeof type === 'object') for (const right of type) add({ op: 'equals', left: at(name), right });
  }
  return [...leaves.values()];
}

/** The condition with what all situations satisfied; the same object when nothing can be narrowed. */
export function narrowed(
  policy: PolicyIndex,
  index: ActionIndex,
  condition: ConditionNode | undefined,
  situations: readonly Facts[],
): ConditionNode | undefined {
  const scope = scopeOf(policy, index);
  const holds = (node: ConditionNode, facts: Facts): boolean => compilePredicate(node, scope)(facts) === 0;
  const kept = condition === undefined ? undefined : usedAlternatives(condition, situations, holds);
  const present = new Set(kept === undefined ? [] : atomsOf(kept).map(textOf));
  const further = candidates(policy, index, situations).filter(
    (node) => !present.has(textOf(node)) && situations.every((facts) => holds(node, facts)),
  );
  if (further.length === 0) return kept;
  const before = kept === undefined ? [] : kept.op === 'all' ? kept.of : [kept];
  return { op: 'all', of: [...before, ...further] };
}

/** `any` without the parts that no situation needs; the first part that holds is the one needed. */
function usedAlternatives(
  node: ConditionNode,
  situations: readonly Facts[],
  holds: (node: ConditionNode, facts: Facts) => boolean,
): ConditionNode {
  if (node.op === 'all') {
    const of = node.of.map((part) => usedAlternatives(part, situations, holds));
    return of.every((part, k) => part === node.of[k]) ? node : { op: 'all', of };
  }
  if (node.op !== 'any') return node;
  const needed = new Set(situations.map((facts) => node.of.find((part) => holds(part, facts))));
  const of = node.of.filter((part) => needed.has(part));
  const [only] = of;
  if (of.length === node.of.length) return node;
  return only !== undefined && of.length === 1 ? only : { op: 'any', of };
}

function candidates(
  { document }: PolicyIndex,
  { resource, slots }: ActionIndex,
  situations: readonly Facts[],
): readonly AtomNode[] {
  return [
    { op: 'mfa' },
    ...slots.flatMap(({ name, position }): readonly AtomNode[] => {
      const type = document.resources[resource]?.attributes?.[name];
      if (type === 'string') return [own(name)];
      if (typeof type !== 'object') return [];
      const values = [...new Set(situations.map(({ values: each }) => each[position]))];
      const seen = values.filter((value): value is string => typeof value === 'string').sort();
      // A value that was absent satisfies no comparison; all of the listed ones restrict next to nothing.
      if (seen.length !== values.length || seen.length === type.length || seen.length === 0) return [];
      const [right = ''] = seen;
      const left = at(name);
      return [seen.length === 1 ? { op: 'equals', left, right } : { op: 'oneOf', left, values: seen }];
    }),
  ];
}

function at(attribute: string) {
  return { ref: 'resource', attribute } as const;
}

function own(attribute: string): AtomNode {
  return { op: 'equals', left: at(attribute), right: { ref: 'principal', attribute: 'id' } };
}

function textOf(node: ConditionNode): string {
  return canonicalJson(node as unknown as CanonicalValue);
}
