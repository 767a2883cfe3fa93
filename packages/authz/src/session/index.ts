/** `@ringfence/authz/session`: from OIDC tokens, cookies and API keys to the facts of a decision. */
export {
  API_KEY_ISSUER,
  type AuthenticatedKey,
  apiKeySession,
  keyOrigin,
} from './api-key-session.ts';
export {
  type AssuranceChange,
  type AssuranceDemand,
  type AssurancePlan,
  assuranceDemand,
  type ConnectionDirectory,
  type OrgAssurance,
} from './assurance.ts';
export type { Clock } from './clock.ts';
export {
  type CookieSessions,
  type CookieSessionsOptions,
  createCookieSessions,
  type OpenedSession,
  type SessionStore,
} from './cookie-sessions.ts';
export {
  type AssuranceRefusal,
  AuthzAssuranceRefusedError,
  AuthzKeysUnavailableError,
  AuthzSessionInsufficientError,
  AuthzSessionRefusedError,
  AuthzTokenRefusedError,
  type SessionRefusal,
  type TokenRefusal,
} from './errors.ts';
export {
  type AdmittedContext,
  createSessionGuard,
  type Identity,
  type Member,
  type SessionDirectory,
  type SessionGuard,
  type SessionGuardOptions,
} from './guard.ts';
export type { AsymmetricAlgorithm, ConnectionBinding, IssuerConfig } from './issuer.ts';
export type { Fetch, KeySetLimits } from './key-set.ts';
export { type Revocation, type RevocationOptions, Revocations } from './revocations.ts';
export type { Door, KeyEvidence, KeyOrigin, SessionEvidence, VerifiedSession } from './verified-session.ts';
export {
  createTokenVerifier,
  type IdTokenExpectation,
  type TokenVerifier,
  type TokenVerifierOptions,
} from './verifier.ts';
