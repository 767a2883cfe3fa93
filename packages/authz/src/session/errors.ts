/**
 * The refusals of tokens and sessions. Invariant: no message holds a token, a claim's value, or a key; reasons are a
 * closed union, meant for logs and metrics. A client is told no more than the status and the challenge.
 */
import type { StepUp } from '../decision-types.ts';
import { RingfenceAuthzError } from '../errors.ts';
import { stepUpChallenge } from '../step-up.ts';

/** Why a token was refused. */
export type TokenRefusal =
  /** Not a compact JWS of three parts, not strict JSON, or a member twice. */
  | 'malformed'
  /** Longer than 16,384 characters. */
  | 'too_large'
  /** `alg` is not one the issuer's configuration lists. */
  | 'algorithm'
  /** `typ` is that of another kind of token. */
  | 'type'
  /** `crit` or `b64`: an extension that must be understood and is not. */
  | 'extension'
  /** `iss` is not configured for this kind of token. */
  | 'issuer'
  /** `aud` or `azp` names somebody else. */
  | 'audience'
  /** `client_id` or `azp` is not one the issuer's configuration allows. */
  | 'client'
  /** A scope that the issuer's configuration requires is missing. */
  | 'scope'
  /** The issuer publishes no such key. */
  | 'unknown_key'
  /** The signature does not verify. */
  | 'signature'
  /** `exp` has passed, or the token is older than the configured age. */
  | 'expired'
  /** `nbf`, `iat` or `auth_time` lies in the future. */
  | 'not_yet_valid'
  /** A claim is missing or of the wrong type. */
  | 'claims'
  /** `nonce` is not that of the sign-in. */
  | 'nonce'
  /** Token, session, subject or organisation was revoked. */
  | 'revoked';

/** A token was refused. */
export class AuthzTokenRefusedError extends RingfenceAuthzError {
  declare readonly code: 'authz.token_refused';
  /** Why, for logs. */
  readonly reason: TokenRefusal;

  constructor(reason: TokenRefusal, message: string, options: { readonly cause?: unknown } = {}) {
    super('authz.token_refused', `the token is refused (${reason}): ${message}`, options);
    this.reason = reason;
  }

  /** The status to answer with: 403 for a missing scope, else 401 (RFC 6750 section 3.1). */
  get status(): 401 | 403 {
    return this.reason === 'scope' ? 403 : 401;
  }

  /** Value of `WWW-Authenticate` (RFC 6750 section 3). Beside a missing scope it does not say why. */
  get challenge(): string {
    return this.reason === 'scope' ? 'Bearer error="insufficient_scope"' : 'Bearer error="invalid_token"';
  }
}

/** The issuer's keys are not to be had at the moment. The same request may succeed later. */
export class AuthzKeysUnavailableError extends RingfenceAuthzError {
  declare readonly code: 'authz.keys_unavailable';
  /** The request may be repeated. */
  readonly retryable = true;
  /** The issuer. */
  readonly issuer: string;
  /** Not before so many ms the keys are asked for again. */
  readonly retryAfterMs: number;

  constructor(issuer: string, retryAfterMs: number, options: { readonly cause?: unknown } = {}) {
    super('authz.keys_unavailable', `the keys of ${issuer} cannot be fetched`, options);
    this.issuer = issuer;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Why a session was not admitted. */
export type SessionRefusal =
  /** Not an object that a verifier of this package minted. */
  | 'forged'
  /** Expired, or revoked. */
  | 'ended'
  /** The SSO connection does not belong to this organisation. */
  | 'connection'
  /** The subject is no member of this organisation. */
  | 'member'
  /** There is no such organisation. */
  | 'org'
  /** The API key was not created in a session that satisfies what the organisation asks for. */
  | 'key_origin';

/** A session was not admitted to an organisation. */
export class AuthzSessionRefusedError extends RingfenceAuthzError {
  declare readonly code: 'authz.session_refused';
  /** Why, for logs. */
  readonly reason: SessionRefusal;

  constructor(reason: SessionRefusal, message: string) {
    super('authz.session_refused', `the session is refused (${reason}): ${message}`);
    this.reason = reason;
  }
}

/** The organisation asks for a stronger authentication. */
export class AuthzSessionInsufficientError extends RingfenceAuthzError {
  declare readonly code: 'authz.session_insufficient';
  /** What the new authentication must satisfy. */
  readonly stepUp: StepUp;

  constructor(stepUp: StepUp) {
    const { sso, mfa, maxAge } = stepUp;
    const needs = [
      ...(sso ? ['the SSO connection of the organisation'] : []),
      ...(mfa ? ['more than one factor'] : []),
      ...(maxAge === undefined ? [] : [`an authentication within ${maxAge} s`]),
    ];
    super('authz.session_insufficient', `the organisation asks for ${needs.join(', ')}`);
    this.stepUp = stepUp;
  }

  /** Value of `WWW-Authenticate` (RFC 9470 section 3), for status 401. */
  get challenge(): string {
    return stepUpChallenge({ stepUp: this.stepUp }) as string;
  }
}

/** Why a change of assurance was refused. */
export type AssuranceRefusal =
  /** The plan does not include it. */
  | 'plan'
  /** An API key asks; only a person may. */
  | 'api_key';

/** A change of assurance was refused; nothing was changed. */
export class AuthzAssuranceRefusedError extends RingfenceAuthzError {
  declare readonly code: 'authz.assurance_refused';
  /** Why. */
  readonly reason: AssuranceRefusal;

  constructor(reason: AssuranceRefusal, message: string) {
    super('authz.assurance_refused', `the change is refused (${reason}): ${message}`);
    this.reason = reason;
  }
}
