/**
 * From verified claims to what a session is known by. Each claim counts in its specified type only and is refused in any
 * other: a string where `amr` is an array would make a search for "mfa" a search for a substring. Absent means no:
 * no `amr` is no second factor, no `auth_time` is an authentication of unknown age.
 */
import type { JWTPayload } from 'jose';
import { AuthzTokenRefusedError } from './errors.ts';
import type { Issuer } from './issuer.ts';
import { type Door, MintedSession, type SessionEvidence } from './verified-session.ts';

/** Longest identifier kept, in characters (OIDC Core section 2 allows `sub` 255). */
const MAX_ID = 255;

/** Reads the claims of a token that verified. `nowMs` is the instant of the verification. */
export function evidenceOf(claims: JWTPayload, issuer: Issuer, door: Door, nowMs: number): SessionEvidence {
  const { clockSkewMs, maxTokenAgeMs, mfaAcrValues } = issuer;
  const issuedAt = instant(claims, 'iat') ?? refuse('iat', 'is missing');
  const expires = instant(claims, 'exp') ?? refuse('exp', 'is missing');
  instant(claims, 'nbf');
  const authenticatedAt = instant(claims, 'auth_time');
  for (const at of [issuedAt, authenticatedAt]) {
    if (at !== undefined && at > nowMs + clockSkewMs) {
      throw new AuthzTokenRefusedError('not_yet_valid', 'iat or auth_time lies in the future');
    }
  }
  // jose asks in whole seconds, and lets a token of exactly the greatest age live through its second.
  const expiresAt = Math.min(expires, issuedAt + maxTokenAgeMs) + clockSkewMs;
  if (nowMs >= expiresAt) throw new AuthzTokenRefusedError('expired', 'exp or the greatest age has passed');
  const acr = identifier(claims, 'acr');
  return Object.freeze({
    door,
    issuer: issuer.issuer,
    subject: identifier(claims, 'sub') ?? refuse('sub', 'is missing'),
    issuedAt,
    issuedNotBefore: issuedAt - clockSkewMs,
    expiresAt,
    tokenId: identifier(claims, 'jti'),
    sessionId: identifier(claims, 'sid'),
    mfa: methods(claims).includes('mfa') || (acr !== undefined && mfaAcrValues.includes(acr)),
    acr,
    authenticatedAt,
    ssoConnection: connectionOf(claims, issuer),
  });
}

/** Refuses an access token of a client, or without a scope, that the issuer's configuration does not accept. */
export function refuseClient(claims: JWTPayload, { allowedClients, requiredScopes }: Issuer): void {
  if (allowedClients !== undefined) {
    const client = identifier(claims, 'client_id') ?? refuse('client_id', 'is missing');
    const party = identifier(claims, 'azp') ?? client;
    if (!allowedClients.includes(client) || !allowedClients.includes(party)) {
      throw new AuthzTokenRefusedError('client', 'client_id or azp is not one of those configured');
    }
  }
  if (requiredScopes === undefined) return;
  const scope = own(claims, 'scope');
  if (scope !== undefined && typeof scope !== 'string') refuse('scope', 'is not a string');
  const scopes = scope === undefined ? [] : scope.split(' ');
  if (!requiredScopes.every((each) => scopes.includes(each))) {
    throw new AuthzTokenRefusedError('scope', 'a scope that every token must have is missing');
  }
}

/** Mints the session of a token. */
export function sessionOf(evidence: SessionEvidence): MintedSession {
  return new MintedSession(evidence);
}

function connectionOf(claims: JWTPayload, { connection }: Issuer): string | undefined {
  if (connection === undefined) return undefined;
  return 'id' in connection ? connection.id : identifier(claims, connection.claim);
}

function methods(claims: JWTPayload): readonly string[] {
  const amr = own(claims, 'amr');
  if (amr === undefined) return [];
  if (!Array.isArray(amr) || amr.some((method) => typeof method !== 'string')) {
    return refuse('amr', 'is not an array of strings');
  }
  return amr as readonly string[];
}

/** A NumericDate in ms. Only integers: a fraction, or a number beyond those that are exact, is no date of an issuer. */
function instant(claims: JWTPayload, name: string): number | undefined {
  const value = own(claims, name);
  if (value === undefined) return undefined;
  if (!isWhole(value) || !isWhole(value * 1_000) || value < 0) {
    return refuse(name, 'is not a number of whole seconds');
  }
  return value * 1_000;
}

function identifier(claims: JWTPayload, name: string): string | undefined {
  const value = own(claims, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.length > MAX_ID) {
    return refuse(name, `is not a string of 1 to ${MAX_ID} characters`);
  }
  return value;
}

function own(claims: JWTPayload, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function refuse(name: string, problem: string): never {
  throw new AuthzTokenRefusedError('claims', `${name} ${problem}`);
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
