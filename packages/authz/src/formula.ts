/**
 * Conditions as hash-consed formulas over levels (see level.ts): a constant, a leaf, a maximum (`all`) or a minimum
 * (`any`). Equal formulas are one number, so "have we been here before" is a comparison of numbers. Deciding all leaves
 * of one dimension of the facts gives a smaller formula; deciding all of them gives a constant. That is a multi-valued
 * decision diagram, built only where it is walked.
 */
import type { Level } from './level.ts';

/** A formula of one store. 0 to 3 are the constants. */
export type Formula = number;

/** The set of levels a formula may take, as bits. */
export type LevelSet = number;

interface Leaf {
  readonly dimension: number;
  /** Level by region of the dimension. */
  readonly levels: readonly Level[];
}

interface Part {
  readonly op: 'all' | 'any';
  readonly of: readonly Formula[];
}

type FormulaNode = { readonly levels: LevelSet } & (
  | { readonly leaf: Leaf; readonly part?: undefined }
  | { readonly leaf?: undefined; readonly part: Part }
  | { readonly leaf?: undefined; readonly part?: undefined }
);

/** Makes formulas and decides leaves. */
export class FormulaStore {
  readonly #nodes: FormulaNode[] = [{ levels: 1 }, { levels: 2 }, { levels: 4 }, { levels: 8 }];
  readonly #known: Map<string, Formula> = new Map();
  readonly #decided: Map<string, Formula> = new Map();

  /** A leaf by the level it has in each region of its dimension; a constant when that does not differ. */
  leaf(dimension: number, levels: readonly Level[]): Formula {
    const [first = 3] = levels;
    if (levels.every((level) => level === first)) return first;
    let set = 0;
    for (const level of levels) set |= 1 << level;
    return this.#intern(`${dimension}:${levels.join('')}`, { levels: set, leaf: { dimension, levels } });
  }

  /** Maximum of formulas: 0 when there is none. */
  all(of: readonly Formula[]): Formula {
    return this.#combine('all', of);
  }

  /** Minimum of formulas: 3 when there is none. */
  any(of: readonly Formula[]): Formula {
    return this.#combine('any', of);
  }

  /** Every level the formula may take is in this set; not every member need be taken. */
  levels(formula: Formula): LevelSet {
    return (this.#nodes[formula] as FormulaNode).levels;
  }

  /** The formula when the facts of one dimension lie in a region. */
  decide(formula: Formula, dimension: number, region: number): Formula {
    if (formula < 4) return formula;
    const { leaf, part } = this.#nodes[formula] as FormulaNode;
    if (leaf !== undefined) return leaf.dimension === dimension ? (leaf.levels[region] as Level) : formula;
    const key = `${formula}/${dimension}/${region}`;
    const known = this.#decided.get(key);
    if (known !== undefined) return known;
    const { op, of } = part as Part;
    const decided = this.#combine(
      op,
      of.map((each) => this.decide(each, dimension, region)),
    );
    this.#decided.set(key, decided);
    return decided;
  }

  /** The dimensions that leaves of the formula belong to. */
  dimensions(formula: Formula, into: Set<number> = new Set()): ReadonlySet<number> {
    const { leaf, part } = this.#nodes[formula] as FormulaNode;
    if (leaf !== undefined) into.add(leaf.dimension);
    for (const each of part?.of ?? []) this.dimensions(each, into);
    return into;
  }

  #combine(op: 'all' | 'any', of: readonly Formula[]): Formula {
    const pick = op === 'all' ? Math.max : Math.min;
    const absorbing = op === 'all' ? 3 : 0;
    let constant = op === 'all' ? 0 : 3;
    const parts = new Set<Formula>();
    for (const each of of) {
      if (each < 4) constant = pick(constant, each);
      else {
        const { part } = this.#nodes[each] as FormulaNode;
        if (part?.op === op) {
          for (const inner of part.of) {
            if (inner < 4) constant = pick(constant, inner);
            else parts.add(inner);
          }
        } else parts.add(each);
      }
    }
    if (constant === absorbing || parts.size === 0) return constant;
    const neutral = op === 'all' ? 0 : 3;
    const sorted = [...parts].sort((a, b) => a - b);
    if (constant !== neutral) sorted.unshift(constant);
    const [only] = sorted;
    if (only !== undefined && sorted.length === 1) return only;
    let levels = op === 'all' ? 1 : 8;
    for (const each of sorted) levels = joined(levels, this.levels(each), pick);
    return this.#intern(`${op}:${sorted.join()}`, { levels, part: { op, of: sorted } });
  }

  #intern(key: string, node: FormulaNode): Formula {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const formula = this.#nodes.push(node) - 1;
    this.#known.set(key, formula);
    return formula;
  }
}

function joined(a: LevelSet, b: LevelSet, pick: (x: number, y: number) => number): LevelSet {
  let set = 0;
  for (let x = 0; x < 4; x += 1) {
    if ((a & (1 << x)) === 0) continue;
    for (let y = 0; y < 4; y += 1) if ((b & (1 << y)) !== 0) set |= 1 << pick(x, y);
  }
  return set;
}
