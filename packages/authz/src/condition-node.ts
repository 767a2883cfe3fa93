/**
 * Conditions as data: the closed vocabulary, as it stands in a policy document. There is no negation node: each
 * comparison has its opposite in the vocabulary, so a negation is written at the leaves, and facts about the session
 * and approvals have no opposite. Every condition is therefore monotone in them: more facts never take access away,
 * which gives "the facts that are missing" a meaning and keeps the analysis complete.
 */

/** Names an attribute of the resource. */
export interface ResourceReference<out Name extends string = string> {
  /** Discriminates the reference. */
  readonly ref: 'resource';
  /** Name of the attribute. */
  readonly attribute: Name;
}

/** Names an attribute of the principal. */
export interface PrincipalReference {
  /** Discriminates the reference. */
  readonly ref: 'principal';
  /** Name of the attribute: only the id. */
  readonly attribute: 'id';
}

/** A constant of a condition: a string, a safe integer or a boolean. */
export type Literal = string | number | boolean;

/** Equality, or its opposite, of a resource attribute with a constant or another string. */
export interface EqualityNode {
  /** The comparison. */
  readonly op: 'equals' | 'notEquals';
  /** The attribute. */
  readonly left: ResourceReference;
  /** What it is compared with. */
  readonly right: Literal | ResourceReference | PrincipalReference;
}

/** Membership, or its opposite, of a resource attribute in a set of constants. */
export interface MembershipNode {
  /** The comparison. */
  readonly op: 'oneOf' | 'noneOf';
  /** The attribute. */
  readonly left: ResourceReference;
  /** The set, at least one member, all of one type. */
  readonly values: readonly (string | number)[];
}

/** Order of an integer attribute against a constant. */
export interface OrderNode {
  /** The comparison. */
  readonly op: 'lessThan' | 'atMost' | 'moreThan' | 'atLeast';
  /** The attribute. */
  readonly left: ResourceReference;
  /** A safe integer. */
  readonly right: number;
}

/** The instant of the decision inside, or outside, `[from, until)`; at least one bound is given. */
export interface TimeNode {
  /** Inside or outside. */
  readonly op: 'timeWindow' | 'outsideTimeWindow';
  /** First instant inside, epoch ms. */
  readonly from?: number;
  /** First instant after, epoch ms. */
  readonly until?: number;
}

/** A fact about how the session was authenticated. */
export type SessionNode =
  | {
      /** More than one factor, or through an SSO connection. */
      readonly op: 'mfa' | 'sso';
    }
  | {
      /** Authentication context class of at least this rank. */
      readonly op: 'acrAtLeast';
      /** One of the policy's `acrLevels`. */
      readonly acr: string;
    }
  | {
      /** Authenticated at most this long ago. */
      readonly op: 'authenticatedWithin';
      /** Greatest age in ms. */
      readonly maxAgeMs: number;
    };

/** Approval of this very action on this very resource by n different people, none of them the principal. */
export interface ApprovalNode {
  /** Discriminates the node. */
  readonly op: 'approvedBy';
  /** How many, 1 to 10. */
  readonly n: number;
  /** Role the approvers must hold. */
  readonly from: string;
}

/** A comparison of the resource or of the instant: these have an opposite. */
export type FactNode = EqualityNode | MembershipNode | OrderNode | TimeNode;

/** A leaf of a condition. */
export type AtomNode = FactNode | SessionNode | ApprovalNode;

/** Conjunction or disjunction of at least one condition. */
export interface CompositeNode {
  /** All of them, or any of them. */
  readonly op: 'all' | 'any';
  /** The parts. */
  readonly of: readonly ConditionNode[];
}

/** A condition as it stands in a policy document. */
export type ConditionNode = AtomNode | CompositeNode;

const OPPOSITE = {
  equals: 'notEquals',
  notEquals: 'equals',
  oneOf: 'noneOf',
  noneOf: 'oneOf',
  lessThan: 'atLeast',
  atLeast: 'lessThan',
  atMost: 'moreThan',
  moreThan: 'atMost',
  timeWindow: 'outsideTimeWindow',
  outsideTimeWindow: 'timeWindow',
} as const;

/**
 * The condition that is true exactly when the given one is known to be false. An unknown attribute makes neither true.
 *
 * @throws TypeError when the condition speaks of the session or of approvals.
 */
export function opposite(node: ConditionNode): ConditionNode {
  switch (node.op) {
    case 'all':
      return { op: 'any', of: node.of.map(opposite) };
    case 'any':
      return { op: 'all', of: node.of.map(opposite) };
    case 'mfa':
    case 'sso':
    case 'acrAtLeast':
    case 'authenticatedWithin':
    case 'approvedBy':
      throw new TypeError(`${node.op} has no opposite`);
    default:
      return { ...node, op: OPPOSITE[node.op] } as FactNode;
  }
}

/** True for a conjunction or disjunction. */
export function isComposite(node: ConditionNode): node is CompositeNode {
  return node.op === 'all' || node.op === 'any';
}

/** Every leaf of a condition, left to right. */
export function atomsOf(node: ConditionNode): readonly AtomNode[] {
  return isComposite(node) ? node.of.flatMap(atomsOf) : [node];
}

/** The attributes of the resource that a leaf speaks of. */
export function attributesOf(atom: AtomNode): readonly string[] {
  if (!('left' in atom)) return [];
  if ('right' in atom && typeof atom.right === 'object' && atom.right.ref === 'resource') {
    return [atom.left.attribute, atom.right.attribute];
  }
  return [atom.left.attribute];
}

const SIGN = {
  equals: '=',
  notEquals: '≠',
  oneOf: 'one of',
  noneOf: 'none of',
  lessThan: '<',
  atMost: '≤',
  moreThan: '>',
  atLeast: '≥',
} as const;

/** The leaf as a short text, e.g. `status = "posted"`. */
export function describeAtom(node: AtomNode): string {
  switch (node.op) {
    case 'equals':
    case 'notEquals':
      return `${node.left.attribute} ${SIGN[node.op]} ${describeOperand(node.right)}`;
    case 'oneOf':
    case 'noneOf':
      return `${node.left.attribute} ${SIGN[node.op]} ${node.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'lessThan':
    case 'atMost':
    case 'moreThan':
    case 'atLeast':
      return `${node.left.attribute} ${SIGN[node.op]} ${node.right}`;
    case 'timeWindow':
    case 'outsideTimeWindow':
      return `time ${node.op === 'timeWindow' ? 'within' : 'outside'} [${instant(node.from)}, ${instant(node.until)})`;
    case 'mfa':
      return 'multi-factor authentication';
    case 'sso':
      return 'authentication through the SSO connection';
    case 'acrAtLeast':
      return `acr of at least ${node.acr}`;
    case 'authenticatedWithin':
      return `authentication at most ${node.maxAgeMs} ms ago`;
    case 'approvedBy':
      return `${node.n} approval(s) from ${node.from}`;
  }
}

function describeOperand(right: EqualityNode['right']): string {
  if (typeof right !== 'object') return JSON.stringify(right);
  return right.ref === 'principal' ? "the principal's id" : right.attribute;
}

function instant(ms: number | undefined): string {
  return ms === undefined ? '…' : new Date(ms).toISOString();
}
