/**
 * Facts about how a session was authenticated. Only a verifier mints them: the class is not exported from the package,
 * its fields are private, and a look-alike object is refused at run time. Absence means no: a session of which nothing
 * is known about a second factor has none.
 */

/** The facts a verifier found. */
export interface SessionFactsInit {
  /** More than one factor was used (`amr`). */
  readonly mfa?: boolean;
  /** Authentication context class (`acr`). */
  readonly acr?: string;
  /** When the person authenticated (`auth_time`), epoch ms. */
  readonly authenticatedAt?: number;
  /** Id of the SSO connection used. */
  readonly ssoConnection?: string;
}

/** Facts about how the session was authenticated, minted by a verifier. */
export interface SessionFacts {
  /** More than one factor was used. */
  readonly mfa: boolean;
  /** Authentication context class. */
  readonly acr: string | undefined;
  /** When the person authenticated, epoch ms. */
  readonly authenticatedAt: number | undefined;
  /** Id of the SSO connection used. */
  readonly ssoConnection: string | undefined;
  /** Brand: no object literal is assignable. */
  readonly '~ringfence.session': 'SessionFacts';
}

/** The only implementation of `SessionFacts`; internal to the package. */
export class MintedSessionFacts implements SessionFacts {
  readonly #mfa: boolean;
  readonly #acr: string | undefined;
  readonly #authenticatedAt: number | undefined;
  readonly #ssoConnection: string | undefined;

  constructor(init: SessionFactsInit) {
    const { mfa, acr, authenticatedAt, ssoConnection } = init;
    if (mfa !== undefined && typeof mfa !== 'boolean') throw new TypeError('mfa is not a boolean');
    if (acr !== undefined && (typeof acr !== 'string' || acr === ''))
      throw new TypeError('acr is not a string');
    if (authenticatedAt !== undefined && !Number.isSafeInteger(authenticatedAt)) {
      throw new TypeError('authenticatedAt is not an integer number of ms since the epoch');
    }
    if (ssoConnection !== undefined && (typeof ssoConnection !== 'string' || ssoConnection === '')) {
      throw new TypeError('ssoConnection is not a string');
    }
    this.#mfa = mfa === true;
    this.#acr = acr;
    this.#authenticatedAt = authenticatedAt;
    this.#ssoConnection = ssoConnection;
  }

  /** Tells a minted object from a look-alike, a subclass instance through a proxy included. */
  static isMinted(value: object): value is MintedSessionFacts {
    return #mfa in value;
  }

  get mfa(): boolean {
    return this.#mfa;
  }

  get acr(): string | undefined {
    return this.#acr;
  }

  get authenticatedAt(): number | undefined {
    return this.#authenticatedAt;
  }

  get ssoConnection(): string | undefined {
    return this.#ssoConnection;
  }

  get '~ringfence.session'(): 'SessionFacts' {
    return 'SessionFacts';
  }
}

Object.freeze(MintedSessionFacts.prototype);
