/**
 * Puts a log back into a database from its copy: what is missing behind the database's own end, or all of it.
 *
 * Invariants: nothing is written that a signed checkpoint does not cover, and nothing before its root was computed anew
 * from the records; what the database has already must be the beginning of the copy, or it is not touched. Ended at any
 * time, it goes on where it was. Versions that lie on top of others do not count, so they cannot hold up a restore.
 */
import { CompactRange } from '../checkpoint/compact-range.ts';
import type { CheckpointDatabase } from '../checkpoint/database.ts';
import { historyChanged, lastCheckpoint } from '../checkpoint/signed-tree.ts';
import { TileSlices } from '../checkpoint/tile-store.ts';
import { inSnapshot, storeCheckpoint } from '../checkpoint/write-checkpoint.ts';
import { fromDatabaseError, RingfenceAuditError } from '../errors.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { type Checkpoint, type CheckpointTrust, openCheckpoint } from '../verify/checkpoint.ts';
import { type ChainHead, verifyExport } from '../verify/index.ts';
import { sameBytes } from '../verify/link.ts';
import { parseVerifierKey } from '../verify/signed-note.ts';
import { CopyFindings } from './copy-report.ts';
import { type CountedObject, type Inventory, readCounted, takeInventory } from './inventory.ts';
import { leafCollector } from './leaf-collector.ts';
import { addLinks, endOf, linksBehind, type RestoredLinks, requireLink } from './restored-links.ts';
import type { WriteOnceStore } from './store.ts';

/** Settings of `restoreLog`. */
export interface RestoreOptions {
  /** A Kysely of the owner of schema `audit`, whose migrations have run. No application writes to it meanwhile. */
  readonly db: CheckpointDatabase;
  /** A Kysely of the checkpointer's role on the same database. */
  readonly checkpoints: CheckpointDatabase;
  /** Where the copy is. */
  readonly store: WriteOnceStore;
  /** Whose log. */
  readonly org: OrgId;
  /** Name of the deployment. */
  readonly origin: string;
  /** Verifier keys that sign its checkpoints, now or before. */
  readonly keys: readonly string[];
  /** Notes of checkpoints that somebody kept, a witness for instance: they tell what was lost behind the copy. Default: none. */
  readonly keptNotes?: readonly string[];
}

/** What was put back, and what is lost. */
export interface RestoreReport {
  /** Events that this call put back. */
  readonly events: number;
  /** Checkpoints that this call put back. */
  readonly checkpoints: number;
  /** End of the log in the database now. */
  readonly head: ChainHead;
  /** Events that a kept note says there were, and that are in neither copy nor database. What no note covers is not counted. */
  readonly lostEvents: number;
  /** Events put back that have personal parts: their values are in no copy, only in backups of `audit.personal`. */
  readonly withoutPersonalValues: number;
}

const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) };

/**
 * Restores one log from its copy. Run it again after any failure.
 *
 * @throws RingfenceAuditError `audit.copy_damaged` when the copy does not hold up to its last checkpoint, or is not the
 * history of a kept note; `audit.history_changed` when the database is not a beginning of it; `audit.copy_unavailable`,
 * `audit.copy_denied`, `audit.unavailable`.
 * @throws TypeError when a key is malformed, or a kept note is not a checkpoint of this log by one of the keys.
 * @example
 * ```ts
 * const report = await restoreLog({ db, checkpoints, store, org, origin, keys, keptNotes: [noteOfTheWitness] });
 * if (report.lostEvents > 0) alarm('audit restore', report);
 * ```
 */
export async function restoreLog(options: RestoreOptions): Promise<RestoreReport> {
  const org = parseOrgId(options.org);
  const trust = { origin: `${options.origin}/${org}`, keys: options.keys.map(parseVerifierKey) };
  const kept: Checkpoint[] = [];
  for (const note of options.keptNotes ?? []) {
    const opened = await openCheckpoint(note, trust);
    if (!opened.ok) throw new TypeError(`a kept note is ${opened.reason}: it says nothing about this log`);
    kept.push(opened.checkpoint);
  }
  try {
    const { store } = options;
    const inventory = await takeInventory({
      store,
      org,
      recorded: undefined,
      findings: new CopyFindings(),
      nowMs: 0,
    });
    return await new Restoration(options, org, trust, kept).run(inventory);
  } catch (error) {
    throw fromDatabaseError(error);
  }
}

/** One pass over the copy, checkpoint by checkpoint. */
class Restoration {
  readonly #options: RestoreOptions;
  readonly #org: OrgId;
  readonly #trust: CheckpointTrust;
  readonly #kept: readonly Checkpoint[];
  readonly #tree = new CompactRange(nodeSha256);
  /** What the tree has grown by since the last checkpoint. */
  #slices = new TileSlices();
  #head: ChainHead = GENESIS;

  constructor(options: RestoreOptions, org: OrgId, trust: CheckpointTrust, kept: readonly Checkpoint[]) {
    this.#options = options;
    this.#org = org;
    this.#trust = trust;
    this.#kept = kept;
  }

  async run({ segments, checkpoints }: Inventory): Promise<RestoreReport> {
    const org = this.#org;
    const { db, checkpoints: signing } = this.#options;
    const end = await endOf(db, org);
    const last = await lastCheckpoint(signing, org);
    let next = 0;
    let [events, personal, signed] = [0, 0, 0];
    for (const one of checkpoints) {
      const { size, root, note } = await this.#note(one);
      // In one transaction, so that nothing is there of which the root was not compared.
      await inSnapshot(db, async (trx) => {
        for (; (segments[next]?.object.to ?? Infinity) <= size; next += 1) {
          const segment = segments[next] as Segment;
          if (segment.object.from < this.#head.seq) continue; // not of this copy: verification names it
          const links = await this.#read(segment, end);
          await addLinks(trx, org, links);
          events += links.seqs.length;
          personal += links.personal;
        }
        if (this.#tree.size !== size || !sameBytes(this.#tree.root(), root)) {
          throw damaged(org, `its records do not give the root signed at ${size}`);
        }
        // Also where the database had them already: a checkpoint is not put beside records of another history.
        await requireLink(trx, org, this.#head);
      });
      if (last?.size === size && !sameBytes(last.root, root)) {
        throw historyChanged(org, `the database has another checkpoint of ${size} than the copy`);
      }
      const slices = this.#slices;
      this.#slices = new TileSlices();
      if (size <= (last?.size ?? 0)) continue;
      const link = Buffer.from(this.#head.hash, 'hex');
      await inSnapshot(signing, (trx) => storeCheckpoint(trx, org, slices, { size, root, link, note }));
      signed += 1;
    }
    const head = this.#head;
    const size = Math.max(head.seq, end.seq);
    return {
      events,
      checkpoints: signed,
      head: end.seq > head.seq ? end : head,
      lostEvents: Math.max(0, ...this.#kept.map((kept) => kept.size - size)),
      withoutPersonalValues: personal,
    };
  }

  async #note(one: CountedObject): Promise<Checkpoint & { readonly note: string }> {
    const note = new TextDecoder().decode(await this.#body(one));
    const opened = await openCheckpoint(note, this.#trust);
    if (!opened.ok) throw damaged(this.#org, `${one.key} is ${opened.reason}`);
    const { size } = opened.checkpoint;
    if (one.object.kind !== 'checkpoint' || one.object.size !== size) {
      throw damaged(this.#org, `${one.key} is the checkpoint of ${size}`);
    }
    return { ...opened.checkpoint, note };
  }

  /** Verifies one segment behind what was read, and gives its links behind the end of the database. */
  async #read(segment: Segment, end: ChainHead): Promise<RestoredLinks> {
    const { object, key } = segment;
    if (object.from !== this.#head.seq) {
      throw damaged(this.#org, `the links from ${this.#head.seq + 1} are in no segment`);
    }
    const body = await this.#body(segment);
    const { sha256, leaves } = leafCollector();
    const report = await verifyExport([body], { org: this.#org, expectedHead: [this.#head], sha256 });
    if (!report.ok || report.head.seq !== object.to || leaves.length !== object.to - object.from) {
      const [first] = report.findings;
      throw damaged(this.#org, `${key}: ${first?.detail ?? 'it holds other links than its name says'}`);
    }
    for (const leaf of leaves) {
      this.#tree.append(leaf, this.#slices.seen);
      for (const { size, root } of this.#kept) {
        if (size !== this.#tree.size || sameBytes(root, this.#tree.root())) continue;
        throw damaged(this.#org, `it is not the history of the kept checkpoint of ${size}`);
      }
    }
    this.#head = report.head;
    return linksBehind(this.#org, body, end);
  }

  async #body(one: CountedObject): Promise<Uint8Array> {
    const { store } = this.#options;
    // Locks and versions on top are for verifyWriteOnceCopy to tell: what counts here is what the bytes are.
    const body = await readCounted({ store, findings: new CopyFindings() }, one);
    if (body === undefined) throw damaged(this.#org, `${one.key} cannot be read`);
    return body;
  }
}

type Segment = Inventory['segments'][number];

function damaged(org: OrgId, detail: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.copy_damaged', `log ${org} cannot be restored: ${detail}`);
}
