/**
 * What was revoked and when. A revocation ends everything of its subject, session or organisation that can have been
 * issued up to its instant, and a token id for good; what is surely issued later is not touched, so a person can sign in
 * again. Whose clock may be ahead by the skew may have dated a token so much later: within the skew after a revocation
 * nobody can tell old from new, and both are ended. `iat` has whole seconds, so its second counts as well.
 * Bounded: when the register is full, everything issued up to now is over, which costs sign-ins and opens nothing.
 */
import { type Clock, clockOf, steadyTime } from './clock.ts';
import type { SessionEvidence } from './verified-session.ts';

/** One revocation, plain JSON. */
export interface Revocation {
  /** What ends. */
  readonly kind: 'token' | 'session' | 'subject' | 'org';
  /** The issuer; empty for an organisation. */
  readonly issuer: string;
  /** `jti`, `sid`, `sub`, or the organisation's id. */
  readonly id: string;
  /** The instant, epoch ms. */
  readonly at: number;
}

/** What the register needs. */
export interface RevocationOptions extends Partial<Clock> {
  /** Sends a revocation to the other processes and to the store; awaited after it is in force here. */
  readonly publish?: (revocation: Revocation) => Promise<void>;
  /** How many are kept. Default 100,000. */
  readonly maxEntries?: number;
}

/** The longest life of a token (24 h), its skew twice, and slack: an older revocation has nothing left to end. */
const RETENTION_MS = 90_000_000;

/** The register of revocations. One per process, shared by verifier, cookie sessions and guard. */
export class Revocations {
  readonly #entries = new Map<string, number>();
  readonly #now: () => number;
  readonly #publish: ((revocation: Revocation) => Promise<void>) | undefined;
  readonly #maxEntries: number;
  #everythingUpTo = -Infinity;
  #version = 0;

  /** Makes an empty register; hand it the revocations of the last 25 hours from your store with `receive`. */
  constructor({ publish, maxEntries = 100_000, ...clock }: RevocationOptions = {}) {
    if (!Number.isSafeInteger(maxEntries) || maxEntries < 1) throw new TypeError('maxEntries is not a count');
    this.#publish = publish;
    this.#maxEntries = maxEntries;
    this.#now = steadyTime(clockOf(clock));
  }

  /** Changes with every revocation. */
  get version(): number {
    return this.#version;
  }

  /** Ends one token by its `jti`. Rejects when `publish` does; it is in force here all the same. */
  async revokeToken(issuer: string, tokenId: string): Promise<void> {
    await this.#revoke('token', issuer, tokenId);
  }

  /** Ends one session at the issuer by its `sid`: what OIDC back-channel logout asks for. */
  async revokeSession(issuer: string, sessionId: string): Promise<void> {
    await this.#revoke('session', issuer, sessionId);
  }

  /** Ends every session of a subject that began before now. */
  async revokeSubject(issuer: string, subject: string): Promise<void> {
    await this.#revoke('subject', issuer, subject);
  }

  /** Ends every session in an organisation that began before now. API keys: revoke them where they are stored, too. */
  async revokeOrg(org: string): Promise<void> {
    await this.#revoke('org', '', org);
  }

  /**
   * Takes a revocation of another process or of the store. One that is dated later than now counts from now on as well.
   *
   * @throws TypeError when it is malformed.
   */
  receive(revocation: Revocation): void {
    const { kind, issuer, id, at } = revocation;
    if (!['token', 'session', 'subject', 'org'].includes(kind))
      throw new TypeError('not a kind of revocation');
    if (typeof issuer !== 'string' || typeof id !== 'string' || id === '' || !Number.isSafeInteger(at)) {
      throw new TypeError('the revocation is malformed');
    }
    const key = keyOf(kind, issuer, id);
    const known = this.#entries.get(key) ?? -Infinity;
    this.#entries.delete(key); // the order of the map is the order of arrival
    this.#entries.set(key, Math.max(known, at));
    this.#version += 1;
    if (this.#entries.size > this.#maxEntries) this.#trim();
  }

  /** True when the session, or what it was made from, was revoked. */
  ends(evidence: SessionEvidence, org?: string): boolean {
    const { issuer, subject, issuedNotBefore, tokenId, sessionId } = evidence;
    if (issuedNotBefore <= this.#everythingUpTo) return true;
    if (this.#entries.size === 0) return false;
    return (
      (tokenId !== undefined && this.#entries.has(keyOf('token', issuer, tokenId))) ||
      (sessionId !== undefined && this.#upTo('session', issuer, sessionId) >= issuedNotBefore) ||
      this.#upTo('subject', issuer, subject) >= issuedNotBefore ||
      (org !== undefined && this.#upTo('org', '', org) >= issuedNotBefore)
    );
  }

  async #revoke(kind: Revocation['kind'], issuer: string, id: string): Promise<void> {
    const revocation: Revocation = { kind, issuer, id, at: Math.ceil(this.#now()) };
    this.receive(revocation);
    await this.#publish?.(revocation);
  }

  #upTo(kind: Revocation['kind'], issuer: string, id: string): number {
    return this.#entries.get(keyOf(kind, issuer, id)) ?? -Infinity;
  }

  #trim(): void {
    const now = this.#now();
    for (const [key, at] of this.#entries) if (at + RETENTION_MS < now) this.#entries.delete(key);
    if (this.#entries.size <= this.#maxEntries) return;
    this.#entries.clear();
    this.#everythingUpTo = now;
  }
}

function keyOf(kind: string, issuer: string, id: string): string {
  return JSON.stringify([kind, issuer, id]);
}
