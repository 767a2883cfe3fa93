/**
 * Verifies an export as its bytes arrive (docs/formats/audit-export-v1.md §5). Invariant: no bytes make it throw, and memory
 * does not grow with the number of links.
 */
import type { BlockEnd } from './block.ts';
import { ChainWalk } from './chain-walk.ts';
import { LinkLine, readEnd, readHeader, readLink, readNote } from './export-line.ts';
import { LineCutter, MAX_LINE_BYTES } from './lines.ts';
import { GENESIS, type Sha256, toHex } from './link.ts';
import type { ChainHead, ExportReport } from './report.ts';
import { isUuid } from './row.ts';
import type { SignedRecords } from './signed-records.ts';

/** Most notes, and most characters of each: they are proofs about one export, not a log of their own. */
const MOST_NOTES = 1_000;

/** What a walk over an export needs. */
export interface ExportWalkOptions {
  /** SHA-256. */
  readonly sha256: Sha256;
  /** Organisation that the export must be of. */
  readonly org?: string | undefined;
  /** Heads that somebody kept. */
  readonly expectedHead?: ChainHead | readonly ChainHead[] | undefined;
  /** What was signed of it. */
  readonly signed?: SignedRecords | undefined;
}

/** One pass over an export. */
export class ExportWalk {
  readonly #options: ExportWalkOptions;
  readonly #lines: LineCutter;
  readonly #notes: string[] = [];
  readonly #link = new LinkLine();
  #walk: ChainWalk | undefined;
  #org = '';
  #from: ChainHead = { seq: 0, hash: toHex(GENESIS) };
  #end: ChainHead | undefined;
  #refused: string | undefined;
  #links = false;
  #behindEnd = false;

  constructor(options: ExportWalkOptions) {
    this.#options = options;
    this.#lines = new LineCutter(
      {
        take: (chunk, from, to) => this.#take(chunk, from, to),
        line: (bytes) => this.#line(bytes),
        tooLong: () => this.#notALine('a line longer than 1 MiB'),
      },
      MAX_LINE_BYTES,
    );
  }

  /** Takes the next bytes. */
  push(chunk: unknown): void {
    if (this.#refused !== undefined) return;
    if (chunk instanceof Uint8Array) this.#lines.push(chunk);
    else this.#refuse('the export is not a stream of bytes');
  }

  /** Texts of the notes so far. */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /** Organisation of the export; empty before its header. */
  get org(): string {
    return this.#org;
  }

  /** The last link, when only whole lines were taken, links have begun and nothing was found: links may be verified apart. */
  get soundHead(): ChainHead | undefined {
    const walk = this.#walk;
    const among = this.#links && this.#end === undefined && this.#lines.rest === 0;
    return among && walk?.isSound === true ? { seq: walk.seq, hash: walk.lastHash } : undefined;
  }

  /** Whether links behind this head may be accepted now. */
  continuesAt({ seq, hash }: ChainHead): boolean {
    const head = this.soundHead;
    return head?.seq === seq && head.hash === hash;
  }

  /** Kept heads behind one place, up to another. */
  keptBetween(from: number, to: number): readonly ChainHead[] {
    return this.#walk?.keptBetween(from, to) ?? [];
  }

  /** Goes behind links that were verified apart, with the kept heads among them. */
  accept(end: BlockEnd): void {
    this.#walk?.accept(end);
  }

  /** Ends the walk. */
  finish(): ExportReport {
    if (this.#walk === undefined && this.#refused === undefined) this.#refuse('the export has no header');
    const walk = this.#walk;
    if (this.#refused !== undefined || walk === undefined) {
      const finding = { class: 'malformed', seq: null, eventId: null, detail: this.#refused ?? '' } as const;
      const { seq, hash } = this.#from;
      const nothing = { from: { seq, hash }, head: { seq, hash }, notes: [] };
      return { ok: false, checked: 0, findings: [finding], findingCount: 1, pruned: 0, ...nothing };
    }
    if (this.#lines.rest > 0) walk.find('malformed', null, null, 'the last line does not end');
    if (this.#end === undefined) walk.find('cut', walk.seq + 1, null, 'the export has no end line');
    else this.#compareEnd(walk, this.#end);
    this.#options.signed?.compare(walk.seq, walk.find.bind(walk));
    return { ...walk.finish(), from: this.#from, notes: this.#notes };
  }

  #take(chunk: Uint8Array, from: number, to: number): number {
    const walk = this.#walk;
    if (walk === undefined || this.#end !== undefined) return -1;
    const link = this.#link;
    const end = readLink(chunk, from, to, walk.record, link);
    if (end === -1) return -1;
    this.#links = true;
    walk.stepLink(link);
    return end;
  }

  #line(bytes: Uint8Array): void {
    if (this.#refused !== undefined) return; // the rest of a chunk
    const walk = this.#walk;
    if (walk === undefined) {
      this.#begin(bytes);
      return;
    }
    if (this.#end !== undefined) {
      if (!this.#behindEnd) walk.find('malformed', null, null, 'something stands behind the end line');
      this.#behindEnd = true;
      return;
    }
    const note = this.#links || this.#notes.length >= MOST_NOTES ? undefined : readNote(bytes);
    if (note !== undefined) {
      this.#notes.push(note);
      this.#options.signed?.note(note);
      return;
    }
    this.#end = readEnd(bytes);
    if (this.#end === undefined) this.#notALine('not a line of an export');
  }

  #notALine(detail: string): void {
    if (this.#walk === undefined) this.#refuse(detail);
    else if (this.#end === undefined) this.#walk.stepMalformed(detail);
    else this.#line(new Uint8Array());
  }

  #begin(bytes: Uint8Array): void {
    const header = readHeader(bytes);
    if (header === undefined) {
      this.#refuse('the first line is not the header of an export');
      return;
    }
    const { org, from } = header;
    this.#org = org;
    const { sha256, expectedHead, signed } = this.#options;
    this.#from = from;
    const seen = signed === undefined ? undefined : signed.leaf.bind(signed);
    this.#walk = new ChainWalk({ sha256, org, from, expectedHead, seen });
    const wanted = this.#options.org;
    if (wanted !== undefined && wanted !== org) {
      const what = isUuid(wanted) ? 'the export is of another organisation' : 'the organisation is no UUID';
      this.#walk.find(isUuid(wanted) ? 'rewritten' : 'malformed', null, null, what);
    }
    this.#vouch(this.#walk, from);
  }

  /** Links left out at the beginning are seen by nobody, unless a kept head stands there. */
  #vouch(walk: ChainWalk, { seq, hash }: ChainHead): void {
    if (seq === 0) {
      if (hash !== toHex(GENESIS))
        walk.find('malformed', null, null, 'a chain does not begin with this link');
      return;
    }
    const heads = [this.#options.expectedHead ?? []].flat();
    if (heads.some((head) => head?.seq === seq)) return; // the walk compares the hashes
    walk.find(
      'deleted',
      1,
      null,
      `the export begins behind link ${seq}, and no head kept there vouches for it`,
    );
  }

  #compareEnd(walk: ChainWalk, end: ChainHead): void {
    if (end.seq > walk.seq) walk.find('cut', walk.seq + 1, null, `the links end before the head, ${end.seq}`);
    else if (end.seq < walk.seq) {
      walk.find('inserted', end.seq + 1, null, `links stand behind the head, ${end.seq}`);
    } else if (end.hash !== walk.lastHash) {
      walk.find('rewritten', end.seq, null, 'the last link is not the head of the chain');
    }
  }

  #refuse(detail: string): void {
    this.#refused ??= detail;
  }
}
