/**
 * Conditions as Cedar expressions, once for "known to be true" and once for "known to be false". Every comparison stands
 * behind a `has` guard, so no expression errs: Cedar skips a forbid that errs, this package must not. The
 * two forms are written out apart from the table of opposites that the engine uses, so that one can check the other.
 */
import {
  type AtomNode,
  type ConditionNode,
  type EqualityNode,
  type FactNode,
  isComposite,
  type Literal,
  type TimeNode,
} from '../condition-node.ts';
import { attributeOf, cedarLiteral, hasAttribute } from './names.ts';

type ComparisonNode = Exclude<FactNode, TimeNode>;

/** The Cedar expression that is true exactly when the condition is known to be true. */
export function knownTrue(node: ConditionNode, acrLevels: readonly string[]): string {
  if (!isComposite(node)) return leaf(node, acrLevels);
  const parts = node.of.map((part) => knownTrue(part, acrLevels));
  return node.op === 'all' ? conjunction(parts) : disjunction(parts);
}

/**
 * The Cedar expression that is true exactly when the condition is known to be false.
 *
 * @throws TypeError when the condition speaks of the session or of approvals: a checked policy has none in a `when` of a
 * forbid.
 */
export function knownFalse(node: ConditionNode): string {
  switch (node.op) {
    case 'all':
      return disjunction(node.of.map(knownFalse));
    case 'any':
      return conjunction(node.of.map(knownFalse));
    case 'mfa':
    case 'sso':
    case 'acrAtLeast':
    case 'authenticatedWithin':
    case 'approvedBy':
      throw new TypeError(`${node.op} is never known to be false`);
    default:
      return comparison(node, false);
  }
}

function leaf(node: AtomNode, acrLevels: readonly string[]): string {
  switch (node.op) {
    case 'mfa':
    case 'sso':
      return `context.${node.op}`;
    case 'acrAtLeast': {
      const enough = acrLevels.slice(acrLevels.indexOf(node.acr)).map(cedarLiteral).join(', ');
      return `(context has acr && [${enough}].contains(context.acr))`;
    }
    case 'authenticatedWithin':
      return conjunction([
        'context has authenticatedAt',
        'context.authenticatedAt <= context.now',
        `context.now - context.authenticatedAt <= ${node.maxAgeMs}`,
      ]);
    case 'approvedBy':
      return `context.approvals[${cedarLiteral(node.from)}] >= ${node.n}`;
    default:
      return comparison(node, true);
  }
}

/** A comparison that holds, or that is known not to hold. */
function comparison(node: FactNode, holds: boolean): string {
  if (!('left' in node)) return instant(node, holds);
  const left = attributeOf(node.left.attribute);
  const known = [hasAttribute(node.left.attribute), ...otherSide(node)];
  const { test, positive } = statement(node, left);
  return conjunction([...known, positive === holds ? test : `!(${test})`]);
}

/** The instant inside the window, or outside it; an instant is never unknown. */
function instant({ op, from, until }: TimeNode, holds: boolean): string {
  const inside = (op === 'timeWindow') === holds;
  const bounds = [
    ...(from === undefined ? [] : [`context.now ${inside ? '>=' : '<'} ${from}`]),
    ...(until === undefined ? [] : [`context.now ${inside ? '<' : '>='} ${until}`]),
  ];
  return inside ? conjunction(bounds) : disjunction(bounds);
}

/** The guard of an attribute on the right. */
function otherSide(node: ComparisonNode): readonly string[] {
  return 'right' in node && typeof node.right === 'object' && node.right.ref === 'resource'
    ? [hasAttribute(node.right.attribute)]
    : [];
}

/** The comparison in Cedar's words; not positive when the vocabulary means the contrary of it. */
function statement(
  node: ComparisonNode,
  left: string,
): { readonly test: string; readonly positive: boolean } {
  switch (node.op) {
    case 'equals':
    case 'notEquals':
      return { test: `${left} == ${operand(node.right)}`, positive: node.op === 'equals' };
    case 'oneOf':
    case 'noneOf':
      return { test: `${set(node.values)}.contains(${left})`, positive: node.op === 'oneOf' };
    case 'lessThan':
      return { test: `${left} < ${node.right}`, positive: true };
    case 'atMost':
      return { test: `${left} <= ${node.right}`, positive: true };
    case 'moreThan':
      return { test: `${left} > ${node.right}`, positive: true };
    case 'atLeast':
      return { test: `${left} >= ${node.right}`, positive: true };
  }
}

function operand(right: EqualityNode['right']): string {
  if (typeof right !== 'object') return cedarLiteral(right);
  return right.ref === 'principal' ? 'principal.id' : attributeOf(right.attribute);
}

function set(values: readonly Literal[]): string {
  return `[${values.map(cedarLiteral).join(', ')}]`;
}

/** `(a && b)`. */
export function conjunction(parts: readonly string[]): string {
  return joined(parts, ' && ');
}

/** `(a || b)`. */
export function disjunction(parts: readonly string[]): string {
  return joined(parts, ' || ');
}

function joined(parts: readonly string[], sign: string): string {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : `(${parts.join(sign)})`;
}
