/**
 * Builders of conditions. Each returns plain frozen data and carries, in its type only, what it needs of the policy
 * (`resource.status = posted`, `session`, `approval from controller`); `definePolicy` compares those needs with the
 * resources of the actions they are used for, so a misspelt attribute or a value of the wrong type does not compile.
 * Left out on purpose: negation of session facts and approvals (see condition-node.ts), patterns and prefixes on
 * strings, arithmetic, and order between two attributes. Each would make "which requests does this allow" undecidable
 * or dependent on collation.
 */
import type {
  ConditionNode,
  EqualityNode,
  MembershipNode,
  OrderNode,
  PrincipalReference,
  ResourceReference,
} from './condition-node.ts';

/** A condition and, in its type, what it needs of the policy. Made by the builders of this module only. */
export interface Condition<out Need extends string = string> {
  /** What the condition needs of the policy; only in the type, absent at run time. */
  readonly '~needs': Need;
}

/** Need of a comparison of attribute `A` with a constant of type `V`. */
export type LiteralNeed<A extends string, V> = V extends string
  ? `resource.${A} = ${V}`
  : V extends number
    ? `resource.${A}: integer`
    : `resource.${A}: boolean`;

/** Need of a comparison of attribute `A` with `V`: a reference asks for strings on both sides. */
export type OperandNeed<A extends string, V> =
  V extends ResourceReference<infer B>
    ? `resource.${A}: string` | `resource.${B}: string`
    : V extends PrincipalReference
      ? `resource.${A}: string`
      : LiteralNeed<A, V>;

/** What an attribute may be compared with. */
export type Operand = string | number | boolean | ResourceReference | PrincipalReference;

/** At least one condition. */
export type Conditions = readonly [Condition, ...Condition[]];

/** A window of time with at least one bound, epoch ms. */
export type TimeWindow =
  | {
      /** First instant inside, epoch ms. */
      readonly from: number;
      /** First instant after, epoch ms. */
      readonly until?: number;
    }
  | {
      /** First instant inside, epoch ms. */
      readonly from?: number;
      /** First instant after, epoch ms. */
      readonly until: number;
    };

/** The attribute `name` of the resource asked for. `id` is always there; every other must be declared. */
export function resource<const Name extends string>(name: Name): ResourceReference<Name> {
  return Object.freeze({ ref: 'resource', attribute: name });
}

/** The principal's id. */
export function principal(name: 'id'): PrincipalReference {
  return Object.freeze({ ref: 'principal', attribute: name });
}

/**
 * The attribute is known and equal to a constant, to another string attribute, or to the principal's id.
 *
 * @example
 * ```ts
 * equals(resource('createdBy'), principal('id'));
 * ```
 */
export function equals<const A extends string, const V extends Operand>(
  left: ResourceReference<A>,
  right: V,
): Condition<OperandNeed<A, V>> {
  return condition({ op: 'equals', left, right } satisfies EqualityNode);
}

/** The attribute is known and different: an absent attribute is not "different". */
export function notEquals<const A extends string, const V extends Operand>(
  left: ResourceReference<A>,
  right: V,
): Condition<OperandNeed<A, V>> {
  return condition({ op: 'notEquals', left, right } satisfies EqualityNode);
}

/** The attribute is known and one of the constants. */
export function oneOf<const A extends string, const V extends string | number>(
  left: ResourceReference<A>,
  values: readonly V[],
): Condition<LiteralNeed<A, V>> {
  return condition({ op: 'oneOf', left, values } satisfies MembershipNode);
}

/** The attribute is known and none of the constants. */
export function noneOf<const A extends string, const V extends string | number>(
  left: ResourceReference<A>,
  values: readonly V[],
): Condition<LiteralNeed<A, V>> {
  return condition({ op: 'noneOf', left, values } satisfies MembershipNode);
}

/** The integer attribute is known and less than `right`. */
export function lessThan<const A extends string>(
  left: ResourceReference<A>,
  right: number,
): Condition<`resource.${A}: integer`> {
  return condition({ op: 'lessThan', left, right } satisfies OrderNode);
}

/** The integer attribute is known and at most `right`. */
export function atMost<const A extends string>(
  left: ResourceReference<A>,
  right: number,
): Condition<`resource.${A}: integer`> {
  return condition({ op: 'atMost', left, right } satisfies OrderNode);
}

/** The integer attribute is known and more than `right`. */
export function moreThan<const A extends string>(
  left: ResourceReference<A>,
  right: number,
): Condition<`resource.${A}: integer`> {
  return condition({ op: 'moreThan', left, right } satisfies OrderNode);
}

/** The integer attribute is known and at least `right`. */
export function atLeast<const A extends string>(
  left: ResourceReference<A>,
  right: number,
): Condition<`resource.${A}: integer`> {
  return condition({ op: 'atLeast', left, right } satisfies OrderNode);
}

/** Every one of the conditions holds. */
export function all<const C extends Conditions>(...conditions: C): Condition<C[number]['~needs']> {
  return condition({ op: 'all', of: nodes(conditions) });
}

/** At least one of the conditions holds. */
export function any<const C extends Conditions>(...conditions: C): Condition<C[number]['~needs']> {
  return condition({ op: 'any', of: nodes(conditions) });
}

/** The instant of the decision lies in `[from, until)`. */
export function timeWindow(window: TimeWindow): Condition<never> {
  return condition({ op: 'timeWindow', ...window });
}

/** The instant of the decision lies outside `[from, until)`. */
export function outsideTimeWindow(window: TimeWindow): Condition<never> {
  return condition({ op: 'outsideTimeWindow', ...window });
}

/** The session was authenticated with more than one factor. */
export function mfa(): Condition<'session'> {
  return condition({ op: 'mfa' });
}

/** The session was authenticated through an SSO connection. */
export function sso(): Condition<'session'> {
  return condition({ op: 'sso' });
}

/** The session's authentication context class ranks at least as high as `acr` in the policy's `acrLevels`. */
export function acrAtLeast<const Acr extends string>(acr: Acr): Condition<'session' | `acr ${Acr}`> {
  return condition({ op: 'acrAtLeast', acr });
}

/** The session was authenticated at most `maxAgeMs` ms before the decision, and not after it. */
export function authenticatedWithin(maxAgeMs: number): Condition<'session'> {
  return condition({ op: 'authenticatedWithin', maxAgeMs });
}

/**
 * `n` different holders of the role `from` approved this action on this resource. The principal's own approval and a
 * second one of the same person do not count.
 */
export function approvedBy<const Role extends string>(
  n: number,
  from: Role,
): Condition<`approval from ${Role}`> {
  return condition({ op: 'approvedBy', n, from });
}

function nodes(conditions: readonly Condition[]): readonly ConditionNode[] {
  return Object.freeze([...conditions]) as unknown as readonly ConditionNode[];
}

function condition<Need extends string>(node: ConditionNode): Condition<Need> {
  return Object.freeze(node) as unknown as Condition<Need>;
}
