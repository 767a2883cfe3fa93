/**
 * Walks one organisation's chain row by row, in constant memory but for what it finds. After a break it goes on from the
 * stored link, so that one change is one finding and later changes are found too.
 */
import { type BrokenLink, explainBrokenLinks } from './broken-link.ts';
import {
  type ChainHasher,
  chainHasher,
  fromHex,
  GENESIS,
  type Sha256,
  sameBytes,
  uuidBytes,
} from './link.ts';
import type { ChainHead, ChainReport, ChainRow, Finding, FindingClass } from './report.ts';
import { isUuid, readRow, recordProblem } from './row.ts';

/** What a walk starts from. */
export interface WalkOptions {
  /** SHA-256. */
  readonly sha256: Sha256;
  /** Organisation; default that of the first row. */
  readonly org?: string | undefined;
  /** Head behind which the rows begin. */
  readonly from?: ChainHead | undefined;
  /** Head that somebody kept. */
  readonly expectedHead?: ChainHead | undefined;
}

const MOST_FINDINGS = 1_000;
const HASH = /^[0-9a-f]{64}$/;
/** Renumbering is looked for over this many places. */
const MOST_SHIFT = 8;

/** One pass over a chain. */
export class ChainWalk {
  readonly #sha256: Sha256;
  readonly #expected: ChainHead | undefined;
  readonly #findings: Finding[] = [];
  readonly #broken: BrokenLink[] = [];
  #org: string | undefined;
  #hasher: ChainHasher | undefined;
  #seq = 0;
  /** Stored link of the last row; undefined when a row before is missing. */
  #previous: Readonly<Uint8Array> | undefined = GENESIS;
  #last: Readonly<Uint8Array> = GENESIS;
  /** What renumbering added to the places of the rows from here on. */
  #shift = 0;
  #lastBroken: BrokenLink | undefined;
  /** A link taken for inserted, and the row behind it, until the next row confirms it. */
  #inserted: { readonly link: BrokenLink; readonly next: BrokenLink } | undefined;
  #checked = 0;
  #count = 0;

  constructor({ sha256, org, from, expectedHead }: WalkOptions) {
    this.#sha256 = sha256;
    if (org !== undefined) this.#begin(org);
    if (from !== undefined && this.#isHead(from, 'start')) {
      this.#seq = from.seq;
      this.#last = fromHex(from.hash);
      this.#previous = this.#last;
    }
    if (expectedHead !== undefined && this.#isHead(expectedHead, 'kept head')) {
      this.#expected = expectedHead;
      this.#compareHead();
    }
  }

  /** Place of the last row. */
  get seq(): number {
    return this.#seq;
  }

  /** Takes the next row, of any shape. */
  step(value: unknown): void {
    this.#checked++;
    const row = readRow(value);
    if (row === undefined) {
      // It stands where the next link would: the link behind it cannot be checked.
      this.#seq++;
      this.#previous = undefined;
      this.#lastBroken = undefined;
      this.find('malformed', this.#seq, null, 'not a row of a chain');
      return;
    }
    if (this.#org === undefined) this.#begin(row.org);
    if (row.org !== this.#org) {
      this.find('inserted', row.seq, row.eventId, 'the row belongs to another organisation');
      return;
    }
    if (row.seq <= this.#seq) {
      const forked = row.seq === this.#seq;
      this.find(
        forked ? 'forked' : 'reordered',
        row.seq,
        row.eventId,
        forked ? 'a second link at this place' : 'the link comes after a later one',
      );
      return;
    }
    this.#gap(row);
    this.#check(row);
    this.#seq = row.seq;
    this.#last = row.hash;
    this.#previous = row.hash;
    this.#compareHead();
  }

  /** Adds a finding of the caller. */
  find(name: FindingClass, seq: number | null, eventId: string | null, detail: string): void {
    this.#count++;
    if (this.#findings.length < MOST_FINDINGS) this.#findings.push({ class: name, seq, eventId, detail });
  }

  /** Ends the walk. */
  finish(): ChainReport {
    const hasher = this.#hasher;
    if (hasher !== undefined) {
      for (const found of explainBrokenLinks(this.#broken, hasher)) {
        this.find(found.class, found.seq, found.eventId, found.detail);
      }
    }
    if (this.#expected !== undefined && this.#seq < this.#expected.seq) {
      const missing = this.#expected.seq - this.#seq;
      this.find('cut', this.#seq + 1, null, `the last ${missing} links up to the kept head are gone`);
    }
    const findings = this.#findings.toSorted((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity));
    return {
      ok: this.#count === 0,
      checked: this.#checked,
      head: { seq: this.#seq, hash: hex(this.#last) },
      findings,
      findingCount: this.#count,
    };
  }

  #begin(org: string): void {
    this.#org = org;
    if (isUuid(org)) this.#hasher = chainHasher(uuidBytes(org), this.#sha256);
    else this.find('malformed', null, null, 'the organisation is not a lower-case UUID');
  }

  #isHead(head: ChainHead, what: string): boolean {
    const valid =
      typeof head === 'object' &&
      head !== null &&
      Number.isSafeInteger(head.seq) &&
      head.seq >= 0 &&
      typeof head.hash === 'string' &&
      HASH.test(head.hash);
    if (!valid) this.find('malformed', null, null, `the ${what} is not { seq, hash }`);
    return valid;
  }

  #gap(row: ChainRow): void {
    const first = this.#seq + 1;
    if (row.seq === first) return;
    const last = row.seq - 1;
    this.find(
      'deleted',
      first,
      null,
      first === last ? 'the link is gone' : `the links from ${first} to ${last} are gone`,
    );
    this.#previous = undefined;
    this.#lastBroken = undefined;
  }

  #check(row: ChainRow): void {
    const hasher = this.#hasher;
    if (hasher === undefined) return;
    const { canon, seq, eventId } = row;
    if (canon === null) {
      this.find('deleted', seq, eventId, 'the record of this link is gone');
      this.#lastBroken = undefined;
      return;
    }
    const leaf = hasher.leaf(canon);
    const storedLeafHolds = row.leaf !== null && sameBytes(leaf, row.leaf);
    const previous = this.#previous;
    const holds = previous === undefined || this.#linkHolds(hasher, previous, leaf, row);
    if (!holds && previous !== undefined) {
      this.#lastBroken = { seq, eventId, previous, leaf, hash: row.hash };
      if (this.#broken.length < MOST_FINDINGS) this.#broken.push(this.#lastBroken);
      return;
    }
    this.#lastBroken = undefined;
    const problem = recordProblem(row, canon);
    if (problem !== undefined) this.find(problem.class, seq, eventId, problem.detail);
    else if (!storedLeafHolds) this.find('edited', seq, eventId, 'the stored leaf is not that of the record');
  }

  #linkHolds(hasher: ChainHasher, previous: Readonly<Uint8Array>, leaf: Uint8Array, row: ChainRow): boolean {
    const place = row.seq + this.#shift;
    const at = (seq: number, before: Readonly<Uint8Array>) =>
      seq > 0 && sameBytes(hasher.link(seq, before, leaf), row.hash);
    if (at(place, previous)) {
      this.#inserted = undefined;
      return true;
    }
    const inserted = this.#inserted;
    this.#inserted = undefined;
    if (inserted !== undefined && at(place + 1, inserted.link.hash)) {
      // What looked like a link put in between was the next one: two neighbours have changed places.
      inserted.link.verdict = 'reordered';
      this.#broken.push({ ...inserted.next, verdict: 'reordered' });
      this.#shift++;
      return true;
    }
    const broken = this.#lastBroken;
    if (broken === undefined) return false;
    if (at(place - 1, broken.previous)) {
      broken.verdict = 'inserted';
      const { seq, eventId, hash } = row;
      this.#inserted = { link: broken, next: { seq, eventId, previous, leaf, hash } };
      this.#shift--;
      return true;
    }
    for (let shift = 1; shift <= MOST_SHIFT; shift++) {
      if (!at(place + shift, previous)) continue;
      broken.verdict = 'deleted';
      this.#shift += shift;
      return true;
    }
    return false;
  }

  #compareHead(): void {
    if (this.#expected?.seq !== this.#seq || this.#expected.hash === hex(this.#last)) return;
    this.find('rewritten', this.#seq, null, 'the chain here is not the one whose head was kept');
  }
}

function hex(bytes: Readonly<Uint8Array>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
