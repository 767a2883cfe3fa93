/**
 * Verifies OIDC ID tokens (OpenID Connect Core 1.0 section 3.1.3.7) and JWT access tokens (RFC 9068) with jose, and mints
 * sessions. Signature and registered claims are jose's; around it stands what RFC 8725 asks for and a general library
 * cannot know: one configuration per issuer, one kind of token per call, strict JSON, bounds.
 * Invariant: a session is minted for a text whose signature, claims, age and revocation were checked at this instant, or
 * whose signature was, with keys that are still published and young, and the rest at this instant.
 */
import { type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import { type Clock, clockOf, steadyTime } from './clock.ts';
import { AuthzTokenRefusedError } from './errors.ts';
import { checkedIssuer, type Issuer, type IssuerConfig } from './issuer.ts';
import { type Fetch, type KeySetLimits, type Keys, RemoteKeySet } from './key-set.ts';
import { isUnknownKey, refusalOf } from './refusal.ts';
import { Revocations } from './revocations.ts';
import { TokenCache } from './token-cache.ts';
import { evidenceOf, refuseClient, sessionOf } from './token-claims.ts';
import { MAX_TOKEN_LENGTH, type TokenKind, tokenShape } from './token-shape.ts';
import type { VerifiedSession } from './verified-session.ts';

/** What a verifier needs. */
export interface TokenVerifierOptions extends Partial<Clock> {
  /** The issuers whose tokens are accepted; no two with one `issuer`. */
  readonly issuers: readonly IssuerConfig[];
  /** What was revoked. Default: a register of its own, which nothing fills. */
  readonly revocations?: Revocations;
  /** Times of the key sets. */
  readonly keySets?: KeySetLimits;
  /** How many verified access tokens are kept. Default 10,000. */
  readonly cacheEntries?: number;
  /** Requests the key sets. Default: `fetch`. */
  readonly fetch?: Fetch;
}

/** Verifies tokens and mints sessions. */
export interface TokenVerifier {
  /**
   * Verifies an access token (RFC 9068: `typ` is `at+jwt`; `client_id` and `jti` are there). Verified tokens are cached;
   * expiry, revocation and withdrawn keys count from their second on.
   *
   * @throws AuthzTokenRefusedError `authz.token_refused`.
   * @throws AuthzKeysUnavailableError `authz.keys_unavailable`: try again later.
   */
  verifyAccessToken(token: string): Promise<VerifiedSession>;

  /**
   * Verifies an ID token, once, at sign-in. Never cached.
   *
   * @param expected `nonce`: the one sent with this sign-in.
   * @throws AuthzTokenRefusedError `authz.token_refused`.
   * @throws AuthzKeysUnavailableError `authz.keys_unavailable`: try again later.
   */
  verifyIdToken(token: string, expected: IdTokenExpectation): Promise<VerifiedSession>;
}

/** What ties an ID token to one sign-in. */
export interface IdTokenExpectation {
  /** The nonce of the authorization request. */
  readonly nonce: string;
}

/** An issuer with its keys and the options jose takes, per kind of token. */
interface Trust {
  readonly issuer: Issuer;
  readonly keys: RemoteKeySet;
  readonly options: Readonly<Partial<Record<TokenKind, JWTVerifyOptions>>>;
}

/**
 * Makes a verifier.
 *
 * @throws TypeError when the configuration is wrong; the message names the property.
 * @example
 * ```ts
 * const verifier = createTokenVerifier({
 *   issuers: [
 *     {
 *       issuer: 'https://id.example.com',
 *       jwksUri: 'https://id.example.com/jwks',
 *       algorithms: ['ES256'],
 *       audience: 'https://api.example.com',
 *       maxTokenAgeMs: 3_600_000,
 *     },
 *   ],
 * });
 * const session = await verifier.verifyAccessToken(token);
 * ```
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return new JoseVerifier(options);
}

class JoseVerifier implements TokenVerifier {
  readonly #trust = new Map<string, Trust>();
  readonly #revocations: Revocations;
  readonly #cache: TokenCache;
  readonly #now: () => number;

  constructor(options: TokenVerifierOptions) {
    const { issuers, keySets = {}, cacheEntries = 10_000 } = options;
    const request = options.fetch ?? fetch;
    const clock = clockOf(options);
    this.#now = steadyTime(clock);
    this.#revocations = options.revocations ?? new Revocations(clock);
    this.#cache = new TokenCache(cacheEntries);
    for (const config of issuers) {
      const issuer = checkedIssuer(config);
      if (this.#trust.has(issuer.issuer))
        throw new TypeError(`issuer configuration: ${issuer.issuer} is there twice`);
      const keys = new RemoteKeySet(issuer.issuer, issuer.jwksUri, this.#now, request, keySets);
      this.#trust.set(issuer.issuer, { issuer, keys, options: joseOptions(issuer) });
    }
  }

  async verifyAccessToken(token: string): Promise<VerifiedSession> {
    if (typeof token !== 'string') throw new AuthzTokenRefusedError('malformed', 'it is not a string');
    const key = token.length > MAX_TOKEN_LENGTH ? '' : TokenCache.keyOf(token);
    const cached = this.#cache.get(key);
    if (cached !== undefined && cached.generation === cached.keys.generation) {
      const { evidence, session } = cached;
      if (this.#now() >= evidence.expiresAt) {
        this.#cache.delete(key);
        throw new AuthzTokenRefusedError('expired', 'exp has passed');
      }
      if (cached.revocationsSeen !== this.#revocations.version) {
        const { version } = this.#revocations;
        this.#refuseRevoked(evidence);
        cached.revocationsSeen = version;
      }
      return session;
    }
    const { claims, trust, generation } = await this.#verify(token, 'access');
    refuseClient(claims, trust.issuer);
    const evidence = evidenceOf(claims, trust.issuer, 'bearer', this.#now());
    const { version } = this.#revocations;
    this.#refuseRevoked(evidence);
    const session = sessionOf(evidence);
    this.#cache.set(key, { session, evidence, keys: trust.keys, generation, revocationsSeen: version });
    return session;
  }

  async verifyIdToken(token: string, { nonce }: IdTokenExpectation): Promise<VerifiedSession> {
    if (typeof nonce !== 'string' || nonce === '') throw new TypeError('nonce is not a string of characters');
    if (typeof token !== 'string') throw new AuthzTokenRefusedError('malformed', 'it is not a string');
    const { claims, trust } = await this.#verify(token, 'id');
    const { aud, azp } = claims;
    const { clientId } = trust.issuer;
    // OpenID Connect Core 3.1.3.7, 4 and 5: a token for several audiences says which of them may use it.
    if (
      (Array.isArray(aud) && aud.length > 1 && azp === undefined) ||
      (azp !== undefined && azp !== clientId)
    ) {
      throw new AuthzTokenRefusedError('audience', 'azp is not this client');
    }
    if (claims['nonce'] !== nonce) throw new AuthzTokenRefusedError('nonce', 'it belongs to another sign-in');
    const evidence = evidenceOf(claims, trust.issuer, 'cookie', this.#now());
    this.#refuseRevoked(evidence);
    return sessionOf(evidence);
  }

  async #verify(
    token: string,
    kind: TokenKind,
  ): Promise<{ readonly claims: JWTPayload; readonly trust: Trust; readonly generation: number }> {
    const { algorithm, issuer } = tokenShape(token, kind);
    const trust = this.#trust.get(issuer);
    const options = trust?.options[kind];
    if (trust === undefined || options === undefined) {
      throw new AuthzTokenRefusedError('issuer', `iss is not configured for ${kind} tokens`);
    }
    if (!trust.issuer.algorithms.some((allowed) => allowed === algorithm)) {
      throw new AuthzTokenRefusedError('algorithm', 'alg is not one of those configured');
    }
    const keys = await trust.keys.current();
    try {
      return { claims: await this.#claims(token, keys, options), trust, generation: keys.generation };
    } catch (cause) {
      if (!isUnknownKey(cause)) throw refusalOf(cause);
    }
    const fetched = await trust.keys.afterUnknown();
    try {
      return { claims: await this.#claims(token, fetched, options), trust, generation: fetched.generation };
    } catch (cause) {
      throw refusalOf(cause);
    }
  }

  async #claims(token: string, keys: Keys, options: JWTVerifyOptions): Promise<JWTPayload> {
    const { payload } = await jwtVerify(token, keys.find, { ...options, currentDate: new Date(this.#now()) });
    return payload;
  }

  #refuseRevoked(evidence: Parameters<Revocations['ends']>[0]): void {
    if (this.#revocations.ends(evidence)) throw new AuthzTokenRefusedError('revoked', 'it was revoked');
  }
}

/** Claims a token of each kind must have (RFC 9068 section 2.2; OpenID Connect Core section 2). */
const REQUIRED: Readonly<Record<TokenKind, readonly string[]>> = {
  access: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'],
  id: ['iss', 'sub', 'aud', 'exp', 'iat', 'nonce'],
};

function joseOptions(config: Issuer): Readonly<Partial<Record<TokenKind, JWTVerifyOptions>>> {
  const of = (kind: TokenKind, audience: string): JWTVerifyOptions => ({
    issuer: config.issuer,
    audience,
    algorithms: [...config.algorithms],
    requiredClaims: [...REQUIRED[kind], ...config.requiredClaims],
    clockTolerance: config.clockSkewMs / 1_000,
    maxTokenAge: config.maxTokenAgeMs / 1_000,
  });
  const { audience, clientId } = config;
  return {
    ...(audience === undefined ? {} : { access: of('access', audience) }),
    ...(clientId === undefined ? {} : { id: of('id', clientId) }),
  };
}
