/**
 * An authenticated API key as a session. A key is not interactive: it has no second factor, no context class and no age,
 * so a condition on those never holds for it. What the organisation asks for is asked of the session the key was
 * created in, which is stored with the key.
 */
import type { OrgId } from '../org-id.ts';
import { AuthzSessionRefusedError } from './errors.ts';
import { type KeyOrigin, MintedSession, type VerifiedSession } from './verified-session.ts';

/** The issuer under which API keys are known to `SessionDirectory.member`. */
export const API_KEY_ISSUER = 'api_key';

/** A key that has been authenticated in this request. */
export interface AuthenticatedKey {
  /** Its id. */
  readonly id: string;
  /** The organisation it belongs to. */
  readonly org: OrgId;
  /** When it expires, epoch ms. */
  readonly expiresAt: number;
  /** `keyOrigin` of the session it was created in, as stored. Absent: unknown, which satisfies nothing. */
  readonly origin?: KeyOrigin;
}

/**
 * What to store with a key that is being created.
 *
 * @throws AuthzSessionRefusedError `authz.session_refused` for a session no verifier minted, or that of another key.
 */
export function keyOrigin(session: VerifiedSession): KeyOrigin {
  const evidence = MintedSession.evidenceOf(session);
  if (evidence === undefined) throw new AuthzSessionRefusedError('forged', 'no verifier minted it');
  if (evidence.key !== undefined)
    throw new AuthzSessionRefusedError('key_origin', 'a key does not create keys');
  const { mfa, ssoConnection } = evidence;
  return Object.freeze({ mfa, ...(ssoConnection === undefined ? {} : { ssoConnection }) });
}

/**
 * The session of a key. Call it after the key's secret, expiry and revocation were checked, in each request.
 *
 * @throws TypeError when a part is of the wrong type.
 */
export function apiKeySession(key: AuthenticatedKey, now: number = Date.now()): VerifiedSession {
  const { id, org, expiresAt, origin } = key;
  if (typeof id !== 'string' || id === '') throw new TypeError('id is not a string of characters');
  if (!Number.isSafeInteger(expiresAt)) throw new TypeError('expiresAt is not an integer number of ms');
  return new MintedSession({
    door: 'api_key',
    issuer: API_KEY_ISSUER,
    subject: id,
    issuedAt: now,
    issuedNotBefore: now,
    expiresAt,
    tokenId: undefined,
    sessionId: undefined,
    mfa: false,
    acr: undefined,
    authenticatedAt: undefined,
    ssoConnection: undefined,
    key: Object.freeze({
      org,
      mfa: origin?.mfa === true,
      ...(typeof origin?.ssoConnection === 'string' ? { ssoConnection: origin.ssoConnection } : {}),
    }),
  });
}
