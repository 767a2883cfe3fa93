/**
 * A session that a verifier vouches for: who authenticated, how, when, and until when that holds. The class is not
 * exported from the package, its fields are private, and a look-alike is refused at run time. It is no permission:
 * `SessionGuard.admit` turns it into the facts of one organisation, or does not.
 */

/** The door a request came through. */
export type Door = 'bearer' | 'cookie' | 'api_key';

/** What a verifier found. */
export interface SessionEvidence {
  /** The door the request came through. */
  readonly door: Door;
  /** The issuer that authenticated the subject. */
  readonly issuer: string;
  /** The subject at that issuer. */
  readonly subject: string;
  /** Epoch ms: when the token was issued, by the issuer's clock (`iat`). */
  readonly issuedAt: number;
  /**
   * Epoch ms: the earliest instant, by this clock, at which it can have been issued: `iat` less the skew allowed.
   * Revocations act on it, so that an issuer whose clock is ahead does not date its tokens past them.
   */
  readonly issuedNotBefore: number;
  /** Epoch ms: first instant at which the session is over, skew included. */
  readonly expiresAt: number;
  /** Id of the token (`jti`). */
  readonly tokenId: string | undefined;
  /** Id of the session at the issuer (`sid`). */
  readonly sessionId: string | undefined;
  /** More than one factor was used. */
  readonly mfa: boolean;
  /** Authentication context class (`acr`). */
  readonly acr: string | undefined;
  /** Epoch ms: when the person authenticated (`auth_time`). */
  readonly authenticatedAt: number | undefined;
  /** The SSO connection used. */
  readonly ssoConnection: string | undefined;
  /** Only for an API key: the organisation it belongs to and the session it was created in. */
  readonly key?: KeyEvidence;
}

/** Where an API key comes from. */
export interface KeyEvidence extends KeyOrigin {
  /** The organisation it belongs to. */
  readonly org: string;
}

/** How the session was authenticated in which an API key was created; plain data, stored with the key. */
export interface KeyOrigin {
  /** More than one factor was used. */
  readonly mfa: boolean;
  /** The SSO connection used; absent when none was. */
  readonly ssoConnection?: string;
}

/** A session a verifier vouches for. No object literal is assignable, and none passes at run time. */
export interface VerifiedSession {
  /** The door the request came through. */
  readonly door: Door;
  /** The issuer that authenticated the subject. */
  readonly issuer: string;
  /** The subject at that issuer; unique only together with it. */
  readonly subject: string;
  /** When the session is over, epoch ms. */
  readonly expiresAt: number;
  /** Id of the SSO connection used; undefined when none was. */
  readonly ssoConnection: string | undefined;
  /** Brand: no object literal is assignable. */
  readonly '~ringfence.verified': 'VerifiedSession';
}

/** The only implementation of `VerifiedSession`; internal to the package. */
export class MintedSession implements VerifiedSession {
  readonly #evidence: SessionEvidence;

  constructor(evidence: SessionEvidence) {
    this.#evidence = evidence;
    Object.freeze(this);
  }

  /** What the verifier found; undefined for a look-alike. */
  static evidenceOf(session: unknown): SessionEvidence | undefined {
    return typeof session === 'object' && session !== null && #evidence in session
      ? session.#evidence
      : undefined;
  }

  get door(): Door {
    return this.#evidence.door;
  }

  get issuer(): string {
    return this.#evidence.issuer;
  }

  get subject(): string {
    return this.#evidence.subject;
  }

  get expiresAt(): number {
    return this.#evidence.expiresAt;
  }

  get ssoConnection(): string | undefined {
    return this.#evidence.ssoConnection;
  }

  get '~ringfence.verified'(): 'VerifiedSession' {
    return 'VerifiedSession';
  }
}

// Else whoever holds one instance could construct another through it.
Reflect.deleteProperty(MintedSession.prototype, 'constructor');
Object.freeze(MintedSession.prototype);
