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
  /** What was handed in is no row filter of this package: only the policy says which rows. Fix: hand in what `rowFilter` or the `filter` of a key gave, not a copy of it. */
  | 'authz.invalid_filter'
  /** The record does not belong to this policy, or was changed. Fix: replay it against the archived policy with the recorded hash. */
  | 'authz.replay_mismatch'
  /** The token is refused; `reason` says why. Fix: answer with its `status` and `challenge` and let the client authenticate again. */
  | 'authz.token_refused'
  /** The keys of the issuer cannot be fetched, and those at hand are too old. Fix: answer 503 with `Retry-After`; look at the issuer's JWKS endpoint. */
  | 'authz.keys_unavailable'
  /** The session may not enter this organisation; `reason` says why. Fix: answer 403; for `ended`, 401. */
  | 'authz.session_refused'
  /** The organisation asks for a stronger authentication than the session has. Fix: authenticate again as `stepUp` says (RFC 9470), then repeat the request. */
  | 'authz.session_insufficient'
  /** The change of the organisation's assurance is refused; nothing was changed. Fix: see `reason` (the plan, or the session that asks). */
  | 'authz.assurance_refused'
  /** The conditions of one action have more cases than an analysis goes through; nothing was sampled. Fix: raise `limit`, or split the conditions of the action. */
  | 'authz.analysis_too_large'
  /** Somebody tried to give rights they do not hold themselves; nothing was given. Fix: give less; `witness` is a request that would be allowed too much. */
  | 'authz.ceiling_exceeded'
  /** The API key is refused; `reason` says why. Fix: answer 401 with `invalid_token`; create or rotate the key. */
  | 'authz.key_refused'
  /** The change of a key was made already, or the key is no longer there to be changed; nothing was changed. Fix: read the key again and see `reason`. */
  | 'authz.key_conflict'
  /** The integration credential is not handed out; `reason` says why. Fix: connect the integration anew, or ask for a scope it has. */
  | 'authz.credential_refused'
  /** The application answers on routes that declare no permission; it must not start. Fix: declare each of `routes` in the registry, or give it a reasoned `public`. */
  | 'authz.undeclared_routes'
  /** A decision record that a policy is to be shrunk by is malformed or contradicts the policy, or there is no allow. Fix: see the message for its number; export the records again. */
  | 'authz.invalid_record'
  /** Revocations of other processes were not read: the database failed or did not answer; they are read again. Fix: look at the database; if it lasts, take the process out of service. */
  | 'authz.revocations_unread';

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
    super('authz.denied', `${decision.action || 'the request is'} denied: ${decision.reason}`);
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

/** How large an analysis would have been. */
export interface AnalysisSize {
  /** Independent facts that the conditions of the action speak of. */
  readonly dimensions: number;
  /** Combinations of their regions. */
  readonly regions: number;
  /** The most that were to be gone through. */
  readonly limit: number;
}

/** An analysis was given up: an answer from a part of the cases would be no answer. */
export class AuthzAnalysisTooLargeError extends RingfenceAuthzError {
  declare readonly code: 'authz.analysis_too_large';
  /** The action whose conditions are too large. */
  readonly action: string;
  /** The figures. */
  readonly size: AnalysisSize;

  constructor(action: string, size: AnalysisSize) {
    const { dimensions, regions, limit } = size;
    super(
      'authz.analysis_too_large',
      `${action}: ${regions} combinations of ${dimensions} independent facts are more than ${limit}`,
    );
    this.action = action;
    this.size = Object.freeze({ ...size });
  }
}

/** A route of the application. */
export interface RouteName {
  /** HTTP method in upper case; `ALL`, `USE` or `PARAM` (of `app.param`) for an entry that runs for every method. */
  readonly method: string;
  /** Path as the framework has it. */
  readonly path: string;
}

/** The application answers on routes that the registry does not know. */
export class AuthzUndeclaredRoutesError extends RingfenceAuthzError {
  declare readonly code: 'authz.undeclared_routes';
  /** Every one of them, at least one. */
  readonly routes: readonly RouteName[];

  constructor(routes: readonly RouteName[]) {
    const names = routes.map(({ method, path }) => `${method} ${path}`).join(', ');
    super('authz.undeclared_routes', `routes without a declared permission: ${names}`);
    this.routes = Object.freeze(routes.map(({ method, path }) => Object.freeze({ method, path })));
  }
}
