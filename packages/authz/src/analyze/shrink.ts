/**
 * The smallest policy that a log of decisions asks for: grants without a recorded allow go, role by role and action by
 * action; conditions become narrower where every recorded allow satisfied more. Resources, roles and forbids stay.
 *
 * Every result comes with its proof, made by other code than the result: all recorded allows are decided again by the
 * new policy, and `implies` shows over all situations that it allows nothing the old one does not.
 */

import type { CanonicalValue } from '../canonical.ts';
import { canonicalJson } from '../canonical.ts';
import type { ConditionNode } from '../condition-node.ts';
import { RingfenceAuthzError } from '../errors.ts';
import { evaluate } from '../evaluate.ts';
import { type AnalysisLimit, type Implication, implies, indexOf } from '../implication.ts';
import { type Policy, policyFromJSON } from '../policy.ts';
import type { ActionIndex, PolicyIndex } from '../policy-index.ts';
import type { GrantDocument, PolicyDocument } from '../policy-types.ts';
import { factsOf } from '../record.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import { Evidence, type Kind, type RecordCounts, type RecordedDecision, type Use } from './evidence.ts';
import { narrowed } from './narrow.ts';

/** Settings of `shrink`. */
export interface ShrinkOptions extends AnalysisLimit {
  /**
   * A grant's roles and condition for an action are narrowed from this many recorded allows with inputs on. Default 100:
   * a handful of requests says little about the next one.
   */
  readonly narrowFrom?: number;
}

/** What became of a grant for one action. */
export interface Shrinkage {
  /** Id of the grant. */
  readonly grant: string;
  /** The action. */
  readonly action: string;
  /** Recorded allows. */
  readonly allows: number;
  /** Roles that lost it: all of the grant's when the action is no longer granted by it. */
  readonly removedRoles: readonly string[];
  /** The new condition; absent where it is as before. */
  readonly when?: ConditionNode;
}

/** Why the result can be trusted. */
export interface ShrinkProof {
  /** Recorded allows that were decided again: each kind of situation by its first record. */
  readonly replayed: number;
  /** Recorded allows without inputs, whose grant stands with all its roles and its condition. */
  readonly kept: number;
  /** Recorded allows that the new policy does not allow: zero, and what they were if not. */
  readonly lost: readonly DecisionInputs[];
  /** Recorded allows without inputs whose grant does not stand unchanged: zero. */
  readonly unproven: number;
  /** That everything the new policy allows is allowed by the old one. */
  readonly implication: Implication;
  /** True when nothing is lost, nothing unproven, and nothing new. */
  readonly holds: boolean;
}

/** The answer of `shrink`. */
export interface Shrunk {
  /** The smaller policy. */
  readonly policy: Policy;
  /** What changed, by grant and action; empty when nothing could be taken away. */
  readonly changes: readonly Shrinkage[];
  /** How many records there were. */
  readonly counts: Readonly<RecordCounts>;
  /** The proof. */
  readonly proof: ShrinkProof;
}

/**
 * The smallest policy that allows every recorded allow, with the proof. It is a proposal: rights that are needed once a
 * year are not in a month of records.
 *
 * @throws RingfenceAuthzError `authz.invalid_record` for a malformed record, or when none is an allow of this policy;
 * `authz.replay_mismatch` when inputs are not those of their record; `authz.analysis_too_large`.
 * @example
 * ```ts
 * const { policy: smaller, proof } = await shrink(policy, records);
 * if (proof.holds) await writeFile('policy.json', JSON.stringify(smaller));
 * ```
 */
export async function shrink(
  policy: Policy,
  records: AsyncIterable<RecordedDecision>,
  { narrowFrom = 100, ...limit }: ShrinkOptions = {},
): Promise<Shrunk> {
  const index = indexOf(policy);
  const evidence = new Evidence(index);
  for await (const record of records) evidence.add(record);
  const { counts, uses } = evidence;
  if (uses.length === 0) {
    const message = `none of ${counts.total} records is an allow of policy ${policy.hash}`;
    throw new RingfenceAuthzError('authz.invalid_record', message);
  }
  const parts = uses.map((use) => smallest(index, use, narrowFrom));
  const smaller = policyFromJSON(assembled(index.document, parts));
  return {
    policy: smaller,
    changes: changesOf(index.document, parts),
    counts: { ...counts },
    proof: prove(policy, smaller, uses, limit),
  };
}

/** Proves a result by the evidence; shares no code with what made it. */
export function prove(
  policy: Policy,
  smaller: Policy,
  uses: readonly Use[],
  limit: AnalysisLimit = {},
): ShrinkProof {
  const [before, after] = [indexOf(policy), indexOf(smaller)];
  const kinds = uses.flatMap((use) => [...use.kinds.values()]);
  const lost = kinds.filter(({ inputs }) => evaluate(factsOf(after, inputs)).level !== 0);
  const bare = uses.filter((use) => use.bare > 0);
  const sum = (each: readonly Use[]): number => each.reduce((total, use) => total + use.bare, 0);
  const standing = bare.filter((use) => stands(before, after, use));
  const unproven = sum(bare) - sum(standing);
  const implication = implies(smaller, policy, limit);
  return {
    replayed: kinds.reduce((total, { count }) => total + count, 0),
    kept: sum(standing),
    lost: lost.map(({ inputs }) => inputs),
    unproven,
    implication,
    holds: lost.length === 0 && unproven === 0 && implication.implied,
  };
}

/** One action of one grant, as small as its use allows. */
interface Part {
  readonly use: Use;
  readonly allows: number;
  readonly roles: readonly string[];
  readonly when: ConditionNode | undefined;
}

function smallest(index: PolicyIndex, use: Use, narrowFrom: number): Part {
  const action = index.actions.get(use.action) as ActionIndex;
  const grant = action.grants.find(({ id }) => id === use.grant);
  if (grant === undefined) throw new TypeError(`no grant ${use.grant} of ${use.action}`);
  const kinds = [...use.kinds.values()];
  const known = kinds.reduce((total, { count }) => total + count, 0);
  const allows = use.bare + known;
  if (use.bare > 0 || known < narrowFrom) return { use, allows, roles: grant.roles, when: grant.condition };
  const when = narrowed(
    index,
    action,
    grant.condition,
    kinds.map(({ facts }) => facts),
  );
  return { use, allows, roles: neededRoles(index, grant.roles, kinds), when };
}

/** As few of the grant's roles as every situation holds one of: the most frequent first. */
function neededRoles(
  index: PolicyIndex,
  roles: readonly string[],
  kinds: readonly Kind[],
): readonly string[] {
  const needed: string[] = [];
  let open = kinds;
  while (open.length > 0) {
    const holders = (role: string): readonly Kind[] =>
      open.filter(({ facts }) => facts.roles.includes(index.roles.get(role) as number));
    const [best] = roles
      .map((role) => ({ role, held: holders(role) }))
      .sort((a, b) => b.held.length - a.held.length);
    if (best === undefined || best.held.length === 0) return roles;
    needed.push(best.role);
    open = open.filter((kind) => !best.held.includes(kind));
  }
  return needed.sort();
}

/** The document: parts of one grant with the same roles and condition are one grant again. */
function assembled(document: PolicyDocument, parts: readonly Part[]): PolicyDocument {
  const taken = new Set([...document.grants, ...document.forbids].map(({ id }) => id));
  const grants = document.grants.flatMap(({ id }) => {
    const groups = new Map<string, GrantDocument>();
    for (const { use, roles, when } of parts.filter((part) => part.use.grant === id)) {
      const key = canonicalJson([[...roles], (when ?? null) as unknown as CanonicalValue]);
      const actions = [...(groups.get(key)?.actions ?? []), use.action];
      groups.set(key, { id, roles, actions, ...(when === undefined ? {} : { when }) });
    }
    return [...groups.values()].map((grant, k) =>
      k === 0 ? grant : { ...grant, id: freeId(id, k + 1, taken) },
    );
  });
  return { ...document, grants };
}

/** `id-2`, `id-3` …, within the length of a name, and taken by nothing else. */
function freeId(id: string, ordinal: number, taken: Set<string>): string {
  const suffix = `-${ordinal}`;
  const name = id.slice(0, 63 - suffix.length) + suffix;
  if (taken.has(name)) return freeId(id, ordinal + 1, taken);
  taken.add(name);
  return name;
}

function changesOf({ grants }: PolicyDocument, parts: readonly Part[]): readonly Shrinkage[] {
  return grants.flatMap(({ id, actions, roles, when }) =>
    actions.flatMap((action): readonly Shrinkage[] => {
      const part = parts.find(({ use }) => use.grant === id && use.action === action);
      if (part === undefined) return [{ grant: id, action, allows: 0, removedRoles: roles }];
      const removedRoles = roles.filter((role) => !part.roles.includes(role));
      if (removedRoles.length === 0 && part.when === when) return [];
      const narrower = part.when === when || part.when === undefined ? {} : { when: part.when };
      return [{ grant: id, action, allows: part.allows, removedRoles, ...narrower }];
    }),
  );
}

/** True when a grant still gives the action to all its roles under its condition, and all but grants is as before. */
function stands(before: PolicyIndex, after: PolicyIndex, { action, grant: id }: Use): boolean {
  const old = before.document.grants.find((grant) => grant.id === id);
  const same = (a: unknown, b: unknown): boolean =>
    canonicalJson((a ?? null) as unknown as CanonicalValue) === canonicalJson((b ?? null) as CanonicalValue);
  const rest = ({ document }: PolicyIndex) => ({ ...document, grants: [] });
  if (old === undefined || !same(rest(before), rest(after))) return false;
  return after.document.grants.some(
    ({ actions, roles, when }) => actions.includes(action) && same(roles, old.roles) && same(when, old.when),
  );
}
