/**
 * What is known of an issuer, checked once. Every bound is there: asymmetric algorithms only (RFC 8725 section 3.1), one
 * audience per kind of token, an age, a skew of at most a minute. A tenant's identity provider is bound to its
 * connection here, so that nothing such a provider writes into a token can name another connection.
 */

/** The signature algorithms that can be allowed; none of them is symmetric, and `none` is not among them. */
export type AsymmetricAlgorithm =
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'EdDSA'
  | 'Ed25519';

/** Which SSO connection a token of the issuer was made through. */
export type ConnectionBinding =
  | {
      /** The issuer is one tenant's identity provider, and this its connection. */
      readonly id: string;
    }
  | {
      /** The issuer is a broker you run or trust for all tenants: the claim that names the connection. */
      readonly claim: string;
    };

/** An issuer whose tokens are accepted. */
export interface IssuerConfig {
  /** `iss`, compared character by character. An https URL; http for a loopback address only. */
  readonly issuer: string;
  /** Where its keys are. An https URL; http for a loopback address only. Redirects are not followed. */
  readonly jwksUri: string;
  /** Allowed values of `alg`. */
  readonly algorithms: readonly AsymmetricAlgorithm[];
  /** `aud` of its access tokens: your API. Absent: its access tokens are refused. */
  readonly audience?: string;
  /** `aud` and `azp` of its ID tokens: your client. Absent: its ID tokens are refused. */
  readonly clientId?: string;
  /** Greatest age of a token since `iat`, in ms, whole seconds, at most 24 hours. */
  readonly maxTokenAgeMs: number;
  /** Tolerance for clocks that differ, in ms, whole seconds, at most 60,000. Default 5,000. */
  readonly clockSkewMs?: number;
  /** Claims that must be there beside those the specifications ask for. */
  readonly requiredClaims?: readonly string[];
  /** Clients whose access tokens are accepted (`client_id`, and `azp` where there is one). Absent: every client of the issuer. */
  readonly allowedClients?: readonly string[];
  /** Scopes that every access token must have (`scope`, RFC 6749 section 3.3). Absent: `scope` is not looked at. */
  readonly requiredScopes?: readonly string[];
  /** Values of `acr` that mean more than one factor at this issuer. Without it only `amr` with `mfa` does (RFC 8176). */
  readonly mfaAcrValues?: readonly string[];
  /** The SSO connection. Absent: the issuer is not SSO (a password or social sign-in). */
  readonly connection?: ConnectionBinding;
}

/** An issuer, checked and frozen. */
export interface Issuer extends IssuerConfig {
  readonly clockSkewMs: number;
  readonly requiredClaims: readonly string[];
  readonly mfaAcrValues: readonly string[];
}

const ALGORITHMS: ReadonlySet<string> = new Set<AsymmetricAlgorithm>([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]);
/** RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const DAY_MS = 86_400_000;
const MAX_SKEW_MS = 60_000;
const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost']);

/**
 * Checks a configuration.
 *
 * @throws TypeError naming the property that is wrong.
 */
export function checkedIssuer(config: IssuerConfig): Issuer {
  const { issuer, jwksUri, audience, clientId, maxTokenAgeMs, connection } = config;
  const { clockSkewMs = 5_000 } = config;
  checkUrl('issuer', issuer);
  checkUrl('jwksUri', jwksUri);
  const algorithms = texts('algorithms', config.algorithms);
  if (algorithms.length === 0) fail('algorithms', 'is empty');
  for (const algorithm of algorithms) {
    if (!ALGORITHMS.has(algorithm))
      fail('algorithms', `has "${algorithm}", which is not asymmetric or not known`);
  }
  if (audience === undefined && clientId === undefined) fail('audience', 'and clientId are both absent');
  if (audience !== undefined) text('audience', audience);
  if (clientId !== undefined) text('clientId', clientId);
  if (audience === clientId) {
    fail('audience', 'equals clientId: an ID token could pass for an access token');
  }
  const allowedClients = accessOnly('allowedClients', config.allowedClients, audience);
  const requiredScopes = accessOnly('requiredScopes', config.requiredScopes, audience);
  for (const scope of requiredScopes ?? []) {
    if (!SCOPE.test(scope)) fail('requiredScopes', `has "${scope}", which is no scope`);
  }
  seconds('maxTokenAgeMs', maxTokenAgeMs, 1_000, DAY_MS);
  seconds('clockSkewMs', clockSkewMs, 0, MAX_SKEW_MS);
  if (connection !== undefined) {
    const { id, claim } = connection as { readonly id?: unknown; readonly claim?: unknown };
    if ((id === undefined) === (claim === undefined)) fail('connection', 'takes either id or claim');
    text('connection', id ?? claim);
  }
  return Object.freeze({
    ...config,
    clockSkewMs,
    algorithms: Object.freeze([...config.algorithms]),
    requiredClaims: texts('requiredClaims', config.requiredClaims ?? []),
    mfaAcrValues: texts('mfaAcrValues', config.mfaAcrValues ?? []),
    ...(allowedClients === undefined ? {} : { allowedClients }),
    ...(requiredScopes === undefined ? {} : { requiredScopes }),
    ...(connection === undefined ? {} : { connection: Object.freeze({ ...connection }) }),
  });
}

/** Strings about access tokens: at least one, and only where access tokens are accepted. */
function accessOnly(
  property: string,
  values: readonly string[] | undefined,
  audience: string | undefined,
): readonly string[] | undefined {
  if (values === undefined) return undefined;
  const checked = texts(property, values);
  if (checked.length === 0) fail(property, 'is empty');
  if (audience === undefined) fail(property, 'is of access tokens, and audience is absent');
  return checked;
}

function checkUrl(property: string, value: unknown): void {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined) fail(property, 'is not a URL');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname))) {
    fail(property, 'is neither https nor a loopback address');
  }
  if (url.username !== '' || url.password !== '') fail(property, 'holds credentials');
}

function texts(property: string, values: readonly string[]): readonly string[] {
  if (!Array.isArray(values)) return fail(property, 'is not an array');
  for (const value of values) text(property, value);
  return Object.freeze([...values]);
}

function text(property: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') fail(property, 'is not a string of characters');
}

function seconds(property: string, value: unknown, least: number, most: number): void {
  if (typeof value !== 'number' || !Number.isInteger(value / 1_000) || value < least || value > most) {
    fail(property, `is not a whole number of seconds, in ms, from ${least} to ${most}`);
  }
}

function fail(property: string, problem: string): never {
  throw new TypeError(`issuer configuration: ${property} ${problem}`);
}
