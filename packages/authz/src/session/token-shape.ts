/**
 * What is decided about a token before any key is touched: its size, its three parts, its header. `alg` must be one the
 * issuer lists, `typ` that of the kind of token expected (RFC 8725 section 3.11, RFC 9068 section 4), `crit` and `b64`
 * are refused because nothing here implements an extension. `jku`, `x5u`, `jwk` and `x5c` are not looked at: keys
 * come from the configured address and nowhere else.
 */
import { AuthzTokenRefusedError } from './errors.ts';
import { strictObject } from './strict-json.ts';

/** The two kinds of tokens. */
export type TokenKind = 'access' | 'id';

/** Header and issuer of a token that nobody has verified yet. */
export interface TokenShape {
  readonly algorithm: string;
  /** `iss`: chooses the configuration, and counts for nothing else. */
  readonly issuer: string;
}

/** Longest token, in characters: what fits a request header, and far below what costs time to parse. */
export const MAX_TOKEN_LENGTH = 16_384;
const MAX_KID = 256;
const COMPACT_JWS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/;
const TYPES: Readonly<Record<TokenKind, ReadonlySet<unknown>>> = {
  access: new Set(['at+jwt', 'application/at+jwt']),
  id: new Set([undefined, 'jwt']),
};

/**
 * Checks the shape.
 *
 * @throws AuthzTokenRefusedError
 */
export function tokenShape(token: string, kind: TokenKind): TokenShape {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new AuthzTokenRefusedError('too_large', `it is longer than ${MAX_TOKEN_LENGTH} characters`);
  }
  const [, head = '', body = ''] = COMPACT_JWS.exec(token) ?? [];
  if (head === '') throw new AuthzTokenRefusedError('malformed', 'it is not a compact JWS of three parts');
  const header = strictObject(head);
  if (header === undefined)
    throw new AuthzTokenRefusedError('malformed', 'the header is not a strict JSON object');
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) {
    throw new AuthzTokenRefusedError('extension', 'the header asks for an extension');
  }
  const { typ, alg, kid } = header;
  if (!TYPES[kind].has(typeof typ === 'string' ? typ.toLowerCase() : typ)) {
    throw new AuthzTokenRefusedError('type', `typ is not that of an ${kind} token`);
  }
  if (typeof alg !== 'string') throw new AuthzTokenRefusedError('algorithm', 'alg is not a string');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID)) {
    throw new AuthzTokenRefusedError('malformed', `kid is not a string of 1 to ${MAX_KID} characters`);
  }
  const claims = strictObject(body);
  if (claims === undefined)
    throw new AuthzTokenRefusedError('malformed', 'the claims are not a strict JSON object');
  const { iss } = claims;
  if (typeof iss !== 'string') throw new AuthzTokenRefusedError('issuer', 'iss is not a string');
  return { algorithm: alg, issuer: iss };
}
