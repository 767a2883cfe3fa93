/**
 * Every error of this package: one base class, a closed union of stable codes, and one class per kind of refusal.
 * Invariant: no message carries the value of an attribute of a resource, only names that stand in the policy, and ids.
 */
import type { ApprovalDecision, DenyDecision, StepUpDecision } from './decision-types.ts';

/** The stable code of every error this package throws. */
export type AuthzErrorCode =
  /** No grant applies, a forbid applies, or the request could not be evaluated; `decision.reason` and `decision.missing` say which. Fix: answer 403. */
  | 'authz.denied'
  /** Only a fact about the session is missing. Fix: authenticate again as `decision` says (RFC 9470), then repeat the request. */
  | 'authz.step_up_required'
  /** Only approvals by other people are missing. Fix: collect as many as `decision` says, then repeat the request. */
  | 'authz.approval_required'
  /** The policy document is wrong; nothing of it is in force. Fix: mend every entry of `issues`. */
  | 'authz.invalid_policy'
  /** Reading the request threw. Fix: hand in plain data, no getters or proxies. */
  | 'authz.invalid_request'
  /** The columns of a filter do not fit the attributes of the resource. Fix: map every attribute the policy speaks of to a column. */
  | 'authz.invalid_columns'
  /** The record does not belong to this policy, or was changed. Fix: replay it against the archived policy with the recorded hash. */
  | 'authz.replay_mismatch';

/** Base class of all errors of this package. */
export class RingfenceAuthzError extends Error {
  /** Name of the class family, for logs. */
  override readonly name: string = 'RingfenceAuthzError';
  /** Stable machine-readable code. */
  readonly code: AuthzErrorCode;

  constructor(code: AuthzErrorCode, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
  }
}

/** The decision was deny: no grant applies, a forbid applies, or the request could not be evaluated. */
export class AuthzDeniedError extends RingfenceAuthzError {
  declare readonly code: 'authz.denied';
  /** The decision that refused. */
  readonly decision: DenyDecision;

  constructor(decision: DenyDecision) {
    super('authz.denied', `${decision.action} denied: ${decision.reason}`);
    this.decision = decision;
  }
}

/** The only thing missing is a fact about the session: authenticate again, then repeat the request. */
export class AuthzStepUpRequiredError extends RingfenceAuthzError {
  declare readonly code: 'authz.step_up_required';
  /** The decision, with what the new authentication must satisfy. */
  readonly decision: StepUpDecision;

  constructor(decision: StepUpDecision) {
    super('authz.step_up_required', `${decision.action} needs step-up authentication: ${decision.reason}`);
    this.decision = decision;
  }
}

/** Approvals by other people are missing. */
export class AuthzApprovalRequiredError extends RingfenceAuthzError {
  declare readonly code: 'authz.approval_required';
  /** The decision, with how many approvals are missing and from whom. */
  readonly decision: ApprovalDecision;

  constructor(decision: ApprovalDecision) {
    super('authz.approval_required', `${decision.action} needs approval: ${decision.reason}`);
    this.decision = decision;
  }
}

/** One thing that is wrong with a policy document. */
export interface PolicyIssue {
  /** Where, as a path into the document, e.g. `grants[3].actions[0]`. */
  readonly path: string;
  /** What is wrong and what was expected. */
  readonly message: string;
}

/** A policy document was refused; nothing of it is in force. */
export class AuthzInvalidPolicyError extends RingfenceAuthzError {
  declare readonly code: 'authz.invalid_policy';
  /** Everything that is wrong, at least one. */
  readonly issues: readonly PolicyIssue[];

  constructor(issues: readonly PolicyIssue[]) {
    const first = issues.slice(0, 5).map((issue) => `${issue.path}: ${issue.message}`);
    const more = issues.length > first.length ? `; and ${issues.length - first.length} more` : '';
    super('authz.invalid_policy', `the policy is refused: ${first.join('; ')}${more}`);
    this.issues = Object.freeze(issues.map((issue) => Object.freeze({ ...issue })));
  }
}
