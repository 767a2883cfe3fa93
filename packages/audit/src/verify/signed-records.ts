/**
 * Holds the records of an export against checkpoints: those whose notes are in it, and those that somebody kept. The tree of
 * RFC 6962 over the records is built while they are read, in constant memory, and must have the root that was signed.
 *
 * Invariant: no note in an export makes it throw, and what no key of the log signed is a finding. Browser-safe.
 */
import { CompactRange } from '../checkpoint/compact-range.ts';
import { type Checkpoint, type CheckpointTrust, openCheckpoint, parseCheckpoint } from './checkpoint.ts';
import type { Sha256 } from './link.ts';
import { sameBytes } from './link.ts';
import type { FindingClass } from './report.ts';
import { parseNote } from './signed-note.ts';

/** Takes a finding. */
export type Find = (name: FindingClass, seq: number | null, eventId: null, detail: string) => void;

/**
 * The checkpoints in notes that somebody kept.
 *
 * @throws TypeError when one is not a checkpoint of this log by one of its keys: it says nothing about this log.
 */
export async function openKept(notes: readonly string[], trust: CheckpointTrust): Promise<Checkpoint[]> {
  const opened = await Promise.all(notes.map((note) => openCheckpoint(note, trust)));
  return opened.map((one) => {
    if (!one.ok) throw new TypeError(`a kept note is ${one.reason}: it says nothing about this log`);
    return one.checkpoint;
  });
}

/** The records of one export, and what was signed of them. */
export class SignedRecords {
  readonly #tree: CompactRange;
  readonly #trust: CheckpointTrust;
  readonly #checkpoints: Checkpoint[];
  /** Roots at the sizes that notes claim; undefined until the tree is there. */
  readonly #roots = new Map<number, Uint8Array | undefined>();
  readonly #refused: string[] = [];

  constructor(sha256: Sha256, trust: CheckpointTrust, kept: readonly Checkpoint[]) {
    this.#tree = new CompactRange(sha256);
    this.#trust = trust;
    this.#checkpoints = [...kept];
    for (const { size } of kept) this.#watch(size);
  }

  /** A note stands before the records: here only its size is believed, as something to compute. */
  note(text: string): void {
    const size = parseCheckpoint(parseNote(text)?.text ?? '')?.size;
    if (size !== undefined) this.#watch(size);
  }

  /** The leaf of the record at a place. A hole ends the tree: nothing behind it has a root. */
  leaf(seq: number, leaf: Readonly<Uint8Array>): void {
    if (seq !== this.#tree.size + 1) return;
    this.#tree.append(leaf);
    if (this.#roots.has(seq)) this.#roots.set(seq, this.#tree.root());
  }

  /** Opens the notes that stood in the export. */
  async open(notes: readonly string[]): Promise<void> {
    for (const note of notes) {
      const opened = await openCheckpoint(note, this.#trust);
      if (opened.ok) this.#checkpoints.push(opened.checkpoint);
      else this.#refused.push(opened.reason);
    }
  }

  /** Says what does not agree; `last` is the place of the last link. */
  compare(last: number, find: Find): void {
    for (const reason of this.#refused) find('unsigned', null, null, `a note in the export is ${reason}`);
    // Whoever takes the notes out of an export must not get by with it where signatures were asked for.
    if (this.#checkpoints.length + this.#refused.length === 0)
      find(
        'unsigned',
        null,
        null,
        'no checkpoint is in the export and none was kept: nothing of it is signed',
      );
    for (const { size, root } of this.#checkpoints) {
      const found = this.#roots.get(size);
      if (size > last) {
        find('cut', last + 1, null, `the links end before the signed checkpoint of ${size}`);
      } else if (found === undefined) {
        find('deleted', null, null, `not all records of the signed checkpoint of ${size} are here`);
      } else if (!sameBytes(found, root)) {
        find('rewritten', size, null, 'the records up to here are not those that were signed');
      }
    }
  }

  #watch(size: number): void {
    this.#roots.set(size, size === 0 ? this.#tree.root() : undefined);
  }
}
