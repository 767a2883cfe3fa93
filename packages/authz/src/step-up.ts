/**
 * Step-up authentication in the terms of RFC 9470: which `acr_values` and `max_age` a new authentication must satisfy,
 * and the challenge a protected resource answers with (`insufficient_user_authentication`, section 3).
 */
import type { ApprovalDecision, MissingFact, StepUp, StepUpDecision } from './decision-types.ts';
import type { PolicyDocument } from './policy-types.ts';

/** Joins the missing session facts into one demand; undefined when none is missing. */
export function stepUpFor(
  missing: readonly MissingFact[],
  { acrLevels = [], mfaAcr }: PolicyDocument,
): StepUp | undefined {
  let lowest = -1;
  let maxAgeMs = Infinity;
  let mfa = false;
  let sso = false;
  for (const fact of missing) {
    if (fact.kind === 'acr') lowest = Math.max(lowest, acrLevels.indexOf(fact.acrValues[0] ?? ''));
    if (fact.kind === 'authentication') maxAgeMs = Math.min(maxAgeMs, fact.maxAgeMs);
    if (fact.kind === 'mfa') {
      mfa = true;
      if (mfaAcr !== undefined) lowest = Math.max(lowest, acrLevels.indexOf(mfaAcr));
    }
    if (fact.kind === 'sso') sso = true;
  }
  if (lowest < 0 && maxAgeMs === Infinity && !mfa && !sso) return undefined;
  return Object.freeze({
    ...(lowest < 0 ? {} : { acrValues: Object.freeze(acrLevels.slice(lowest)) }),
    ...(maxAgeMs === Infinity ? {} : { maxAge: Math.floor(maxAgeMs / 1_000) }),
    mfa,
    sso,
  });
}

/**
 * The value of the `WWW-Authenticate` header for a step-up (RFC 9470 section 3), to be sent with status 401. Undefined
 * when the decision asks for nothing of the session.
 *
 * @example
 * ```ts
 * // Bearer error="insufficient_user_authentication", …, acr_values="urn:example:mfa", max_age="300"
 * response.setHeader('WWW-Authenticate', stepUpChallenge(decision));
 * ```
 */
export function stepUpChallenge(decision: StepUpDecision | ApprovalDecision): string | undefined {
  const { stepUp } = decision;
  if (stepUp === undefined) return undefined;
  const { acrValues, maxAge } = stepUp;
  return [
    'Bearer error="insufficient_user_authentication"',
    'error_description="A different authentication is required"',
    ...(acrValues === undefined ? [] : [`acr_values="${acrValues.join(' ')}"`]),
    ...(maxAge === undefined ? [] : [`max_age="${maxAge}"`]),
  ].join(', ');
}
