/**
 * Sessions behind an opaque cookie: the cookie holds 256 random bits and nothing else, the store holds what the verifier
 * found, under the SHA-256 of those bits, so that who reads the store cannot present a cookie. A session lives from the
 * `iat` of its ID token, so opening it again does not lengthen it. The store is trusted as much as the database of members.
 */
import { hash, randomBytes } from 'node:crypto';
import { type Clock, clockOf, steadyTime } from './clock.ts';
import { AuthzSessionRefusedError } from './errors.ts';
import type { Revocations } from './revocations.ts';
import { MintedSession, type SessionEvidence, type VerifiedSession } from './verified-session.ts';

/** Where sessions are kept. */
export interface SessionStore {
  /** Keeps a record until `expiresAt` (epoch ms) under a key of 43 characters. */
  put(key: string, record: string, expiresAt: number): Promise<void>;
  /** The record under a key; undefined when there is none. */
  get(key: string): Promise<string | undefined>;
  /** Deletes the record under a key, if there is one. */
  delete(key: string): Promise<void>;
}

/** What cookie sessions need. */
export interface CookieSessionsOptions extends Partial<Clock> {
  /** Where they are kept. */
  readonly store: SessionStore;
  /** The register the guard uses too. */
  readonly revocations: Revocations;
  /** Life of a session since the `iat` of its ID token, in ms, at most 24 hours: revocations are kept as long. */
  readonly lifetimeMs: number;
}

/** A session that was opened. */
export interface OpenedSession {
  /** Value of the cookie, 43 characters. Set it `HttpOnly; Secure; SameSite=Lax; Path=/` under a name with `__Host-`. */
  readonly cookie: string;
  /** When it is over, epoch ms. */
  readonly expiresAt: number;
}

/** Opens, resumes and closes sessions behind cookies. */
export interface CookieSessions {
  /**
   * Opens a session for a verified ID token. Always a new cookie, so a fixed one is worth nothing.
   *
   * @throws AuthzSessionRefusedError `authz.session_refused` for anything but the session of an ID token, and for one that
   * has ended.
   */
  open(session: VerifiedSession): Promise<OpenedSession>;
  /**
   * The session behind a cookie.
   *
   * @throws AuthzSessionRefusedError `authz.session_refused` when there is none, or it has ended.
   */
  resume(cookie: string): Promise<VerifiedSession>;
  /** Deletes the session behind a cookie, if there is one. */
  close(cookie: string): Promise<void>;
}

const DAY_MS = 86_400_000;
const COOKIE = /^[A-Za-z0-9_-]{43}$/;

/**
 * Makes cookie sessions over a store.
 *
 * @throws TypeError when `lifetimeMs` is not a number of ms up to 24 hours.
 */
export function createCookieSessions(options: CookieSessionsOptions): CookieSessions {
  return new StoredSessions(options);
}

class StoredSessions implements CookieSessions {
  readonly #store: SessionStore;
  readonly #revocations: Revocations;
  readonly #lifetimeMs: number;
  readonly #now: () => number;

  constructor({ store, revocations, lifetimeMs, ...clock }: CookieSessionsOptions) {
    if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs < 1_000 || lifetimeMs > DAY_MS) {
      throw new TypeError('lifetimeMs is not a number of ms from 1,000 to 86,400,000');
    }
    this.#store = store;
    this.#revocations = revocations;
    this.#lifetimeMs = lifetimeMs;
    this.#now = steadyTime(clockOf(clock));
  }

  async open(session: VerifiedSession): Promise<OpenedSession> {
    const evidence = MintedSession.evidenceOf(session);
    if (evidence?.door !== 'cookie')
      throw new AuthzSessionRefusedError('forged', 'it is not that of an ID token');
    if (this.#now() >= evidence.expiresAt) throw new AuthzSessionRefusedError('ended', 'it has expired');
    const expiresAt = evidence.issuedAt + this.#lifetimeMs;
    const kept = this.#alive({ ...evidence, expiresAt });
    const cookie = randomBytes(32).toString('base64url');
    await this.#store.put(keyOf(cookie), JSON.stringify(kept), expiresAt);
    return { cookie, expiresAt };
  }

  async resume(cookie: string): Promise<VerifiedSession> {
    const record = isCookie(cookie) ? await this.#store.get(keyOf(cookie)) : undefined;
    const evidence = record === undefined ? undefined : parseEvidence(record);
    if (evidence === undefined) throw new AuthzSessionRefusedError('ended', 'there is no such session');
    return new MintedSession(this.#alive(evidence));
  }

  async close(cookie: string): Promise<void> {
    if (isCookie(cookie)) await this.#store.delete(keyOf(cookie));
  }

  #alive(evidence: SessionEvidence): SessionEvidence {
    if (this.#now() >= evidence.expiresAt) throw new AuthzSessionRefusedError('ended', 'it has expired');
    if (this.#revocations.ends(evidence)) throw new AuthzSessionRefusedError('ended', 'it was revoked');
    return evidence;
  }
}

function isCookie(cookie: unknown): cookie is string {
  return typeof cookie === 'string' && COOKIE.test(cookie);
}

function keyOf(cookie: string): string {
  return hash('sha256', cookie, 'base64url');
}

/** Reads a record of the store; undefined when a part is not of its type. Never the evidence of a key. */
function parseEvidence(record: string): SessionEvidence | undefined {
  const {
    issuer,
    subject,
    issuedAt,
    issuedNotBefore,
    expiresAt,
    tokenId,
    sessionId,
    mfa,
    acr,
    authenticatedAt,
    ssoConnection,
  } = JSON.parse(record) as Partial<Record<keyof SessionEvidence, unknown>>;
  if (typeof issuer !== 'string' || typeof subject !== 'string' || typeof mfa !== 'boolean') return undefined;
  if (!isInstant(issuedAt) || !isInstant(issuedNotBefore) || !isInstant(expiresAt)) return undefined;
  if (!isOptionalText(tokenId) || !isOptionalText(sessionId)) return undefined;
  if (!isOptionalText(acr) || !isOptionalText(ssoConnection)) return undefined;
  if (authenticatedAt !== undefined && !isInstant(authenticatedAt)) return undefined;
  return Object.freeze({
    door: 'cookie',
    issuer,
    subject,
    issuedAt,
    issuedNotBefore,
    expiresAt,
    tokenId,
    sessionId,
    mfa,
    acr,
    authenticatedAt,
    ssoConnection,
  });
}

function isInstant(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && value !== '');
}
