/**
 * The decision object. Its fields are private, so it cannot be turned into another one, and a look-alike is told from a
 * real one. Effect and deciding ids are settled at once; reason and missing facts are worked out when asked for.
 */
import type {
  AllowDecision,
  ApprovalNeed,
  Decision,
  DecisionJson,
  Effect,
  MissingFact,
  StepUp,
} from './decision-types.ts';
import {
  AuthzApprovalRequiredError,
  AuthzDeniedError,
  AuthzStepUpRequiredError,
  RingfenceAuthzError,
} from './errors.ts';
import { evaluate, type Verdict } from './evaluate.ts';
import type { Facts } from './facts.ts';
import { type Explanation, explain } from './missing-facts.ts';
import type { PolicyIndex } from './policy-index.ts';
import { stepUpFor } from './step-up.ts';

const EFFECTS: readonly Effect[] = ['allow', 'step_up', 'needs_approval', 'deny'];

/** The only implementation of `Decision`; internal to the package. */
export class EvaluatedDecision {
  readonly #policy: PolicyIndex;
  readonly #facts: Facts;
  readonly #verdict: Verdict;
  #explanation: Explanation | undefined = undefined;

  constructor(policy: PolicyIndex, facts: Facts) {
    this.#policy = policy;
    this.#facts = facts;
    this.#verdict = evaluate(facts);
  }

  /** The decision behind a public one; undefined for a look-alike. */
  static of(decision: unknown): EvaluatedDecision | undefined {
    return typeof decision === 'object' && decision !== null && #verdict in decision ? decision : undefined;
  }

  /** What the decision was made from. */
  static internals(decision: EvaluatedDecision): { readonly policy: PolicyIndex; readonly facts: Facts } {
    return { policy: decision.#policy, facts: decision.#facts };
  }

  get effect(): Effect {
    return EFFECTS[this.#verdict.level] as Effect;
  }

  get action(): string {
    return this.#facts.action;
  }

  get policyHash(): string {
    return this.#policy.hash;
  }

  get grant(): string | undefined {
    return (this.#verdict.level === 3 ? this.#explain().grant : this.#verdict.grant)?.id;
  }

  get forbid(): string | undefined {
    return this.#verdict.forbid?.id;
  }

  get missing(): readonly MissingFact[] {
    return this.#explain().missing;
  }

  get stepUp(): StepUp | undefined {
    const { level } = this.#verdict;
    return level === 1 || level === 2 ? stepUpFor(this.missing, this.#policy.document) : undefined;
  }

  get approvals(): readonly ApprovalNeed[] | undefined {
    if (this.#verdict.level !== 2) return undefined;
    return this.missing.flatMap((fact) => (fact.kind === 'approval' ? [{ n: fact.n, from: fact.from }] : []));
  }

  get reason(): string {
    const { level, forbid } = this.#verdict;
    if (level === 0) return `grant "${this.grant}" applies`;
    const needs = this.missing.map(describeFact).join('; ');
    const lift = needs === '' ? '' : ` (missing: ${needs})`;
    if (forbid !== undefined) return `forbid "${forbid.id}": ${forbid.reason}${lift}`;
    const { problem, sameOrg } = this.#facts;
    if (problem !== undefined) return `the request cannot be evaluated: ${needs}`;
    if (!sameOrg) return 'the resource belongs to another organisation';
    if (this.grant === undefined) return 'no grant gives this action to anybody';
    return `${level === 3 ? 'no grant applies; the nearest is' : 'grant'} "${this.grant}"${lift}`;
  }

  toJSON(): DecisionJson {
    const { effect, action, grant, forbid, reason, missing, stepUp, approvals, policyHash } = this;
    return {
      effect,
      action,
      ...(grant === undefined ? {} : { grant }),
      ...(forbid === undefined ? {} : { forbid }),
      reason,
      missing,
      ...(stepUp === undefined ? {} : { stepUp }),
      ...(approvals === undefined ? {} : { approvals }),
      policyHash,
    };
  }

  #explain(): Explanation {
    this.#explanation ??= freezeExplanation(
      this.#verdict.level === 0
        ? { grant: this.#verdict.grant, missing: [] }
        : explain(this.#policy, this.#facts, this.#verdict.level),
    );
    return this.#explanation;
  }
}

/** What `console.log` shows in Node.js, which asks by a registered symbol. */
Object.defineProperty(EvaluatedDecision.prototype, Symbol.for('nodejs.util.inspect.custom'), {
  value(this: EvaluatedDecision): DecisionJson {
    return this.toJSON();
  },
});
Object.freeze(EvaluatedDecision.prototype);

/** Decides, as the public type. */
export function decide(policy: PolicyIndex, facts: Facts): Decision {
  return new EvaluatedDecision(policy, facts) as unknown as Decision;
}

/**
 * Returns when the decision is an allow, throws otherwise.
 *
 * @throws RingfenceAuthzError `authz.denied`, `authz.step_up_required` or `authz.approval_required`, each with the
 * decision; `authz.invalid_request` for an object that no policy made.
 * @example
 * ```ts
 * const decision = policy.authorize(context, 'entry.approve', entry);
 * assertAllowed(decision);
 * ```
 */
export function assertAllowed(decision: Decision): asserts decision is AllowDecision {
  if (EvaluatedDecision.of(decision) === undefined) {
    throw new RingfenceAuthzError('authz.invalid_request', 'the object is not a decision made by a policy');
  }
  switch (decision.effect) {
    case 'allow':
      return;
    case 'step_up':
      throw new AuthzStepUpRequiredError(decision);
    case 'needs_approval':
      throw new AuthzApprovalRequiredError(decision);
    case 'deny':
      throw new AuthzDeniedError(decision);
  }
}

function describeFact(fact: MissingFact): string {
  switch (fact.kind) {
    case 'request':
      return `${fact.field} ${fact.problem}`;
    case 'tenant':
      return 'the same organisation';
    case 'role':
      return `role ${fact.anyOf.join(' or ')}`;
    case 'attribute':
      return `${fact.expected}${fact.found === 'other' ? '' : ` (${fact.attribute} is ${fact.found === 'missing' ? 'missing' : 'of the wrong type'})`}`;
    case 'time':
      return fact.expected;
    case 'mfa':
      return 'multi-factor authentication';
    case 'sso':
      return 'authentication through the SSO connection';
    case 'acr':
      return `authentication context ${fact.acrValues.join(' or ')}`;
    case 'authentication':
      return `authentication within the last ${Math.floor(fact.maxAgeMs / 1_000)} s`;
    case 'approval':
      return `${fact.n} approval${fact.n === 1 ? '' : 's'} from ${fact.from}`;
  }
}

function freezeExplanation({ grant, missing }: Explanation): Explanation {
  return { grant, missing: Object.freeze(missing.map((fact) => Object.freeze(fact))) };
}
