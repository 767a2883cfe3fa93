/**
 * Step-up authentication in the terms of RFC 9470: which `acr_values` and `max_age` a new authentication must satisfy,
 * and the challenge a protected resource answers with (`insufficient_user_authentication`, section 3).
 */
import type { MissingFact, StepUp } from './decision-types.ts';
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

/** A decision that asks for a step-up, or an organisation's refusal of a session. */
export interface StepUpRefusal {
  /** What the new authentication must satisfy; absent when nothing of the session is missing. */
  readonly stepUp?: StepUp | undefined;
}

/** Parameters of an OpenID Connect authentication request. */
export interface StepUpParameters {
  /** Acceptable authentication context classes, separated by spaces. Absent when the class does not matter. */
  readonly acr_values?: string;
  /** Greatest age of the authentication, in seconds, as a decimal. Absent when the age does not matter. */
  readonly max_age?: string;
}

/**
 * The parameters a client adds to its authentication request to satisfy a step-up (OpenID Connect Core section 3.1.2.1).
 * When `stepUp.sso` is set, send the request to the issuer of the organisation's connection.
 *
 * @example
 * ```ts
 * buildAuthorizationUrl(config, { ...parameters, ...stepUpParameters(error.stepUp) });
 * ```
 */
export function stepUpParameters({ acrValues, maxAge }: StepUp): StepUpParameters {
  return {
    ...(acrValues === undefined ? {} : { acr_values: acrValues.join(' ') }),
    ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
  };
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
export function stepUpChallenge(refusal: StepUpRefusal): string | undefined {
  const { stepUp } = refusal;
  if (stepUp === undefined) return undefined;
  const { acrValues, maxAge } = stepUp;
  return [
    'Bearer error="insufficient_user_authentication"',
    'error_description="A different authentication is required"',
    ...(acrValues === undefined ? [] : [`acr_values="${acrValues.join(' ')}"`]),
    ...(maxAge === undefined ? [] : [`max_age="${maxAge}"`]),
  ].join(', ');
}
