/**
 * Random salts of 24 bytes. `randomBytes` per message costs a third of a whole seal, so randomness is drawn in blocks of
 * 8 KiB; each salt is wiped from the pool as it is used, and the rest of the pool after a second without use.
 * Invariant: no salt leaves twice. The pool is empty at creation, so a process snapshot taken before the first seal holds
 * none; a virtual machine that is snapshotted while it runs should switch the pool off.
 */
import { randomFillSync } from 'node:crypto';
import { SALT_BYTES } from './field-format.ts';

const POOL_BYTES = 8192 - (8192 % SALT_BYTES);
const IDLE_MS = 1000;

/** Fills a buffer with random bytes. */
export type RandomFill = (buffer: Uint8Array) => void;

/** The system's random source. */
export const systemRandom: RandomFill = (buffer) => {
  randomFillSync(buffer);
};

/** Source of salts, one per keyring. */
export class SaltSource {
  readonly #fill: RandomFill;
  readonly #pool: Uint8Array;
  #next: number;
  #seenByTimer = -1;
  #timer: NodeJS.Timeout | undefined;

  constructor(fill: RandomFill, pooled: boolean) {
    this.#fill = fill;
    this.#pool = new Uint8Array(pooled ? POOL_BYTES : SALT_BYTES);
    this.#next = this.#pool.length;
  }

  /** Moves the next salt into `target` at `offset`. */
  take(target: Uint8Array, offset: number): void {
    const pool = this.#pool;
    if (this.#next >= pool.length) this.#refill();
    const from = this.#next;
    this.#next = from + SALT_BYTES;
    for (let i = 0; i < SALT_BYTES; i += 1) {
      target[offset + i] = pool[from + i] as number;
      pool[from + i] = 0;
    }
  }

  /** Wipes what is left; the next salt comes from fresh randomness. */
  wipe(): void {
    this.#pool.fill(0);
    this.#next = this.#pool.length;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #refill(): void {
    this.#fill(this.#pool);
    this.#next = 0;
    if (this.#pool.length > SALT_BYTES && this.#timer === undefined) this.#watchIdle();
  }

  #watchIdle(): void {
    this.#seenByTimer = this.#next;
    this.#timer = setTimeout(() => {
      if (this.#next === this.#seenByTimer) this.wipe();
      else this.#watchIdle();
    }, IDLE_MS);
    this.#timer.unref();
  }
}
