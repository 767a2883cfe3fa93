/**
 * Records that were pruned under a retention policy (docs/formats/audit-chain-v1.md §7). Such a link keeps its leaf, so the chain and every
 * checkpoint still verify; whether its record was pruned or deleted is what a later record of the same chain says.
 *
 * Invariant: a record that is gone is excused only by a record `log.pruned` behind it, and only from the beginning of the chain on.
 */
import { valueAt } from './canonical-bytes.ts';
import { toHex } from './link.ts';
import type { RecordBytes } from './record-bytes.ts';
import type { RecordProblem } from './row.ts';

/** Type of the event that tells of a pruning. */
const TYPE = 'log.pruned';
const DIGEST = /^[0-9a-f]{64}$/;

/** Links whose records are gone without a record that says so. */
export interface Unexplained {
  /** First of them. */
  readonly from: number;
  /** Last of them. */
  readonly to: number;
}

/** What is gone from one chain, and what the chain says of it. */
export class PrunedRecords {
  #from = 0;
  #to = 0;
  readonly #hash: Uint8Array = new Uint8Array(32);
  #said = 0;

  /** Whether a record is gone of which nothing was said so far. */
  get isPending(): boolean {
    return this.#to > this.#said;
  }

  /** Records that are gone, and of which the chain says that they were pruned. */
  get count(): number {
    return this.#from === 0 ? 0 : Math.max(0, Math.min(this.#to, this.#said) - this.#from + 1);
  }

  /** Takes a link that has its leaf and no record. */
  take(seq: number, hash: Readonly<Uint8Array>): void {
    if (this.#from === 0) this.#from = seq;
    this.#to = seq;
    this.#hash.set(hash);
  }

  /** Takes a sound record behind the last link that is gone, and says what is wrong with it as the record of a pruning. */
  hear(seq: number, { bytes, end, scan }: RecordBytes): RecordProblem | undefined {
    if (!this.isPending || scan.typeAt === 0 || valueAt(bytes, scan.typeAt, scan.typeEnd) !== TYPE)
      return undefined;
    const { event } = (valueAt(bytes, 1, end) ?? {}) as { readonly event?: { readonly data?: unknown } };
    const { through, hash } = (event?.data ?? {}) as { readonly through?: unknown; readonly hash?: unknown };
    if (
      !Number.isSafeInteger(through) ||
      typeof hash !== 'string' ||
      !DIGEST.test(hash) ||
      (through as number) >= seq
    ) {
      return { class: 'malformed', detail: 'the record of a pruning does not say up to which link' };
    }
    if (through === this.#to && hash !== toHex(this.#hash)) {
      return {
        class: 'edited',
        detail: 'the record of a pruning names another link than the one that was sealed there',
      };
    }
    this.#said = Math.max(this.#said, through as number);
    return undefined;
  }

  /** The links whose records are gone without a word. */
  unexplained(): Unexplained | undefined {
    return this.isPending ? { from: Math.max(this.#from, this.#said + 1), to: this.#to } : undefined;
  }
}
