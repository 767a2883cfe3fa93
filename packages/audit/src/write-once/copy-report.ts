/** What the verification of a copy answers. Plain data: a report can be sent as JSON. */
import { FindingList } from '../verify/finding-list.ts';
import type { ChainHead } from '../verify/index.ts';

/**
 * What was done to a copy.
 *
 * - `delete_marker`: a mark hides an object; its versions are still there;
 * - `overwritten`: a second version lies on top of an object;
 * - `bypassed`: a version is gone before the end of its retention: somebody lifted governance mode, or the bucket is another;
 * - `missing`: an object that must be there is not, or what is there is no object that can be read;
 * - `unlocked`: a version has no retention;
 * - `retention_shortened`: a version is held for less long, or less strictly, than when it was written;
 * - `altered`: the bytes are not those that were written, or more than an object of this kind can have;
 * - `foreign`: an object that no copy writes, or would not write yet;
 * - `gap`: segments do not join;
 * - `chain`: the links in a segment do not hold;
 * - `unsigned`: a note is not a checkpoint of this log by a known key;
 * - `root_mismatch`: the events in the segments are not those that were signed;
 * - `cut`: a checkpoint that was kept is farther than the copy;
 * - `rewritten`: a checkpoint that was kept is of another history;
 * - `database`: the database is not what was copied.
 */
export type CopyFindingClass =
  | 'delete_marker'
  | 'overwritten'
  | 'bypassed'
  | 'missing'
  | 'unlocked'
  | 'retention_shortened'
  | 'altered'
  | 'foreign'
  | 'gap'
  | 'chain'
  | 'unsigned'
  | 'root_mismatch'
  | 'cut'
  | 'rewritten'
  | 'database';

/** One finding. */
export interface CopyFinding {
  /** What was done. */
  readonly class: CopyFindingClass;
  /** Object concerned; null when it is none. */
  readonly key: string | null;
  /** Version concerned; null when it is none, or every version. */
  readonly versionId: string | null;
  /** One sentence for people. */
  readonly detail: string;
}

/** The verdict. */
export interface CopyReport {
  /** True when nothing was found. */
  readonly ok: boolean;
  /** Versions read. */
  readonly objects: number;
  /** Links read. */
  readonly links: number;
  /** Size of the last checkpoint that holds: what lies behind it is not signed yet. */
  readonly signed: number;
  /** Last link read. */
  readonly head: ChainHead;
  /** What was found: the first 1 000, and the first of every other class. */
  readonly findings: readonly CopyFinding[];
  /** Number of findings, also those beyond the list. */
  readonly findingCount: number;
}

/** Collects findings. */
export class CopyFindings {
  readonly #findings = new FindingList<CopyFinding>();

  /** Findings so far: the first 1 000, and the first of every other class. */
  get list(): readonly CopyFinding[] {
    return this.#findings.kept;
  }

  /** How many there are. */
  get count(): number {
    return this.#findings.count;
  }

  /** Adds one. */
  add(name: CopyFindingClass, key: string | null, versionId: string | null, detail: string): void {
    this.#findings.add({ class: name, key, versionId, detail });
  }
}
