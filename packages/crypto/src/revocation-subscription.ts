/**
 * A keyring's subscription to its revocation channel. It is made before the first lease, so that no revocation falls
 * between lease and subscription. Where the channel fails, or does not answer, leases go on and bound the lock-out alone;
 * the subscription is tried again with the next call, and everything leased meanwhile is evicted once it stands.
 */
import type { RevocationChannel, RevocationListener } from './revocation.ts';

/** How long a call waits for a channel that does not answer, ms: a server that is gone without a word must not stop us. */
const PATIENCE_MS = 5_000;

/** Subscribes once, again after a failure. */
export class RevocationSubscription {
  readonly #channel: RevocationChannel;
  readonly #listener: RevocationListener;
  readonly #patienceMs: number;
  #attempt: Promise<void> | undefined;
  #end: (() => Promise<void>) | undefined;
  #failed = false;
  /** The attempt under way took too long: nobody waits for it any more. */
  #late = false;
  #closed = false;

  constructor(channel: RevocationChannel, listener: RevocationListener, patienceMs: number = PATIENCE_MS) {
    this.#channel = channel;
    this.#listener = listener;
    this.#patienceMs = patienceMs;
  }

  /** Resolves when the subscription stands, this attempt has failed, or it has been waited for long enough. */
  ready(): Promise<void> | undefined {
    if (this.#end !== undefined || this.#late) return undefined;
    this.#attempt ??= this.#subscribe().finally(() => {
      this.#attempt = undefined;
      this.#late = false;
    });
    return this.#patiently(this.#attempt);
  }

  /** Ends the subscription. */
  async end(): Promise<void> {
    this.#closed = true;
    if (this.#attempt !== undefined && !this.#late) await this.#patiently(this.#attempt);
    const end = this.#end;
    this.#end = undefined;
    await end?.();
  }

  async #patiently(attempt: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const impatience = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#failed = true;
        this.#late = true;
        resolve();
      }, this.#patienceMs);
    });
    await Promise.race([attempt, impatience]).finally(() => clearTimeout(timer));
  }

  async #subscribe(): Promise<void> {
    let end: () => Promise<void>;
    try {
      end = await this.#channel.subscribe(this.#listener);
    } catch {
      this.#failed = true; // the lease bounds the lock-out; see the header
      return;
    }
    if (this.#closed && this.#late) {
      await end().catch(() => undefined); // nobody waits for it: the keyring is closed
      return;
    }
    this.#end = end;
    if (this.#failed && !this.#closed) this.#listener.missed();
    this.#failed = false;
  }
}
