/**
 * What decision records say about a policy, gathered in one pass: which grants allowed which actions, how often, and,
 * where the inputs of the decision are at hand, one representative of each kind of situation. Two situations are of one
 * kind when roles and the level of every leaf that the policy, or a narrower one made by narrow.ts, could ask for are
 * the same; no policy made of these leaves decides them differently, so one stands for all.
 *
 * Invariant: no record is passed over in silence. A malformed one, one whose inputs do not have its hash, and one that
 * the policy does not decide as recorded, is an error with its number.
 */
import { RingfenceAuthzError } from '../errors.ts';
import { evaluate } from '../evaluate.ts';
import type { Facts } from '../facts.ts';
import { compilePredicate, type Predicate } from '../level.ts';
import type { ActionIndex, PolicyIndex } from '../policy-index.ts';
import { type DecisionRecord, factsOf, inputsOfRecord } from '../record.ts';
import type { DecisionInputs } from '../record-inputs.ts';
import { leavesOf, scopeOf } from './narrow.ts';

/** A record of the audit log, with the inputs of its decision where they were kept. */
export interface RecordedDecision {
  /** The record. */
  readonly record: DecisionRecord;
  /** What `decisionInputs` gave. Without it, the grant keeps all its roles and its condition for this action. */
  readonly inputs?: unknown;
}

/** A kind of situation that was allowed. */
export interface Kind {
  readonly inputs: DecisionInputs;
  readonly facts: Facts;
  count: number;
}

/** What a grant allowed for one action. */
export interface Use {
  readonly grant: string;
  readonly action: string;
  /** Allows without inputs. */
  bare: number;
  /** Allows with inputs, by kind of situation. */
  readonly kinds: Map<string, Kind>;
}

/** How many records there were. */
export interface RecordCounts {
  /** All records read. */
  total: number;
  /** Allows of this policy. */
  allows: number;
  /** Other outcomes of this policy: they keep nothing. */
  refusals: number;
  /** Records of other policies: not looked at any further. */
  otherPolicy: number;
}

const EFFECTS: ReadonlySet<unknown> = new Set(['allow', 'step_up', 'needs_approval', 'deny']);

/** Gathers records of one policy. */
export class Evidence {
  readonly counts: RecordCounts = { total: 0, allows: 0, refusals: 0, otherPolicy: 0 };
  readonly #index: PolicyIndex;
  /** By action, then by grant: exactly those that the policy has. */
  readonly #uses: Map<string, Map<string, Use>> = new Map();
  readonly #leaves: Map<string, readonly Predicate[]> = new Map();

  constructor(index: PolicyIndex) {
    this.#index = index;
    for (const { action, grants } of index.actions.values()) {
      const uses = grants.map(({ id }) => [id, { grant: id, action, bare: 0, kinds: new Map() }] as const);
      this.#uses.set(action, new Map(uses));
    }
  }

  /** Everything that allowed something. */
  get uses(): readonly Use[] {
    return [...this.#uses.values()].flatMap((byGrant) =>
      [...byGrant.values()].filter(({ bare, kinds }) => bare > 0 || kinds.size > 0),
    );
  }

  /**
   * Takes in a record.
   *
   * @throws RingfenceAuthzError `authz.invalid_record`; with inputs also `authz.invalid_request` and `authz.replay_mismatch`.
   */
  add(evidence: RecordedDecision): void {
    const { counts } = this;
    counts.total += 1;
    const { record, inputs } = plain(evidence) ? evidence : this.#refuse('is not an object');
    if (!plain(record)) this.#refuse('has no record');
    const { version, policy, effect, action } = record;
    if (version !== 1) this.#refuse('is not of version 1');
    if (policy !== this.#index.hash) {
      if (!isHash(policy)) this.#refuse('names no policy');
      counts.otherPolicy += 1;
      return;
    }
    if (!EFFECTS.has(effect)) this.#refuse('has no known effect');
    if (!isHash(record.inputs)) this.#refuse('has no hash of its inputs');
    if (effect !== 'allow') {
      if (typeof action !== 'string') this.#refuse('names no action');
      counts.refusals += 1;
      return;
    }
    const use = this.#uses.get(action)?.get(record.grant as string);
    if (use === undefined || record.forbid !== undefined) {
      this.#refuse('is an allow that no grant of the policy can have given');
    }
    if (inputs === undefined) use.bare += 1;
    else this.#situation(use, record, inputs);
    counts.allows += 1;
  }

  #situation(use: Use, record: DecisionRecord, given: unknown): void {
    const inputs = inputsOfRecord(record, given);
    if (inputs.action !== use.action) this.#refuse('has inputs of another action');
    const facts = factsOf(this.#index, inputs);
    const { level, grant } = evaluate(facts);
    if (level !== 0 || grant?.id !== use.grant) this.#refuse('is not how the policy decides its inputs');
    let key = facts.roles.length === 1 ? `${facts.roles[0]}` : facts.roles.toSorted((a, b) => a - b).join();
    key += '|';
    for (const leaf of this.#leavesOf(use.action)) key += leaf(facts);
    const known = use.kinds.get(key);
    if (known !== undefined) known.count += 1;
    else use.kinds.set(key, { inputs, facts, count: 1 });
  }

  #leavesOf(action: string): readonly Predicate[] {
    const known = this.#leaves.get(action);
    if (known !== undefined) return known;
    const index = this.#index.actions.get(action) as ActionIndex;
    const scope = scopeOf(this.#index, index);
    const leaves = leavesOf(this.#index, index).map((atom) => compilePredicate(atom, scope));
    this.#leaves.set(action, leaves);
    return leaves;
  }

  #refuse(problem: string): never {
    throw new RingfenceAuthzError('authz.invalid_record', `record ${this.counts.total} ${problem}`);
  }
}

/**
 * 64 lower-case hex digits. Asked for each of millions of records, hence without branches, which random digits mispredict:
 * the sign of `bad` is set when a code lies neither in 0 to 9 nor in a to f.
 */
function isHash(value: unknown): boolean {
  if (typeof value !== 'string' || value.length !== 64) return false;
  let bad = 0;
  for (let k = 0; k < 64; k += 1) {
    const code = value.charCodeAt(k);
    const digit = (0x39 - code) | (code - 0x30);
    const letter = (0x66 - code) | (code - 0x61);
    bad |= digit & letter;
  }
  return bad >= 0;
}

function plain(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
