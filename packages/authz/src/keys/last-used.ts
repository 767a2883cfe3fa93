/**
 * When keys were last used, written down in batches: at most one write per key and interval, and none in the way of a
 * request. A write that fails is tried again with the next batch; a use is a fact for reports and grants nothing.
 */
import type { ApiKeyRecord, ApiKeyStore, KeyUse } from './key-store.ts';

/** Collects uses. */
export class LastUsed {
  readonly #store: ApiKeyStore;
  readonly #intervalMs: number;
  readonly #maxPending: number;
  readonly #onError: (cause: unknown) => void;
  #pending = new Map<string, KeyUse>();
  #written = -Infinity;
  #writing: Promise<void> | undefined;

  constructor(store: ApiKeyStore, intervalMs: number, maxPending: number, onError: (cause: unknown) => void) {
    this.#store = store;
    this.#intervalMs = intervalMs;
    this.#maxPending = maxPending;
    this.#onError = onError;
  }

  /** Notes a use; starts a write when the interval is over. Never throws and never waits. */
  note({ id, org }: ApiKeyRecord, at: number): void {
    if (this.#pending.has(id) || this.#pending.size < this.#maxPending)
      this.#pending.set(id, { org, id, at });
    if (at - this.#written < this.#intervalMs || this.#writing !== undefined) return;
    this.#written = at;
    this.flush().catch(this.#onError);
  }

  /** Writes what is pending. Rejects when the store does; what was to be written stays pending. */
  async flush(): Promise<void> {
    await this.#writing?.catch(() => undefined); // whoever started it hears of its failure
    if (this.#pending.size === 0) return;
    const batch = this.#pending;
    this.#pending = new Map();
    this.#writing = this.#write(batch);
    await this.#writing;
  }

  async #write(batch: ReadonlyMap<string, KeyUse>): Promise<void> {
    try {
      await this.#store.touch([...batch.values()]);
    } catch (cause) {
      for (const [id, use] of batch) if (!this.#pending.has(id)) this.#pending.set(id, use);
      throw cause;
    } finally {
      this.#writing = undefined;
    }
  }
}
