/**
 * Refusals as answers: problem details (RFC 9457), challenges (RFC 6750, RFC 9470). Invariant: a client is told what it can
 * do about it and nothing else: no reason, no id of a grant, no attribute; not even that a resource exists, when it
 * belongs to another organisation.
 */
import type { ApprovalNeed, Decision } from '../decision-types.ts';
import {
  AuthzApprovalRequiredError,
  AuthzDeniedError,
  AuthzStepUpRequiredError,
  RingfenceAuthzError,
} from '../errors.ts';
import {
  AuthzKeysUnavailableError,
  AuthzSessionInsufficientError,
  AuthzSessionRefusedError,
  AuthzTokenRefusedError,
} from '../session/errors.ts';
import { type StepUpParameters, type StepUpRefusal, stepUpChallenge, stepUpParameters } from '../step-up.ts';

/** Body of a refusal, `application/problem+json`. */
export interface Problem {
  /** Which refusal, an URN. */
  readonly type: `urn:ringfence:authz:${ProblemKind}`;
  /** The refusal in words. */
  readonly title: string;
  /** The status code. */
  readonly status: number;
  /** Parameters of the authentication request that would help (OpenID Connect). */
  readonly step_up?: StepUpParameters;
  /** The approvals that are missing. */
  readonly approvals?: readonly ApprovalNeed[];
}

/** Kinds of refusals. */
export type ProblemKind =
  | 'unauthenticated'
  | 'step_up_required'
  | 'approval_required'
  | 'denied'
  | 'not_found'
  | 'unavailable';

/** A refusal, ready to be sent. */
export interface Refusal {
  /** The status code. */
  readonly status: number;
  /** Headers with lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body, JSON. */
  readonly body: string;
}

const KINDS: Readonly<Record<ProblemKind, readonly [status: number, title: string]>> = {
  unauthenticated: [401, 'Authentication is required'],
  step_up_required: [401, 'A different authentication is required'],
  approval_required: [403, 'Approval by other people is required'],
  denied: [403, 'Not allowed'],
  not_found: [404, 'Not found'],
  unavailable: [503, 'Sessions cannot be verified at the moment'],
};

/** Makes a refusal. It is never cached: the same request may be allowed to somebody else, or later. */
export function refusal(
  kind: ProblemKind,
  headers: Readonly<Record<string, string>> = {},
  more: Pick<Problem, 'step_up' | 'approvals'> = {},
): Refusal {
  const [status, title] = KINDS[kind];
  const problem: Problem = { type: `urn:ringfence:authz:${kind}`, title, status, ...more };
  return Object.freeze({
    status,
    headers: Object.freeze({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...headers,
    }),
    body: JSON.stringify(problem),
  });
}

/** There is no session. */
export function unauthenticated(challenge = 'Bearer'): Refusal {
  return refusal('unauthenticated', { 'www-authenticate': challenge });
}

/** The answer to a decision; undefined for an allow. `hidden`: the resource must look as if it did not exist. */
export function refusalOf(decision: Decision, hidden: boolean): Refusal | undefined {
  switch (decision.effect) {
    case 'allow':
      return undefined;
    case 'step_up':
      return stepUpRefusal(decision);
    case 'needs_approval': {
      const { stepUp, approvals } = decision;
      return refusal(
        'approval_required',
        {},
        { approvals, ...(stepUp === undefined ? {} : { step_up: stepUpParameters(stepUp) }) },
      );
    }
    case 'deny':
      return refusal(hidden ? 'not_found' : 'denied');
  }
}

/** The answer to an error of this package; undefined for one that only the application can answer. */
export function refusalOfError(error: unknown, hidden: boolean): Refusal | undefined {
  if (!(error instanceof RingfenceAuthzError)) return undefined;
  if (error instanceof AuthzTokenRefusedError) {
    const { status, challenge } = error;
    return status === 401 ? unauthenticated(challenge) : refusal('denied', { 'www-authenticate': challenge });
  }
  if (error instanceof AuthzSessionInsufficientError) return stepUpRefusal(error);
  if (error instanceof AuthzSessionRefusedError) {
    return error.reason === 'ended' ? unauthenticated('Bearer error="invalid_token"') : refusal('denied');
  }
  if (error.code === 'authz.key_refused') return unauthenticated('Bearer error="invalid_token"');
  if (error instanceof AuthzKeysUnavailableError) {
    return refusal('unavailable', {
      'retry-after': String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))),
    });
  }
  if (
    error instanceof AuthzDeniedError ||
    error instanceof AuthzStepUpRequiredError ||
    error instanceof AuthzApprovalRequiredError
  ) {
    return refusalOf(error.decision, hidden);
  }
  return undefined;
}

function stepUpRefusal(step: StepUpRefusal): Refusal {
  const challenge = stepUpChallenge(step) ?? 'Bearer error="insufficient_user_authentication"';
  const { stepUp } = step;
  return refusal(
    'step_up_required',
    { 'www-authenticate': challenge },
    stepUp === undefined ? {} : { step_up: stepUpParameters(stepUp) },
  );
}
