/**
 * Events that wait for a chain that somebody else holds, another process that seals or a transaction. They are asked for
 * again after a pause, which grows while the chain stays held; whoever comes to such a chain meanwhile joins them. So a chain
 * that is held costs a few calls, and delays no event of another organisation.
 */

/** Longest pause between two calls for a chain that is held, ms. */
const LONGEST_PAUSE_MS = 20;

/** What is put into a chain. */
interface Queued {
  /** Organisation; null when it is not known. */
  readonly org: string | null;
}

interface HeldChain<W> {
  /** Who is asked for next time. */
  waiters: W[];
  pauseMs: number;
  /** Whether the pause is on; it is not while a call asks. */
  pausing: boolean;
}

/** The chains that were held when they were last asked for. */
export class HeldChains<W extends Queued> {
  readonly #ask: (waiters: readonly W[]) => void;
  readonly #held = new Map<string, HeldChain<W>>();

  /** `ask` is called with those whose turn it is again, or with none. */
  constructor(ask: (waiters: readonly W[]) => void) {
    this.#ask = ask;
  }

  /** Lets an event join those of its organisation; false when its chain is not held. */
  join(waiter: W): boolean {
    const chain = waiter.org === null ? undefined : this.#held.get(waiter.org);
    chain?.waiters.push(waiter);
    return chain !== undefined;
  }

  /** After a call: who was asked for, and whose chain was held. */
  settle(asked: readonly W[], held: readonly (W & { readonly org: string })[]): void {
    const heldOrgs = new Set(held.map(({ org }) => org));
    for (const { org } of asked) if (org !== null && !heldOrgs.has(org)) this.#release(org);
    for (const waiter of held) {
      if (!this.join(waiter)) {
        this.#held.set(waiter.org, { waiters: [waiter], pauseMs: 0.5, pausing: false });
      }
    }
    for (const org of heldOrgs) this.#pause(org);
  }

  #release(org: string): void {
    const chain = this.#held.get(org);
    if (chain === undefined) return;
    this.#held.delete(org);
    this.#askFor(chain);
  }

  #askFor(chain: HeldChain<W>): void {
    const { waiters } = chain;
    chain.waiters = [];
    this.#ask(waiters);
  }

  #pause(org: string): void {
    const chain = this.#held.get(org);
    if (chain === undefined || chain.pausing) return;
    chain.pausing = true;
    chain.pauseMs = Math.min(chain.pauseMs * 2, LONGEST_PAUSE_MS);
    setTimeout(() => {
      chain.pausing = false;
      this.#askFor(chain);
    }, chain.pauseMs);
  }
}
