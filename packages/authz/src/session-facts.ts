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

/** What ties facts to the one principal, organisation and stretch of time they were admitted for. */
export interface SessionBinding {
  /** Id of the principal. */
  readonly principal: string;
  /** The organisation entered. */
  readonly org: string;
  /** Why the session is over at an instant (epoch ms): expired, revoked; undefined while it is not. */
  ended(now: number): string | undefined;
}

/** The only implementation of `SessionFacts`; internal to the package. */
export class MintedSessionFacts implements SessionFacts {
  readonly #mfa: boolean;
  readonly #acr: string | undefined;
  readonly #authenticatedAt: number | undefined;
  readonly #ssoConnection: string | undefined;
  readonly #binding: SessionBinding | undefined;

  constructor(init: SessionFactsInit, binding?: SessionBinding) {
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
    this.#binding = binding;
  }

  /** Why the facts do not count for a principal in an organisation at an instant; undefined when they do. */
  refusal(principal: string, org: string, now: number): string | undefined {
    const binding = this.#binding;
    if (binding === undefined) return undefined;
    if (binding.org !== org) return 'was admitted to another organisation';
    if (binding.principal !== principal) return 'was admitted for another principal';
    return binding.ended(now);
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

// Else whoever holds one instance could construct another through it.
Reflect.deleteProperty(MintedSessionFacts.prototype, 'constructor');
Object.freeze(MintedSessionFacts.prototype);
