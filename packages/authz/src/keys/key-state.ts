/** What a stored record says of its key at an instant. Revocation, expiry and overlap are asked in each request, in this order. */
import { apiKeySession } from '../session/api-key-session.ts';
import { AuthzKeyRefusedError } from './errors.ts';
import type { VerifiedKey } from './key-access.ts';
import type { ApiKeyRecord } from './key-store.ts';

/** What has ended a key at this instant. */
export function endOf(
  { revokedAt, overlapUntil, expiresAt }: ApiKeyRecord,
  now: number,
): AuthzKeyRefusedError | undefined {
  if (revokedAt !== undefined) return new AuthzKeyRefusedError('revoked', 'it was revoked');
  if (!(now < expiresAt)) return new AuthzKeyRefusedError('expired', 'its expiry has passed');
  return overlapUntil !== undefined && !(now < overlapUntil)
    ? new AuthzKeyRefusedError('rotated', 'its overlap is over')
    : undefined;
}

/** The key that a record is of, with its session for one request; a rotated one is over when its overlap is. */
export function verifiedKey(
  { id, org, name, origin, expiresAt, overlapUntil }: ApiKeyRecord,
  now: number,
): VerifiedKey {
  const until = Math.min(expiresAt, overlapUntil ?? expiresAt);
  const session = apiKeySession({ id, org, expiresAt: until, origin }, Math.floor(now));
  return Object.freeze({ id, org, name, expiresAt: until, session });
}
