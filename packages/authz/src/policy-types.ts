/**
 * The types a policy is written with, and those it gives back: names of roles, actions and attributes are inferred, so
 * that an unknown one, or a value of the wrong type, does not compile. The same checks run again at run time.
 */

import type { Approval } from './approval.ts';
import type { ConditionNode } from './condition-node.ts';
import type { Condition } from './conditions.ts';
import type { OrgId } from './org-id.ts';
import type { SessionFacts } from './session-facts.ts';

/** Type of an attribute: a string, a safe integer, a boolean, or one of the strings listed. */
export type AttributeType = 'string' | 'integer' | 'boolean' | readonly string[];

/** A kind of resource. */
export interface ResourceDeclaration {
  /** What can be done with it, at least one. */
  readonly actions: readonly string[];
  /** The attributes conditions may speak of. `org` and `id` are always there and not declared. */
  readonly attributes?: Readonly<Record<string, AttributeType>>;
}

/** The kinds of resources of a policy, by name. */
export type Resources = Readonly<Record<string, ResourceDeclaration>>;

/** Every action of a policy, `resource.action`. */
export type ActionOf<R extends Resources> = {
  [K in keyof R & string]: `${K}.${R[K]['actions'][number]}`;
}[keyof R & string];

/** The kind of resource an action belongs to. */
export type ResourceOf<A extends string> = A extends `${infer K}.${string}` ? K : never;

/** The TypeScript type of an attribute's value. */
export type AttributeValue<T> = T extends 'string'
  ? string
  : T extends 'integer'
    ? number
    : T extends 'boolean'
      ? boolean
      : T extends readonly (infer V)[]
        ? V
        : never;

/** The attributes of one kind of resource; an absent or null one makes every comparison with it unknown. */
export type AttributeValues<D extends ResourceDeclaration> = {
  readonly [P in keyof D['attributes']]?: AttributeValue<D['attributes'][P]> | null | undefined;
};

/** The resource an action is asked for. */
export type ResourceInstance<R extends Resources, A extends string> = A extends `${infer K}.${string}`
  ? K extends keyof R
    ? {
        /** The organisation that owns it. */
        readonly org: OrgId;
        /** Its id; absent for one that is about to be created. */
        readonly id?: string | undefined;
      } & AttributeValues<R[K]>
    : never
  : never;

/** Who asks. */
export interface Principal<Role extends string = string> {
  /** Id of the person, key or job. */
  readonly id: string;
  /** The organisation it acts in. */
  readonly org: OrgId;
  /** Its roles in that organisation. A role the policy does not know denies. */
  readonly roles: readonly Role[];
}

/** Who asks, how they were authenticated, and when. */
export interface RequestContext<Role extends string = string> {
  /** Who asks. */
  readonly principal: Principal<Role>;
  /** How the session was authenticated; absent means that nothing is known. */
  readonly session?: SessionFacts | undefined;
  /** Approvals given so far; those for other actions or resources are ignored. */
  readonly approvals?: readonly Approval[] | undefined;
  /** The instant of the decision, epoch ms. Default: the system clock. */
  readonly now?: number | undefined;
}

/** A grant: the roles may do the actions where the condition holds, within their own organisation. */
export interface GrantDefinition<Action extends string = string, Role extends string = string> {
  /** Unique among grants and forbids; it stands in decisions and in the audit log. */
  readonly id: string;
  /** Who. */
  readonly roles: readonly Role[];
  /** What. */
  readonly actions: readonly Action[];
  /** Where. Absent: on every resource of the principal's organisation. */
  readonly when?: Condition;
}

/** A forbid: nobody (or none of the roles) may do the actions where `when` is not false and `unless` is not true. */
export interface ForbidDefinition<Action extends string = string, Role extends string = string> {
  /** Unique among grants and forbids. */
  readonly id: string;
  /** What. */
  readonly actions: readonly Action[];
  /** Only for principals that hold one of these roles. Absent: for everybody. */
  readonly roles?: readonly Role[];
  /** Speaks of the resource and the time only. Absent: always. */
  readonly when?: Condition;
  /** Lifts the forbid; may speak of the session and of approvals. Absent: never lifted. */
  readonly unless?: Condition;
  /** Why, for a person. */
  readonly reason: string;
}

/** Needs that the attribute `A` of type `T` meets. */
export type AttributeNeeds<A extends string, T> = T extends 'string'
  ? `resource.${A}: string` | `resource.${A} = ${string}`
  : T extends 'integer'
    ? `resource.${A}: integer`
    : T extends 'boolean'
      ? `resource.${A}: boolean`
      : T extends readonly (infer V extends string)[]
        ? `resource.${A} = ${V}`
        : never;

/** Needs that a kind of resource meets. */
export type ResourceNeeds<D extends ResourceDeclaration> =
  | AttributeNeeds<'id', 'string'>
  | { [P in keyof D['attributes'] & string]: AttributeNeeds<P, D['attributes'][P]> }[keyof D['attributes'] &
      string];

/** The needs of a condition. */
export type NeedsOf<C> = C extends Condition<infer Need> ? Need : never;

/** The needs of a condition that some resource of the actions does not meet. */
export type Unmet<R extends Resources, Action extends string, C, Other extends string> = {
  [K in ResourceOf<Action> & keyof R]: Exclude<NeedsOf<C>, ResourceNeeds<R[K]> | Other>;
}[ResourceOf<Action> & keyof R];

/** `unknown` when every need is met, else a condition nothing is assignable to, which names the unmet needs. */
export type Checked<Key extends string, Missing> = [Missing] extends [never]
  ? unknown
  : {
      readonly [K in Key]: {
        /** The unmet needs. */
        readonly 'the policy does not provide': Missing;
      };
    };

/** The needs that facts about the session and approvals meet. */
export type MonotoneNeeds<Role extends string, Acr extends string> =
  | 'session'
  | `approval from ${Role}`
  | `acr ${Acr}`;

/** The `when` of a grant or forbid. */
export type WhenOf<G> = G extends {
  /** The condition. */
  readonly when: infer C;
}
  ? C
  : never;
/** The `unless` of a forbid. */
export type UnlessOf<G> = G extends {
  /** The condition. */
  readonly unless: infer C;
}
  ? C
  : never;
/** The actions of a grant or forbid. */
export type ActionsOf<G> = G extends {
  /** The actions. */ readonly actions: readonly (infer A extends string)[];
}
  ? A
  : never;

/** Compares the needs of every grant's condition with the resources of its actions. */
export type CheckedGrants<
  R extends Resources,
  Role extends string,
  Acr extends string,
  G extends readonly unknown[],
> = {
  readonly [I in keyof G]: Checked<'when', Unmet<R, ActionsOf<G[I]>, WhenOf<G[I]>, MonotoneNeeds<Role, Acr>>>;
};

/** Compares the needs of every forbid's conditions with the resources of its actions. */
export type CheckedForbids<
  R extends Resources,
  Role extends string,
  Acr extends string,
  F extends readonly unknown[],
> = {
  readonly [I in keyof F]: Checked<'when', Unmet<R, ActionsOf<F[I]>, WhenOf<F[I]>, never>> &
    Checked<'unless', Unmet<R, ActionsOf<F[I]>, UnlessOf<F[I]>, MonotoneNeeds<Role, Acr>>>;
};

/** What `definePolicy` takes. */
export interface PolicyDefinition<
  R extends Resources,
  Role extends string,
  Acr extends string,
  G extends readonly GrantDefinition<ActionOf<R>, Role>[],
  F extends readonly ForbidDefinition<ActionOf<R>, Role>[],
> {
  /** The kinds of resources. */
  readonly resources: R;
  /** The roles. */
  readonly roles: readonly Role[];
  /** Authentication context classes, lowest first; `acrAtLeast` compares by this order. */
  readonly acrLevels?: readonly Acr[];
  /** The class a challenge asks for when a second factor is missing; one of `acrLevels`. */
  readonly mfaAcr?: NoInfer<Acr>;
  /** What is allowed. Their order does not matter. */
  readonly grants: G & CheckedGrants<R, Role, Acr, G>;
  /** What is refused in any case. Their order does not matter. */
  readonly forbids?: F & CheckedForbids<R, Role, Acr, F>;
}

/** A grant as it stands in a policy document. */
export interface GrantDocument {
  /** Unique among grants and forbids. */
  readonly id: string;
  /** Who. */
  readonly roles: readonly string[];
  /** What, `resource.action`. */
  readonly actions: readonly string[];
  /** Where. */
  readonly when?: ConditionNode;
}

/** A forbid as it stands in a policy document. */
export interface ForbidDocument {
  /** Unique among grants and forbids. */
  readonly id: string;
  /** What, `resource.action`. */
  readonly actions: readonly string[];
  /** Only for these roles. */
  readonly roles?: readonly string[];
  /** Where. */
  readonly when?: ConditionNode;
  /** What lifts it. */
  readonly unless?: ConditionNode;
  /** Why, for a person. */
  readonly reason: string;
}

/** A policy as a JSON document: canonical, so that equal policies have equal documents and hashes. */
export interface PolicyDocument {
  /** Version of the format. */
  readonly version: 1;
  /** The kinds of resources. */
  readonly resources: Resources;
  /** The roles. */
  readonly roles: readonly string[];
  /** Authentication context classes, lowest first. */
  readonly acrLevels?: readonly string[];
  /** The class a challenge asks for when a second factor is missing. */
  readonly mfaAcr?: string;
  /** What is allowed. */
  readonly grants: readonly GrantDocument[];
  /** What is refused in any case. */
  readonly forbids: readonly ForbidDocument[];
}
