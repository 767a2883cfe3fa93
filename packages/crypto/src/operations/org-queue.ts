/**
 * Hands organisations to parallel workers and knows up to which one all are done.
 * Invariant: `doneUpTo` never passes an organisation that is not done, so resuming after it loses none.
 */
import { type OrgId, parseOrgId } from '../org-id.ts';

/** One organisation in work. */
export interface TakenOrg {
  /** Organisation. */
  readonly org: OrgId;
  /** Place in the order of taking. */
  readonly index: number;
}

/** Organisations of one run. */
export class OrgQueue {
  readonly #iterator: AsyncIterator<OrgId> | Iterator<OrgId>;
  readonly #after: OrgId | undefined;
  readonly #finished = new Map<number, OrgId>();
  #turn: Promise<unknown> = Promise.resolve();
  #taken = 0;
  #watermark = 0;
  #ended = false;
  #ascending = true;
  #last: OrgId | undefined;
  #doneUpTo: OrgId | undefined;

  constructor(orgs: AsyncIterable<OrgId> | Iterable<OrgId>, after: OrgId | undefined) {
    this.#iterator = Symbol.asyncIterator in orgs ? orgs[Symbol.asyncIterator]() : orgs[Symbol.iterator]();
    this.#after = after;
    this.#doneUpTo = after;
  }

  /** The organisation up to which all are done, in ascending order. */
  get doneUpTo(): OrgId | undefined {
    return this.#ascending ? this.#doneUpTo : undefined;
  }

  /** The next organisation; undefined at the end. Callers take turns, since an iterator need not stand parallel calls. */
  take(): Promise<TakenOrg | undefined> {
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Marks an organisation as done. */
  finish({ org, index }: TakenOrg): void {
    this.#finished.set(index, org);
    for (;;) {
      const next = this.#finished.get(this.#watermark);
      if (next === undefined) return;
      this.#finished.delete(this.#watermark);
      this.#watermark += 1;
      this.#doneUpTo = next;
    }
  }

  /** Ends the source early. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#iterator.return?.();
  }

  async #next(): Promise<TakenOrg | undefined> {
    while (!this.#ended) {
      const { done, value } = await this.#iterator.next();
      if (done === true) {
        this.#ended = true;
        return undefined;
      }
      const org = parseOrgId(value);
      if (this.#last !== undefined && org < this.#last) this.#ascending = false;
      this.#last = org;
      if (this.#after !== undefined) {
        if (!this.#ascending) throw new TypeError('resumeAfter needs organisations in ascending order');
        if (org <= this.#after) continue;
      }
      const index = this.#taken;
      this.#taken += 1;
      return { org, index };
    }
    return undefined;
  }
}
