/**
 * Everything a decision about one action can depend on, as finitely many regions of facts: complete because conditions
 * are data from a closed vocabulary (regions.ts says why the representatives suffice). What a leaf says in a region is
 * asked of the real reader and the real predicates, for each policy by itself, so that a type or an acr order that
 * differs between two policies differs here too. Regions in which no leaf differs are merged.
 */
import { type CanonicalValue, canonicalJson } from './canonical.ts';
import {
  type AtomNode,
  atomsOf,
  attributesOf,
  type ConditionNode,
  isComposite,
  type Literal,
} from './condition-node.ts';
import { AuthzAnalysisTooLargeError } from './errors.ts';
import { type Formula, FormulaStore } from './formula.ts';
import { compilePredicate, type Level, type Predicate } from './level.ts';
import type { ActionIndex, PolicyIndex } from './policy-index.ts';
import { factsOf } from './record.ts';
import type { DecisionInputs } from './record-inputs.ts';
import {
  approvalPatches,
  clockPatches,
  integers,
  type Patch,
  PRINCIPAL,
  stringCombinations,
  stringPatches,
} from './regions.ts';
import { SituationNames } from './situation.ts';

/** Which region each dimension lies in. */
export type Path = ReadonlyMap<number, number>;

/** A leaf of one side, to be evaluated. */
interface SideLeaf {
  readonly side: number;
  readonly key: string;
  readonly predicate: Predicate;
}

const HAS_ID = 'has id';
const MOST_REGIONS = 250_000;

/** The regions of one action, and the policies' conditions as formulas over them. */
export class Worlds {
  readonly store: FormulaStore = new FormulaStore();
  readonly action: string;
  readonly #sides: readonly PolicyIndex[];
  readonly #names: SituationNames;
  /** Merged regions by dimension. */
  readonly #regions: Patch[][] = [];
  /** Leaf formulas by side and canonical text. */
  readonly #leaves: readonly Map<string, Formula>[];
  readonly #conditions: readonly Map<ConditionNode, Formula>[];

  /** @throws RingfenceAuthzError `authz.analysis_too_large` when strings compared with each other have too many cases. */
  constructor(sides: readonly PolicyIndex[], action: string) {
    this.action = action;
    this.#sides = sides;
    this.#leaves = sides.map(() => new Map());
    this.#conditions = sides.map(() => new Map());
    const atoms = sides.map((side) => atomsOfAction(side.actions.get(action)));
    this.#names = new SituationNames(atoms.flatMap((each) => [...each.values()].flatMap(literalsOf)));
    this.#build(atoms);
  }

  /** Number of dimensions and of regions if all were combined, for messages. */
  get size(): { readonly dimensions: number; readonly regions: number } {
    return {
      dimensions: this.#regions.length,
      regions: this.#regions.reduce((product, { length }) => product * length, 1),
    };
  }

  /** How many regions a dimension has. */
  regionsOf(dimension: number): number {
    return (this.#regions[dimension] as readonly Patch[]).length;
  }

  /** The level of the action for a principal of the side's policy that holds exactly these roles (see evaluate.ts). */
  level(side: number, roles: readonly string[]): Formula {
    const policy = this.#sides[side] as PolicyIndex;
    const index = policy.actions.get(this.action);
    if (index === undefined || roles.some((role) => !policy.roles.has(role))) return 3;
    const held = roles.map((role) => policy.roles.get(role) as number);
    const holds = (set: ReadonlySet<number>): boolean => held.some((ordinal) => set.has(ordinal));
    const granted = index.grants
      .filter(({ roleSet }) => holds(roleSet))
      .map(({ condition }) => this.condition(side, condition));
    const lifted = index.forbids
      .filter(({ roleSet }) => roleSet === undefined || holds(roleSet))
      .map(({ mustHold }) => (mustHold === undefined ? 3 : this.condition(side, mustHold)));
    return this.store.all([this.store.any(granted), ...lifted]);
  }

  /** A condition that stands in the side's policy, for this action. Absent: always true. */
  condition(side: number, node: ConditionNode | undefined): Formula {
    if (node === undefined) return 0;
    const known = this.#conditions[side]?.get(node);
    if (known !== undefined) return known;
    const formula = isComposite(node)
      ? this.store[node.op](node.of.map((part) => this.condition(side, part)))
      : this.#leaf(side, node);
    this.#conditions[side]?.set(node, formula);
    return formula;
  }

  /** A request that lies in the regions of the path; dimensions that are not in it take their first region. */
  situation(path: Path, roles: readonly string[]): DecisionInputs {
    const patches = this.#regions.map((regions, dimension) => regions[path.get(dimension) ?? 0] as Patch);
    return this.#names.situation(this.action, roles, patches);
  }

  #leaf(side: number, atom: AtomNode): Formula {
    const leaves = this.#leaves[side] as Map<string, Formula>;
    const leaf = leaves.get(keyOf(atom));
    if (leaf === undefined) throw new TypeError('the condition does not stand in the policy for this action');
    // Without an id no approval can speak of the resource: out of reach.
    return atom.op === 'approvedBy' ? this.store.all([leaves.get(HAS_ID) ?? 3, leaf]) : leaf;
  }

  #build(atoms: readonly ReadonlyMap<string, AtomNode>[]): void {
    const all = atoms.flatMap((each) => [...each.values()]);
    const clock = (atom: AtomNode): boolean => 'maxAgeMs' in atom || /imeWindow$/.test(atom.op);
    for (const group of comparedStrings(all)) this.#strings(group, atoms, all);
    if (all.some(clock)) this.#dimension(clockPatches(all), atoms, clock);
    if (all.some(({ op }) => op === 'mfa'))
      this.#dimension([{}, { mfa: true }], atoms, ({ op }) => op === 'mfa');
    if (all.some(({ op }) => op === 'sso'))
      this.#dimension([{}, { sso: true }], atoms, ({ op }) => op === 'sso');
    if (all.some(({ op }) => op === 'acrAtLeast')) {
      const levels = new Set(this.#sides.flatMap(({ acrRanks }) => [...acrRanks.keys()]));
      this.#dimension([{}, ...[...levels].map((acr) => ({ acr }))], atoms, ({ op }) => op === 'acrAtLeast');
    }
    for (const role of new Set(all.flatMap((atom) => (atom.op === 'approvedBy' ? [atom.from] : [])))) {
      const mine = (atom: AtomNode): boolean => atom.op === 'approvedBy' && atom.from === role;
      this.#dimension(approvalPatches(role, all.filter(mine)), atoms, mine);
    }
  }

  /** One dimension for strings that are compared with each other, or for one attribute of any type. */
  #strings(
    group: ReadonlySet<string>,
    atoms: readonly ReadonlyMap<string, AtomNode>[],
    all: readonly AtomNode[],
  ): void {
    const mine = (atom: AtomNode): boolean => attributesOf(atom).some((name) => group.has(name));
    const constants = new Set<Literal>();
    const numbers = new Set<number>();
    for (const literal of all.filter(mine).flatMap(literalsOf)) {
      if (typeof literal === 'number') numbers.add(literal);
      else constants.add(literal);
    }
    const resource = this.action.slice(0, this.action.indexOf('.'));
    for (const { document } of this.#sides) {
      for (const name of group) {
        const type = document.resources[resource]?.attributes?.[name];
        if (type === 'boolean') for (const value of [true, false]) constants.add(value);
        if (type === 'integer') for (const value of integers(numbers)) constants.add(value);
        if (typeof type === 'object') for (const value of type) constants.add(value);
      }
    }
    const variables = [...group];
    const combinations = stringCombinations(variables, constants.size);
    if (combinations > MOST_REGIONS) {
      const { dimensions } = this.size;
      throw new AuthzAnalysisTooLargeError(this.action, {
        dimensions,
        regions: combinations,
        limit: MOST_REGIONS,
      });
    }
    this.#dimension(
      stringPatches(variables, [...constants], (ordinal) => this.#names.other(ordinal)),
      atoms,
      mine,
      group.has('id'),
    );
  }

  /** Adds a dimension: evaluates the leaves that belong to it in each region and merges regions that are alike. */
  #dimension(
    patches: Iterable<Patch>,
    atoms: readonly ReadonlyMap<string, AtomNode>[],
    mine: (atom: AtomNode) => boolean,
    holdsId = false,
  ): void {
    const leaves = atoms.flatMap((each, side) => this.#sideLeaves(side, each, mine, holdsId));
    const regions: Patch[] = [];
    const columns: Level[][] = leaves.map(() => []);
    const seen = new Set<string>();
    for (const patch of patches) {
      const inputs = this.#names.situation(this.action, [], [patch]);
      const facts = this.#sides.map((side) => factsOf(side, inputs));
      const levels = leaves.map(({ side, predicate }) => predicate(facts[side] as (typeof facts)[number]));
      const text = levels.join('');
      if (seen.has(text)) continue;
      seen.add(text);
      regions.push(patch);
      levels.forEach((level, ordinal) => {
        columns[ordinal]?.push(level);
      });
    }
    const dimension = this.#regions.push(regions) - 1;
    leaves.forEach(({ side, key }, ordinal) => {
      this.#leaves[side]?.set(key, this.store.leaf(dimension, columns[ordinal] ?? []));
    });
  }

  #sideLeaves(
    side: number,
    atoms: ReadonlyMap<string, AtomNode>,
    mine: (atom: AtomNode) => boolean,
    holdsId: boolean,
  ): readonly SideLeaf[] {
    const { acrRanks, actions } = this.#sides[side] as PolicyIndex;
    const slots = actions.get(this.action)?.slots ?? [];
    const scope = {
      acrRanks,
      slotOf: (attribute: string): number => slots.find(({ name }) => name === attribute)?.position ?? -1,
    };
    const leaves: SideLeaf[] = [];
    for (const [key, atom] of atoms) {
      if (mine(atom)) leaves.push({ side, key, predicate: compilePredicate(atom, scope) });
    }
    if (holdsId) {
      leaves.push({ side, key: HAS_ID, predicate: ({ resourceId }) => (resourceId === undefined ? 3 : 0) });
    }
    return leaves;
  }
}

/** The leaves of an action's conditions by their canonical text. */
function atomsOfAction(index: ActionIndex | undefined): ReadonlyMap<string, AtomNode> {
  const conditions = [
    ...(index?.grants ?? []).map(({ condition }) => condition),
    ...(index?.forbids ?? []).map(({ mustHold }) => mustHold),
  ];
  const atoms = new Map<string, AtomNode>();
  for (const condition of new Set(conditions)) {
    for (const atom of condition === undefined ? [] : atomsOf(condition)) atoms.set(keyOf(atom), atom);
  }
  return atoms;
}

/** Attributes in groups whose members are, directly or through others, compared with each other. */
function comparedStrings(atoms: readonly AtomNode[]): readonly ReadonlySet<string>[] {
  let groups: Set<string>[] = [];
  for (const atom of atoms) {
    const names = new Set(atom.op === 'approvedBy' ? ['id'] : attributesOf(atom));
    if ('right' in atom && typeof atom.right === 'object' && atom.right.ref === 'principal')
      names.add(PRINCIPAL);
    if (names.size === 0) continue;
    const joined = groups.filter((group) => [...names].some((name) => group.has(name)));
    groups = [
      ...groups.filter((group) => !joined.includes(group)),
      new Set([...joined.flatMap((group) => [...group]), ...names]),
    ];
  }
  return groups;
}

function literalsOf(atom: AtomNode): readonly Literal[] {
  if ('values' in atom) return atom.values;
  return 'right' in atom && typeof atom.right !== 'object' ? [atom.right] : [];
}

function keyOf(atom: AtomNode): string {
  return canonicalJson(atom as unknown as CanonicalValue);
}
