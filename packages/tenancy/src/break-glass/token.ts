/**
 * The token that permits one break-glass session:
 *
 *     rfbg1|<key id>|<token id>|<org>|<mode>|<issued>|<expires>|<actor>|<approved by>|<ticket>|<reason>|<mac>
 *
 * Times are ms since epoch, the reason is UTF-8 in hex. `mac` is HMAC-SHA-256 (RFC 2104), 64 lower-case hex digits, over
 * `ringfence.break_glass.1|` and everything before it. That prefix never travels, so neither a token nor an organisation
 * context passes as the other, even under one key. Invariant: no field can contain the delimiter.
 */
import { createHmac, createSecretKey, randomUUID } from 'node:crypto';
import { RingfenceTenancyError } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';

/** What is signed in front of a token's own text. */
export const TOKEN_DOMAIN = 'ringfence.break_glass.1|';

/** Longest life of a token, ms; the database enforces it too. */
export const MAX_TOKEN_LIFE_MS = 3_600_000;

/** What a break-glass session may do: read, or also write the tables declared for it. */
export type BreakGlassMode = 'read' | 'write';

/** A key that signs tokens. Not a context key: the application must not hold it. */
export interface BreakGlassKey {
  /** Id of the key, 1 to 32 characters of `a-z 0-9 _`. */
  readonly id: string;
  /** Secret of 32 to 64 bytes. */
  readonly secret: Uint8Array;
}

/** Settings of `createBreakGlassIssuer`. */
export interface BreakGlassIssuerOptions {
  /** Key that signs; installed in the database with `installBreakGlassKey`. */
  readonly key: BreakGlassKey;
  /** Longest life a caller may ask for, ms: 1 000 to 3 600 000. Default 3 600 000. */
  readonly maxLifetimeMs?: number;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** What a token is asked for. */
export interface BreakGlassRequest {
  /** The one organisation. */
  readonly org: OrgId;
  /** Who will use it, e.g. `operator:0190…`: 1 to 200 characters of `A-Z a-z 0-9 . _ : @ / + = -`. */
  readonly actor: string;
  /** Who approved it: characters as in `actor`, and another person than `actor`. Default: nobody. */
  readonly approvedBy?: string;
  /** Why, in words: 10 to 500 characters, none that controls lines or the direction of text. */
  readonly reason: string;
  /** Incident or support ticket: characters as in `actor`. */
  readonly ticket: string;
  /** Default `read`. */
  readonly mode?: BreakGlassMode;
  /** How long the token is valid, ms: 1 000 to `maxLifetimeMs`. */
  readonly lifetimeMs: number;
}

/** A token, to be handed to its actor and to nobody else: whoever holds it and the login may use it. */
export interface IssuedBreakGlass {
  /** The token: a secret. */
  readonly token: string;
  /** Its id, a UUID: for the log, and to revoke it. */
  readonly tokenId: string;
  /** When it ends, ms since epoch. */
  readonly expiresAtMs: number;
}

/** Signs tokens. */
export interface BreakGlassIssuer {
  /**
   * Signs a token. Who may ask, and who has to approve, is decided before this call.
   *
   * @throws RingfenceTenancyError `tenancy.break_glass_invalid` when a field is out of its bounds.
   * @throws TypeError when `org` is not a lower-case UUID.
   */
  issue(request: BreakGlassRequest): IssuedBreakGlass;
}

const KEY_ID = /^[a-z0-9_]{1,32}$/;
const PLAIN = /^[A-Za-z0-9._:@/+=-]{1,200}$/;
/** Nothing that breaks a line or changes the direction of what is beside it, where people read the record. */
const REASON = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]{10,500}$/u;

/**
 * Makes the issuer of one key. Run it where approvals are decided, not in the application that holds the context key.
 *
 * @throws TypeError when the key or `maxLifetimeMs` is out of bounds.
 * @example
 * ```ts
 * const issuer = createBreakGlassIssuer({ key, maxLifetimeMs: 900_000 });
 * const { token, tokenId } = issuer.issue({
 *   org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
 *   actor: 'operator:grace',
 *   approvedBy: 'operator:ada',
 *   reason: 'invoice import fails for this customer only',
 *   ticket: 'INC-4711',
 *   lifetimeMs: 900_000,
 * });
 * ```
 */
export function createBreakGlassIssuer(options: BreakGlassIssuerOptions): BreakGlassIssuer {
  const { key, maxLifetimeMs = MAX_TOKEN_LIFE_MS, now = Date.now } = options;
  checkBreakGlassKey(key);
  if (!(Number.isInteger(maxLifetimeMs) && maxLifetimeMs >= 1_000 && maxLifetimeMs <= MAX_TOKEN_LIFE_MS)) {
    throw new TypeError('maxLifetimeMs must be a whole number from 1 000 to 3 600 000');
  }
  const secret = createSecretKey(key.secret);
  return {
    issue: ({ org, actor, approvedBy, reason, ticket, mode = 'read', lifetimeMs }) => {
      parseOrgId(org);
      refuseUnless(isPlain(actor), 'actor');
      refuseUnless(approvedBy === undefined || (isPlain(approvedBy) && approvedBy !== actor), 'approvedBy');
      refuseUnless(typeof reason === 'string' && REASON.test(reason) && reason.trim().length >= 10, 'reason');
      refuseUnless(isPlain(ticket), 'ticket');
      refuseUnless(mode === 'read' || mode === 'write', 'mode');
      refuseUnless(
        Number.isInteger(lifetimeMs) && lifetimeMs >= 1_000 && lifetimeMs <= maxLifetimeMs,
        'lifetimeMs',
      );
      const tokenId = randomUUID();
      const issuedAtMs = Math.floor(now());
      const expiresAtMs = issuedAtMs + lifetimeMs;
      const hex = Buffer.from(reason, 'utf8').toString('hex');
      const fields = [tokenId, org, mode, issuedAtMs, expiresAtMs, actor, approvedBy ?? '', ticket, hex];
      const body = `rfbg1|${key.id}|${fields.join('|')}|`;
      const mac = createHmac('sha256', secret).update(TOKEN_DOMAIN).update(body).digest('hex');
      return { token: body + mac, tokenId, expiresAtMs };
    },
  };
}

/**
 * Checks the bounds of a key.
 *
 * @throws TypeError when the id or the length of the secret is out of bounds.
 */
export function checkBreakGlassKey({ id, secret }: BreakGlassKey): void {
  if (!KEY_ID.test(id)) throw new TypeError('break-glass key id: expected 1 to 32 characters of a-z 0-9 _');
  if (secret.length < 32 || secret.length > 64) {
    throw new TypeError('break-glass key secret: expected 32 to 64 bytes');
  }
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' && PLAIN.test(value);
}

function refuseUnless(valid: boolean, field: string): void {
  if (valid) return;
  throw new RingfenceTenancyError(
    'tenancy.break_glass_invalid',
    `${field} of the break-glass token is outside of its bounds`,
  );
}
