/**
 * A checked policy, indexed: action → role → grants, action → forbids, conditions compiled. A decision looks at the
 * grants of its action and roles only, so its cost does not depend on the size of the policy.
 *
 * A forbid is compiled to the condition that must hold for it not to apply: its `when` is known to be false, or its
 * `unless` is true. What cannot be evaluated therefore refuses.
 */
import { type CanonicalValue, canonicalJson } from './canonical.ts';
import { atomsOf, attributesOf, type ConditionNode, opposite } from './condition-node.ts';
import { ALWAYS, compilePredicate, type Predicate, type PredicateScope } from './level.ts';
import type { AttributeType, PolicyDocument } from './policy-types.ts';

/** An attribute that some condition of an action speaks of. */
export interface AttributeSlot {
  readonly name: string;
  /** Position in `Facts.values`, the same for all actions of the resource. */
  readonly position: number;
  /** True for the resource's id, which is read beforehand. */
  readonly isId: boolean;
  /** Declared type; an enumeration as the set of its values. */
  readonly type: 'string' | 'integer' | 'boolean' | ReadonlySet<string>;
}

/** Slots by position; undefined where another action of the resource has one. */
export type SlotsByPosition = readonly (AttributeSlot | undefined)[];

/** A grant, for one action. */
export interface IndexedGrant {
  readonly id: string;
  /** Position in the order of ids: ties are broken by it, not by the order of writing. */
  readonly ordinal: number;
  readonly roles: readonly string[];
  /** Ordinals of the roles. */
  readonly roleSet: ReadonlySet<number>;
  /** undefined: always. */
  readonly condition: ConditionNode | undefined;
}

/** A grant of one action to one role, in a chain ordered by id: one object to touch per grant looked at. */
export interface Candidate {
  readonly predicate: Predicate;
  readonly ordinal: number;
  readonly grant: IndexedGrant;
  next: Candidate | undefined;
}

/** A forbid, for one action. */
export interface IndexedForbid {
  readonly id: string;
  readonly reason: string;
  /** Ordinals of the roles it is for; undefined: everybody. */
  readonly roleSet: ReadonlySet<number> | undefined;
  /** What must be true for the forbid not to apply; undefined: nothing can. */
  readonly mustHold: ConditionNode | undefined;
  readonly predicate: Predicate;
}

/** Everything about one action. */
export interface ActionIndex {
  readonly action: string;
  readonly resource: string;
  /** The attributes to read, by name. */
  readonly slots: readonly AttributeSlot[];
  /** The same by position in `Facts.values`. */
  readonly slotAt: SlotsByPosition;
  /** All grants of the action, by id. */
  readonly grants: readonly IndexedGrant[];
  /** First candidate by ordinal of the role. */
  readonly byRole: readonly (Candidate | undefined)[];
  /** By id. */
  readonly forbids: readonly IndexedForbid[];
}

/** A policy, ready for decisions. */
export interface PolicyIndex {
  readonly hash: string;
  readonly document: PolicyDocument;
  readonly actions: ReadonlyMap<string, ActionIndex>;
  /** Ordinal of each role. */
  readonly roles: ReadonlyMap<string, number>;
  readonly acrRanks: ReadonlyMap<string, number>;
}

const NEVER: Predicate = () => 3;

/** Indexes a canonical document. */
export function indexPolicy(document: PolicyDocument, hash: string): PolicyIndex {
  const roles = new Map(document.roles.map((role, ordinal) => [role, ordinal]));
  const acrRanks = new Map((document.acrLevels ?? []).map((acr, rank) => [acr, rank]));
  const builders = new Map<string, ActionBuilder>();
  for (const [resource, { actions, attributes = {} }] of Object.entries(document.resources)) {
    const scope = new ResourceScope(resource, attributes, acrRanks);
    for (const action of actions) {
      const name = `${resource}.${action}`;
      builders.set(name, new ActionBuilder(name, scope));
    }
  }
  const ordinals = (names: readonly string[]): ReadonlySet<number> =>
    new Set(names.flatMap((role) => roles.get(role) ?? []));
  for (const [ordinal, { id, roles: names, actions, when }] of document.grants.entries()) {
    const roleSet = ordinals(names);
    for (const action of actions) {
      builders.get(action)?.grant({ id, ordinal, roles: names, roleSet, condition: when });
    }
  }
  for (const { id, reason, roles: names, actions, when, unless } of document.forbids) {
    const roleSet = names === undefined ? undefined : ordinals(names);
    const parts = [when === undefined ? [] : [opposite(when)], unless === undefined ? [] : [unless]].flat();
    const mustHold: ConditionNode | undefined = parts.length > 1 ? { op: 'any', of: parts } : parts[0];
    for (const action of actions) builders.get(action)?.forbid({ id, reason, roleSet, mustHold });
  }
  // Property keys are interned by the engine, as the literals of a program are: the look-up then compares pointers.
  const interned = Object.fromEntries([...builders].map(([name, builder]) => [name, builder.build()]));
  return { hash, document, actions: new Map(Object.entries(interned)), roles, acrRanks };
}

/** Slots and predicates of one kind of resource, shared by its actions: a large policy stays small in memory. */
class ResourceScope implements PredicateScope {
  readonly resource: string;
  readonly acrRanks: ReadonlyMap<string, number>;
  readonly #types: ReadonlyMap<string, AttributeType>;
  readonly #slots: Map<string, AttributeSlot> = new Map();
  readonly #slotLists: Map<string, readonly AttributeSlot[]> = new Map();
  readonly #positions: Map<readonly AttributeSlot[], SlotsByPosition> = new Map();
  readonly #predicates: Map<string, Predicate> = new Map();

  constructor(
    resource: string,
    attributes: Readonly<Record<string, AttributeType>>,
    acrRanks: ReadonlyMap<string, number>,
  ) {
    this.resource = resource;
    this.acrRanks = acrRanks;
    this.#types = new Map<string, AttributeType>([...Object.entries(attributes), ['id', 'string']]);
  }

  /** The slots by position. Positions are final once all conditions are compiled. */
  byPosition(slots: readonly AttributeSlot[]): SlotsByPosition {
    const width = this.#slots.size;
    const known =
      this.#positions.get(slots) ??
      Array.from({ length: width }, (_, k) => slots.find(({ position }) => position === k));
    this.#positions.set(slots, known);
    return known;
  }

  slotOf(attribute: string): number {
    return this.slot(attribute).position;
  }

  slot(attribute: string): AttributeSlot {
    const known = this.#slots.get(attribute);
    if (known !== undefined) return known;
    const type = this.#types.get(attribute);
    if (type === undefined) throw new TypeError(`${this.resource} has no attribute ${attribute}`);
    const slot: AttributeSlot = {
      name: attribute,
      position: this.#slots.size,
      isId: attribute === 'id',
      type: typeof type === 'string' ? type : new Set(type),
    };
    this.#slots.set(attribute, slot);
    return slot;
  }

  slots(attributes: ReadonlySet<string>): readonly AttributeSlot[] {
    const names = [...attributes].sort();
    const key = names.join();
    const known = this.#slotLists.get(key) ?? names.map((name) => this.slot(name));
    this.#slotLists.set(key, known);
    return known;
  }

  predicate(condition: ConditionNode): Predicate {
    const key = canonicalJson(condition as unknown as CanonicalValue);
    const known = this.#predicates.get(key) ?? compilePredicate(condition, this);
    this.#predicates.set(key, known);
    return known;
  }
}

class ActionBuilder {
  readonly #action: string;
  readonly #scope: ResourceScope;
  readonly #attributes: Set<string> = new Set();
  readonly #grants: IndexedGrant[] = [];
  readonly #first: Candidate[] = [];
  readonly #last: Candidate[] = [];
  readonly #forbids: IndexedForbid[] = [];

  constructor(action: string, scope: ResourceScope) {
    this.#action = action;
    this.#scope = scope;
  }

  /** Adds a grant; they come in the order of ids. */
  grant(grant: IndexedGrant): void {
    const { condition, ordinal, roleSet } = grant;
    const predicate = condition === undefined ? ALWAYS : this.#predicate(condition);
    this.#grants.push(grant);
    for (const role of roleSet) {
      const candidate: Candidate = { predicate, ordinal, grant, next: undefined };
      const last = this.#last[role];
      if (last === undefined) this.#first[role] = candidate;
      else last.next = candidate;
      this.#last[role] = candidate;
    }
  }

  forbid(forbid: Omit<IndexedForbid, 'predicate'>): void {
    const predicate = forbid.mustHold === undefined ? NEVER : this.#predicate(forbid.mustHold);
    this.#forbids.push({ ...forbid, predicate });
  }

  build(): ActionIndex {
    const slots = this.#scope.slots(this.#attributes);
    return {
      action: this.#action,
      resource: this.#scope.resource,
      slots,
      slotAt: this.#scope.byPosition(slots),
      grants: this.#grants,
      byRole: Array.from(this.#first),
      forbids: this.#forbids,
    };
  }

  #predicate(condition: ConditionNode): Predicate {
    for (const atom of atomsOf(condition)) for (const name of attributesOf(atom)) this.#attributes.add(name);
    return this.#scope.predicate(condition);
  }
}
