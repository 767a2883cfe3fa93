/**
 * Records of keys that were verified a moment ago, so that a busy key costs neither a look-up nor a MAC per request.
 * They stand under the SHA-256 of the whole key and a salt of this process: no key stays in memory, what is compared can
 * be steered by nobody, and whoever knows an id and not its secret is answered as if there were no such id. Bounded in
 * number and in age.
 * Invariant: a record that a revocation of the register names is read again before it counts, whichever process
 * revoked it and whatever its clock says; everything else in the store counts after `maxAgeMs` at the latest.
 */
import { hash, randomBytes } from 'node:crypto';
import { API_KEY_ISSUER } from '../session/api-key-session.ts';
import type { Revocations } from '../session/revocations.ts';
import type { ApiKeyRecord } from './key-store.ts';

interface Entry {
  readonly record: ApiKeyRecord;
  readonly readAt: number;
  /** Version of the register up to which no revocation names the key. */
  version: number;
}

/** Taken before the store is asked, so that what happens meanwhile is later. */
export interface ReadingMark {
  /** Epoch ms. */
  readonly at: number;
  /** Version of the register. */
  readonly version: number;
}

/** Records by salted digest of the key. */
export class RecordCache {
  readonly #salt = randomBytes(32).toString('base64url');
  readonly #revocations: Revocations;
  readonly #maxAgeMs: number;
  readonly #maxEntries: number;
  readonly #entries = new Map<string, Entry>();

  constructor(revocations: Revocations, maxAgeMs: number, maxEntries: number) {
    this.#revocations = revocations;
    this.#maxAgeMs = maxAgeMs;
    this.#maxEntries = maxEntries;
  }

  /** Under what a key stands; ASCII only. Nothing is ever kept when records may have no age. */
  digestOf(key: string): string {
    return this.#maxAgeMs === 0 ? '' : hash('sha256', this.#salt + key, 'latin1');
  }

  /** The record of a key that was verified, if it is at hand and still counts at the instant. */
  get(digest: string, now: number): ApiKeyRecord | undefined {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    const { version } = this.#revocations;
    if (now - entry.readAt < this.#maxAgeMs) {
      if (entry.version === version) return entry.record;
      if (!this.#isNamed(entry.record)) {
        entry.version = version;
        return entry.record;
      }
    }
    this.#entries.delete(digest);
    return undefined;
  }

  /** To be taken before a record is read. */
  mark(now: number): ReadingMark {
    return { at: now, version: this.#revocations.version };
  }

  /** Keeps the record of a key whose MAC was verified, and of no other: nobody fills the cache with guesses. */
  keep(digest: string, record: ApiKeyRecord, { at, version }: ReadingMark): void {
    if (this.#maxAgeMs === 0) return;
    this.#entries.delete(digest);
    this.#entries.set(digest, { record, readAt: at, version });
    if (this.#entries.size > this.#maxEntries) this.#dropOldest();
  }

  #dropOldest(): void {
    for (const digest of this.#entries.keys()) {
      this.#entries.delete(digest);
      return;
    }
  }

  /** Any revocation at all, however it is dated: clocks of two processes differ. */
  #isNamed({ id, org }: ApiKeyRecord): boolean {
    return this.#revocations.ends(
      {
        door: 'api_key',
        issuer: API_KEY_ISSUER,
        subject: id,
        issuedAt: Number.MIN_SAFE_INTEGER,
        issuedNotBefore: Number.MIN_SAFE_INTEGER,
        expiresAt: 0,
        tokenId: undefined,
        sessionId: undefined,
        mfa: false,
        acr: undefined,
        authenticatedAt: undefined,
        ssoConnection: undefined,
      },
      org,
    );
  }
}
