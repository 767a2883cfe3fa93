/**
 * Walks one organisation's chain row by row, in constant memory but for what it finds. After a break it goes on from the
 * stored link, so that one change is one finding and later changes are found too.
 */
import { type BrokenLink, explainBrokenLinks } from './broken-link.ts';
import { FindingList, MOST_FINDINGS } from './finding-list.ts';
import { type FixedText, fixedText, setText } from './fixed-form.ts';
import {
  type ChainHasher,
  chainHasher,
  fromHex,
  GENESIS,
  type Sha256,
  sameBytes,
  toHex,
  uuidBytes,
} from './link.ts';
import { PrunedRecords } from './pruned-records.ts';
import { RecordBytes } from './record-bytes.ts';
import type { ChainHead, ChainReport, Finding, FindingClass, RecordColumns } from './report.ts';
import { isUuid, readRow, recordProblem } from './row.ts';

/** What a walk starts from. */
export interface WalkOptions {
  /** SHA-256. */
  readonly sha256: Sha256;
  /** Organisation; default that of the first row. */
  readonly org?: string | undefined;
  /** Head behind which the rows begin. */
  readonly from?: ChainHead | undefined;
  /** Heads that somebody kept. */
  readonly expectedHead?: ChainHead | readonly ChainHead[] | undefined;
  /** Told the leaf of each record that is read. */
  readonly seen?: ((seq: number, leaf: Readonly<Uint8Array>) => void) | undefined;
}

/** One link whose shape is right. Its record, when it has one, is in the walk's `record`. */
export interface Link {
  /** Number in the chain, from 1. */
  readonly seq: number;
  /** Id of the event, lower-case UUID. */
  readonly eventId: string;
  /** Its 36 characters. */
  readonly id: FixedText;
  /** Stored link, 32 bytes; valid until the next link. */
  readonly hash: Uint8Array;
  /** False when the link has no record any more. */
  readonly hasRecord: boolean;
  /** Stored leaf, where the source keeps one; what is left of a record that was pruned. */
  readonly leaf?: Uint8Array | null;
  /** Columns that repeat the record. */
  readonly columns?: RecordColumns | undefined;
}

const HASH = /^[0-9a-f]{64}$/;
const UUID_LENGTH = 36;
/** Renumbering is looked for over this many places. */
const MOST_SHIFT = 8;

/** One pass over a chain. */
export class ChainWalk {
  /** Bytes of the record that the next step is about. */
  readonly record: RecordBytes = new RecordBytes();
  readonly #sha256: Sha256;
  readonly #seen: WalkOptions['seen'];
  /** Kept heads that are still to come, the next one last. */
  readonly #expected: ChainHead[] = [];
  readonly #findings = new FindingList<Finding>();
  /** Links that do not hold and are not found yet, the oldest first. */
  readonly #broken: BrokenLink[] = [];
  /** Whether `#broken` holds all there were. */
  #areAll = true;
  readonly #id = fixedText('0'.repeat(UUID_LENGTH));
  #org: string | undefined;
  #orgText: FixedText | undefined;
  #hasher: ChainHasher | undefined;
  #seq = 0;
  /** Stored link of the last row. */
  readonly #last: Uint8Array = GENESIS.slice();
  /** False when the row before the next one is missing, so that its link is not known. */
  #joined = true;
  /** What renumbering added to the places of the rows from here on. */
  #shift = 0;
  #lastBroken: BrokenLink | undefined;
  /** A link taken for inserted, and the row behind it, until the next row confirms it. */
  #inserted: { readonly link: BrokenLink; readonly next: BrokenLink } | undefined;
  #checked = 0;
  readonly #pruned = new PrunedRecords();
  /** Whether a link of this walk had its record: what is gone behind it was not pruned. */
  #recordSeen = false;

  constructor({ sha256, org, from, expectedHead, seen }: WalkOptions) {
    this.#sha256 = sha256;
    this.#seen = seen;
    if (org !== undefined) this.#begin(org);
    if (from !== undefined && this.#isHead(from, 'start')) {
      this.#seq = from.seq;
      this.#last.set(fromHex(from.hash));
    }
    this.#keep(expectedHead === undefined ? [] : [expectedHead].flat());
  }

  /** Place of the last row. */
  get seq(): number {
    return this.#seq;
  }

  /** The last link, 64 hex digits. */
  get lastHash(): string {
    return toHex(this.#last);
  }

  /** Whether nothing was found so far: what comes next depends on the last link alone. */
  get isSound(): boolean {
    return this.#findings.count === 0 && this.#broken.length === 0 && !this.#pruned.isPending;
  }

  /** Kept heads behind one place, up to another. */
  keptBetween(from: number, to: number): readonly ChainHead[] {
    return this.#expected.filter(({ seq }) => seq > from && seq <= to);
  }

  /** Goes behind links that were verified apart from the last one on, with the kept heads among them. */
  accept({ head, links }: { readonly head: ChainHead; readonly links: number }): void {
    this.#checked += links;
    this.#seq = head.seq;
    this.#last.set(fromHex(head.hash));
    this.#joined = true;
    this.#recordSeen = true;
    this.#compareHead();
  }

  /** Takes the next row, of any shape. */
  step(value: unknown): void {
    this.#checked++;
    const row = readRow(value);
    if (row === undefined) {
      this.#malformed('not a row of a chain');
      return;
    }
    const { org, seq, eventId, hash, canon, leaf, columns } = row;
    if (this.#org === undefined) this.#begin(org);
    if (org !== this.#org) {
      this.find('inserted', seq, eventId, 'the row belongs to another organisation');
      return;
    }
    const hasRecord = canon !== null;
    if (hasRecord) this.record.setText(canon);
    setText(this.#id, eventId);
    this.#take({ seq, eventId, id: this.#id, hash, hasRecord, leaf, columns });
  }

  /** Takes the next link of the walk's organisation; its record is in `record`. */
  stepLink(link: Link): void {
    this.#checked++;
    this.#take(link);
  }

  /** Takes something in the place of a link that is none. */
  stepMalformed(detail: string): void {
    this.#checked++;
    this.#malformed(detail);
  }

  #malformed(detail: string): void {
    // It stands where the next link would: the link behind it cannot be checked.
    this.#seq++;
    this.#joined = false;
    this.#lastBroken = undefined;
    this.find('malformed', this.#seq, null, detail);
  }

  #take(row: Link): void {
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
    for (let index = 0; index < this.#last.length; index++) this.#last[index] = row.hash[index] as number;
    this.#joined = true;
    this.#compareHead();
  }

  /** Adds a finding of the caller. */
  find(name: FindingClass, seq: number | null, eventId: string | null, detail: string): void {
    this.#findings.add({ class: name, seq, eventId, detail });
  }

  /** Ends the walk. */
  finish(): ChainReport {
    this.#explain(this.#broken);
    const gone = this.#pruned.unexplained();
    if (gone !== undefined) {
      const what =
        gone.from === gone.to
          ? 'the record of this link is'
          : `the records of links ${gone.from} to ${gone.to} are`;
      this.find('deleted', gone.from, null, `${what} gone, and the chain tells of no pruning`);
    }
    const [farthest] = this.#expected;
    if (farthest !== undefined && farthest.seq > this.#seq) {
      const missing = farthest.seq - this.#seq;
      this.find('cut', this.#seq + 1, null, `the last ${missing} links up to the kept head are gone`);
    }
    const findings = this.#findings.kept.toSorted((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity));
    return {
      ok: this.#findings.count === 0,
      checked: this.#checked,
      head: { seq: this.#seq, hash: toHex(this.#last) },
      findings,
      findingCount: this.#findings.count,
      pruned: this.#pruned.count,
    };
  }

  #begin(org: string): void {
    this.#org = org;
    if (isUuid(org)) {
      this.#orgText = fixedText(org);
      this.#hasher = chainHasher(uuidBytes(org), this.#sha256);
    } else this.find('malformed', null, null, 'the organisation is not a lower-case UUID');
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

  #gap(row: Link): void {
    const first = this.#seq + 1;
    if (row.seq === first) return;
    const last = row.seq - 1;
    this.find(
      'deleted',
      first,
      null,
      first === last ? 'the link is gone' : `the links from ${first} to ${last} are gone`,
    );
    this.#joined = false;
    this.#lastBroken = undefined;
  }

  #check(row: Link): void {
    const hasher = this.#hasher;
    const org = this.#orgText;
    if (hasher === undefined || org === undefined) return;
    const { seq } = row;
    const leaf = row.hasRecord ? hasher.leaf(this.record.leafInput) : row.leaf;
    if (leaf == null || (!row.hasRecord && this.#recordSeen)) {
      this.find('deleted', seq, row.eventId, 'the record of this link is gone');
      this.#lastBroken = undefined;
      return;
    }
    this.#recordSeen ||= row.hasRecord;
    this.#seen?.(seq, leaf.slice());
    if (this.#joined && !this.#linkHolds(hasher, leaf, row)) {
      this.#lastBroken = this.#brokenAt(row, leaf);
      this.#broken.push(this.#lastBroken);
      // The last two may yet be told by what follows.
      if (this.#broken.length > MOST_FINDINGS) {
        this.#areAll = false;
        this.#explain(this.#broken.splice(0, MOST_FINDINGS - 1));
      }
      return;
    }
    this.#lastBroken = undefined;
    if (!row.hasRecord) {
      this.#pruned.take(seq, row.hash);
      return;
    }
    const problem = recordProblem(org, row, this.record) ?? this.#pruned.hear(seq, this.record);
    if (problem !== undefined) this.find(problem.class, seq, row.eventId, problem.detail);
    else if (row.leaf != null && !sameBytes(leaf, row.leaf))
      this.find('edited', seq, row.eventId, 'the stored leaf is not that of the record');
  }

  #explain(broken: readonly BrokenLink[]): void {
    const hasher = this.#hasher;
    if (hasher === undefined) return;
    for (const found of explainBrokenLinks(broken, hasher, this.#areAll)) this.#findings.add(found);
  }

  #brokenAt({ seq, eventId, hash }: Link, leaf: Readonly<Uint8Array>): BrokenLink {
    // What it is made of is written over by the next link.
    return { seq, eventId, previous: this.#last.slice(), leaf: leaf.slice(), hash: hash.slice() };
  }

  #linkHolds(hasher: ChainHasher, leaf: Readonly<Uint8Array>, row: Link): boolean {
    const previous = this.#last;
    const place = row.seq + this.#shift;
    if (place > 0 && hasher.holds(place, previous, leaf, row.hash)) {
      this.#inserted = undefined;
      return true;
    }
    const at = (seq: number, before: Readonly<Uint8Array>) =>
      seq > 0 && hasher.holds(seq, before, leaf, row.hash);
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
      this.#inserted = { link: broken, next: this.#brokenAt(row, leaf) };
      this.#shift--;
      return true;
    }
    if (at(place - 1, previous)) {
      // The link before the broken one continues its predecessor, but is not of this chain.
      broken.verdict = 'inserted';
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

  /** Takes over the kept heads: farthest first, so that the next one is the last. */
  #keep(heads: readonly ChainHead[]): void {
    const valid = heads.filter((head) => this.#isHead(head, 'kept head'));
    this.#expected.push(...valid.toSorted((a, b) => b.seq - a.seq));
    this.#expected.forEach(({ seq, hash }, index) => {
      const before = this.#expected[index - 1];
      if (before?.seq !== seq || before.hash === hash) return;
      this.find('forked', seq, null, 'two kept heads are of two different chains');
    });
    this.#compareHead();
  }

  #compareHead(): void {
    for (;;) {
      const next = this.#expected.at(-1);
      if (next === undefined || next.seq > this.#seq) return;
      this.#expected.pop();
      if (next.seq < this.#seq || next.hash === toHex(this.#last)) continue;
      this.find('rewritten', this.#seq, null, 'the chain here is not the one whose head was kept');
    }
  }
}
