/**
 * The refusals of API keys and credentials. Invariant: no message holds a key, a part of one, or a secret; reasons are a
 * closed union, meant for logs and metrics. A client is told no more than the status and the challenge.
 */
import { RingfenceAuthzError } from '../errors.ts';

/** Why a key was refused. */
export type KeyRefusal =
  /** Not of the format: another prefix or type, another length, other characters, or a wrong checksum. Nothing was looked up. */
  | 'malformed'
  /** No such key, or its secret is wrong; which of the two is not told apart. */
  | 'unknown'
  /** Its expiry has passed. */
  | 'expired'
  /** It was rotated and its overlap is over. */
  | 'rotated'
  /** It was revoked. */
  | 'revoked'
  /** Its creator is no member of its organisation any more. */
  | 'member'
  /** Its organisation is gone. */
  | 'org';

/** An API key was refused. */
export class AuthzKeyRefusedError extends RingfenceAuthzError {
  declare readonly code: 'authz.key_refused';
  /** Why, for logs. */
  readonly reason: KeyRefusal;

  constructor(reason: KeyRefusal, message: string) {
    super('authz.key_refused', `the API key is refused (${reason}): ${message}`);
    this.reason = reason;
  }

  /** Value of `WWW-Authenticate` (RFC 6750 section 3), for status 401. It does not say why. */
  get challenge(): string {
    return 'Bearer error="invalid_token"';
  }
}

/** Why a change of a key was refused. */
export type KeyConflict =
  /** A request with this id was carried out before; its key is not shown twice. */
  | 'replayed'
  /** The key has a successor already. */
  | 'rotated'
  /** The key has expired or was revoked: create a new one. */
  | 'ended'
  /** The organisation has no such key. */
  | 'missing';

/** A change of a key was refused; nothing was changed. */
export class AuthzKeyConflictError extends RingfenceAuthzError {
  declare readonly code: 'authz.key_conflict';
  /** Why. */
  readonly reason: KeyConflict;

  constructor(reason: KeyConflict, message: string) {
    super('authz.key_conflict', `the change of the API key is refused (${reason}): ${message}`);
    this.reason = reason;
  }
}

/** Why a credential was not handed out. */
export type CredentialRefusal =
  /** The organisation has no such credential. */
  | 'missing'
  /** It lacks the scope asked for. */
  | 'scope'
  /** It was disconnected. */
  | 'revoked'
  /** Somebody else changed it in the meantime. */
  | 'changed';

/** An integration credential was not handed out. */
export class AuthzCredentialRefusedError extends RingfenceAuthzError {
  declare readonly code: 'authz.credential_refused';
  /** Why. */
  readonly reason: CredentialRefusal;

  constructor(reason: CredentialRefusal, message: string) {
    super('authz.credential_refused', `the credential is refused (${reason}): ${message}`);
    this.reason = reason;
  }
}
