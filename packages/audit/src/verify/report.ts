/** What the verifier is given and what it answers. Plain data: a report can be sent as JSON. */

/** A place in a chain: an old head that somebody kept. */
export interface ChainHead {
  /** Number of events up to here; 0 for an empty chain. */
  readonly seq: number;
  /** Hash of the link, 64 lower-case hex digits; 64 zeros for an empty chain. */
  readonly hash: string;
}

/** Columns that repeat a record for searching. */
export interface RecordColumns {
  /** Time of record, `YYYY-MM-DDTHH:MM:SS.ffffffZ`. */
  readonly at?: string;
  /** Who acted. */
  readonly actor?: string;
  /** Name of the event. */
  readonly action?: string;
  /** `type:id` of the target; null when there is none. */
  readonly target?: string | null;
}

/** One link of a chain and its record, in the order of `seq`. */
export interface ChainRow {
  /** Organisation, lower-case UUID. */
  readonly org: string;
  /** Number in the chain, from 1. */
  readonly seq: number;
  /** Id of the event, lower-case UUID. */
  readonly eventId: string;
  /** Stored record; null when the link has no record any more. */
  readonly canon: string | null;
  /** Stored leaf, 32 bytes: it outlives a record that was pruned; null when it is gone too. */
  readonly leaf: Uint8Array | null;
  /** Stored link, 32 bytes. */
  readonly hash: Uint8Array;
  /** Columns that repeat the record for searching; each that is given must agree with the record. */
  readonly columns?: RecordColumns;
}

/**
 * What was done to a log.
 *
 * - `edited`: a record is not the one that was sealed;
 * - `deleted`: a link is gone, a record without a pruning that the chain tells of, or a personal value without an erasure;
 * - `inserted`: a record or personal value was put in past `audit.append`;
 * - `reordered`: sealed records changed places;
 * - `cut`: the end of the chain is gone;
 * - `rewritten`: the chain is consistent but not the one whose head was kept;
 * - `forked`: two links at one place;
 * - `unsealed`: committed for too long without a link;
 * - `unsigned`: a note is not a checkpoint of this log by a known key;
 * - `malformed`: not what the format allows.
 */
export type FindingClass =
  | 'edited'
  | 'deleted'
  | 'inserted'
  | 'reordered'
  | 'cut'
  | 'rewritten'
  | 'forked'
  | 'unsealed'
  | 'unsigned'
  | 'malformed';

/** One finding. */
export interface Finding {
  /** What was done. */
  readonly class: FindingClass;
  /** Where; null when the event has no place in the chain. */
  readonly seq: number | null;
  /** The event concerned, when it is known. */
  readonly eventId: string | null;
  /** One sentence for people. */
  readonly detail: string;
}

/** The verdict. */
export interface ChainReport {
  /** True when nothing was found. */
  readonly ok: boolean;
  /** Rows read. */
  readonly checked: number;
  /** Last link read. Keep it: it finds a cut or rewritten chain later. */
  readonly head: ChainHead;
  /** What was found, in the order of the chain: the first 1 000, and the first of every other class. */
  readonly findings: readonly Finding[];
  /** Number of findings, also those beyond the list. */
  readonly findingCount: number;
  /** Records that were pruned under a retention policy, as the chain itself says. Their links are verified. Not damage, so no findings. */
  readonly pruned: number;
}

/** The verdict on an export. */
export interface ExportReport extends ChainReport {
  /** Head behind which the export begins; nothing before it was checked. */
  readonly from: ChainHead;
  /** Texts of the notes in the export. They were verified only when it was said whom to trust. */
  readonly notes: readonly string[];
}
