/**
 * A keyring's subscription to its revocation channel. It is made before the first lease, so that no revocation falls
 * between lease and subscription. Where the channel fails, leases go on and bound the lock-out alone; the subscription is
 * tried again with the next call, and everything leased meanwhile is evicted once it stands.
 */
import type { RevocationChannel, RevocationListener } from './revocation.ts';

/** Subscribes once, again after a failure. */
export class RevocationSubscription {
  readonly #channel: RevocationChannel;
  readonly #listener: RevocationListener;
  #attempt: Promise<void> | undefined;
  #end: (() => Promise<void>) | undefined;
  #failed = false;
  #closed = false;

  constructor(channel: RevocationChannel, listener: RevocationListener) {
    this.#channel = channel;
    this.#listener = listener;
  }

  /** Resolves when the subscription stands or this attempt has failed. */
  ready(): Promise<void> | undefined {
    if (this.#end !== undefined) return undefined;
    this.#attempt ??= this.#subscribe().finally(() => {
      this.#attempt = undefined;
    });
    return this.#attempt;
  }

  /** Ends the subscription. */
  async end(): Promise<void> {
    this.#closed = true;
    await this.#attempt;
    const end = this.#end;
    this.#end = undefined;
    await end?.();
  }

  async #subscribe(): Promise<void> {
    try {
      this.#end = await this.#channel.subscribe(this.#listener);
    } catch {
      this.#failed = true; // the lease bounds the lock-out; see the header
      return;
    }
    if (this.#failed && !this.#closed) this.#listener.missed();
    this.#failed = false;
  }
}
