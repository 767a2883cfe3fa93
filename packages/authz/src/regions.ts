/**
 * Regions of facts: for one dimension (an attribute, strings that are compared with each other, the clock, a fact of the
 * session, approvals by one role) a finite list of representatives such that every possible fact behaves, in every
 * comparison that occurs, as one of them does. Numbers: each boundary and its neighbours. Strings: each constant, and
 * one text of its own per string compared ("another"). Anything not of the declared type behaves as absent.
 */
import type { AtomNode, Literal } from './condition-node.ts';

/** One representative: what a request has to say to lie in the region. Merged over all dimensions. */
export interface Patch {
  readonly principalId?: string;
  /** null: the resource has no id. */
  readonly resourceId?: string | null;
  readonly attributes?: Readonly<Record<string, Literal>>;
  readonly now?: number;
  readonly mfa?: true;
  readonly sso?: true;
  readonly acr?: string;
  /** Age of the authentication in ms, before `now`. */
  readonly ageMs?: number;
  /** This many people of the role approved. */
  readonly approved?: { readonly role: string; readonly count: number };
}

/** An instant for requests whose outcome does not depend on it, epoch ms. */
export const ANY_INSTANT = 1_800_000_000_000;
const MOST_APPROVALS = 10; // the greatest `n` a policy may state

/** The name `principal` stands for the principal's id among compared strings; no attribute may be called so here. */
export const PRINCIPAL = ' principal';

/** Boundaries and their neighbours, ascending; an integer outside the safe range is not of the type. */
export function integers(boundaries: ReadonlySet<number>): readonly number[] {
  const values = new Set<number>([0]);
  for (const n of boundaries)
    for (const each of [n - 1, n, n + 1]) if (Number.isSafeInteger(each)) values.add(each);
  return [...values].sort((a, b) => a - b);
}

/** `now` and age together: an age is possible only when the instant of authentication is representable. */
export function clockPatches(atoms: readonly AtomNode[]): readonly Patch[] {
  const bounds = new Set<number>();
  const ages = new Set<number>();
  for (const atom of atoms) {
    if (atom.op === 'authenticatedWithin') ages.add(atom.maxAgeMs);
    if (atom.op === 'timeWindow' || atom.op === 'outsideTimeWindow') {
      for (const bound of [atom.from, atom.until]) if (bound !== undefined) bounds.add(bound);
    }
  }
  const sorted = [...bounds].sort((a, b) => a - b);
  const last = Math.max(ANY_INSTANT, sorted.at(-1) ?? 0);
  // The last instant before each bound leaves room for every age that any instant of its region leaves room for.
  const instants = [last, ...sorted.map((bound) => bound - 1)];
  const agesMs = [...ages].sort((a, b) => a - b);
  const representatives = [undefined, 0, ...agesMs.map((age) => age + 1)];
  return instants.flatMap((now) =>
    representatives
      .filter((age) => age === undefined || Number.isSafeInteger(now - age))
      .map((ageMs) => ({ now, ...(ageMs === undefined ? {} : { ageMs }) })),
  );
}

/** Nobody, or as many as some condition asks for, approved in the role. */
export function approvalPatches(role: string, atoms: readonly AtomNode[]): readonly Patch[] {
  const counts = new Set<number>([0]);
  for (const atom of atoms) if (atom.op === 'approvedBy') counts.add(Math.min(atom.n, MOST_APPROVALS));
  return [...counts].sort((a, b) => a - b).map((count) => ({ approved: { role, count } }));
}

/** How many assignments `stringPatches` would make at most. */
export function stringCombinations(variables: readonly string[], constants: number): number {
  return variables.reduce((product) => product * (constants + variables.length + 1), 1);
}

/**
 * All ways in which strings can be equal to each other and to constants, or absent. The first text of its own is the
 * same for whichever string gets it first, so that no two assignments differ by names alone.
 */
export function* stringPatches(
  variables: readonly string[],
  constants: readonly Literal[],
  other: (ordinal: number) => string,
): Generator<Patch> {
  const chosen = new Map<string, Literal | undefined>();
  function* from(position: number, others: readonly string[]): Generator<Patch> {
    const variable = variables[position];
    if (variable === undefined) {
      yield patchOf(chosen);
      return;
    }
    const isText = variable === PRINCIPAL || variable === 'id'; // ids are never empty
    // Absent comes first: a witness then names only what matters. An id that does not matter is there.
    if (variable !== PRINCIPAL && variable !== 'id') {
      chosen.set(variable, undefined);
      yield* from(position + 1, others);
    }
    const fresh = other(others.length);
    for (const value of [...others, fresh, ...constants]) {
      if (isText && (typeof value !== 'string' || value === '')) continue;
      chosen.set(variable, value);
      yield* from(position + 1, value === fresh ? [...others, fresh] : others);
    }
    if (variable === 'id') {
      chosen.set(variable, undefined);
      yield* from(position + 1, others);
    }
    chosen.delete(variable);
  }
  yield* from(0, []);
}

function patchOf(chosen: ReadonlyMap<string, Literal | undefined>): Patch {
  const attributes: Record<string, Literal> = {};
  let patch: { principalId?: string; resourceId?: string | null } = {};
  for (const [variable, value] of chosen) {
    if (variable === PRINCIPAL) patch = { ...patch, principalId: String(value) };
    else if (variable === 'id') patch = { ...patch, resourceId: value === undefined ? null : String(value) };
    else if (value !== undefined) attributes[variable] = value;
  }
  return { ...patch, attributes };
}
