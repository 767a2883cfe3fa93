/**
 * A condition for a person: what it asks of the resource and the instant as a sentence, what it asks of the session and
 * of other people as short marks. Plain text; whoever shows it escapes it.
 */
import { type AtomNode, type ConditionNode, describeAtom, isComposite } from '../condition-node.ts';

/** A condition, taken apart. */
export interface ConditionText {
  /** What must hold of resource and time; empty: nothing. */
  readonly sentence: string;
  /** What the session must have shown. */
  readonly stepUp: readonly string[];
  /** Whose approval is needed. */
  readonly approvals: readonly string[];
}

/** Takes a condition apart. Alternatives stay in the sentence as a whole. */
export function conditionText(node: ConditionNode | undefined): ConditionText {
  const parts = node === undefined ? [] : partsOf(node);
  const atoms = parts.filter((part): part is AtomNode => !isComposite(part));
  const isSession = (part: ConditionNode): boolean => SESSION.has(part.op);
  return {
    sentence: parts
      .filter((part) => !isSession(part) && part.op !== 'approvedBy')
      .map((part) => phrase(part, parts.length > 1))
      .join(' and '),
    stepUp: atoms.filter(isSession).map(markOf),
    approvals: atoms.filter(({ op }) => op === 'approvedBy').map(markOf),
  };
}

const SESSION: ReadonlySet<string> = new Set(['mfa', 'sso', 'acrAtLeast', 'authenticatedWithin']);
const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** A duration in the greatest unit that divides it. */
function duration(ms: number): string {
  const [name, length] = UNITS.find(([, unit]) => ms % unit === 0) ?? ['ms', 1];
  return `${ms / length} ${name}`;
}

function partsOf(node: ConditionNode): readonly ConditionNode[] {
  return node.op === 'all' ? node.of.flatMap(partsOf) : [node];
}

function phrase(node: ConditionNode, nested: boolean): string {
  if (!isComposite(node)) return markOf(node);
  const text = node.of
    .map((part) => phrase(part, node.of.length > 1))
    .join(node.op === 'all' ? ' and ' : ' or ');
  return nested && node.of.length > 1 ? `(${text})` : text;
}

function markOf(atom: AtomNode): string {
  switch (atom.op) {
    case 'mfa':
      return 'MFA';
    case 'sso':
      return 'SSO';
    case 'acrAtLeast':
      return `acr ≥ ${atom.acr}`;
    case 'authenticatedWithin':
      return `signed in ≤ ${duration(atom.maxAgeMs)} ago`;
    case 'approvedBy':
      return `${atom.n} × ${atom.from}`;
    case 'equals':
    case 'notEquals':
      if (typeof atom.right !== 'object' || atom.right.ref === 'resource') return describeAtom(atom);
      return `${atom.left.attribute} ${atom.op === 'equals' ? '=' : '≠'} self`;
    default:
      return describeAtom(atom);
  }
}
