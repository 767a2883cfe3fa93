/**
 * Verified tokens by the SHA-256 of their text, so that no token stays in memory. An entry says only "this text was verified by
 * this configuration, with keys of this generation": expiry, revocation and the age of the keys are asked anew at each
 * hit. Bounded: half of it is dropped at a time, oldest use first, in constant time per hit.
 */
import { hash } from 'node:crypto';
import type { RemoteKeySet } from './key-set.ts';
import type { MintedSession, SessionEvidence } from './verified-session.ts';

/** A verified token. */
export interface CachedToken {
  readonly session: MintedSession;
  readonly evidence: SessionEvidence;
  readonly keys: RemoteKeySet;
  /** Generation of the keys it was verified with. */
  readonly generation: number;
  /** Version of the revocations it was last compared with. */
  revocationsSeen: number;
}

/** A map in two generations: what is used moves to the young one, the old one is dropped when the young is full. */
export class TokenCache {
  readonly #half: number;
  #young = new Map<string, CachedToken>();
  #old = new Map<string, CachedToken>();

  constructor(maxEntries: number) {
    if (!Number.isSafeInteger(maxEntries) || maxEntries < 2) {
      throw new TypeError('cacheEntries is not a count of at least 2');
    }
    this.#half = Math.floor(maxEntries / 2);
  }

  /** The key of a token: the 32 bytes of its hash, a character each, which is the shortest text and the quickest to make. */
  static keyOf(token: string): string {
    return hash('sha256', token, 'binary');
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): CachedToken | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.set(key, old);
    }
    return old;
  }

  set(key: string, entry: CachedToken): void {
    this.#old.delete(key);
    this.#young.set(key, entry);
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
