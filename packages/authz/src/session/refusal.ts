/** From what jose throws while it verifies to the reasons of this package. Whatever it throws, the token is refused. */
import { errors } from 'jose';
import { AuthzTokenRefusedError, type TokenRefusal } from './errors.ts';

/** True when the key set has no key for the token. */
export function isUnknownKey(error: unknown): boolean {
  return error instanceof errors.JWKSNoMatchingKey;
}

/** The refusal for an error of jose. */
export function refusalOf(error: unknown): AuthzTokenRefusedError {
  if (!(error instanceof errors.JOSEError)) {
    // The platform's import of a published key failed: it is too short, or not what it says.
    return new AuthzTokenRefusedError('unknown_key', 'the key of the issuer cannot be used', {
      cause: error,
    });
  }
  return new AuthzTokenRefusedError(reasonOf(error), error.message, { cause: withoutClaims(error) });
}

function reasonOf(error: errors.JOSEError): TokenRefusal {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    switch (error.claim) {
      case 'iss':
        return 'issuer';
      case 'aud':
        return 'audience';
      case 'nbf':
      case 'iat':
        return error.reason === 'check_failed' ? 'not_yet_valid' : 'claims';
      default:
        return 'claims';
    }
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature';
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return 'unknown_key';
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return 'algorithm';
  return 'malformed';
}

/** An error of the same text without the claims that jose hangs on it: a cause is printed into logs. */
function withoutClaims(error: errors.JOSEError): Error {
  const cause = new Error(error.message);
  cause.name = error.code;
  return cause;
}
