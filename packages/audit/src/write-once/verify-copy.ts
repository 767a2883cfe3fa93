/**
 * Verifies the copy of one log in a write-once store, with or without the database it was made from.
 *
 * What is signed is computed anew from the bytes of the segments: chain, tree, tiles and roots. Behind the last note a copy
 * may be under way: what lies there must be what a copier writes next. A checkpoint that somebody kept finds a copy that
 * was replaced as a whole; the database finds what a listing alone cannot tell. Memory: the names of the log's objects and
 * one segment. Invariant: nothing that the store holds makes it throw.
 */
import { toHex } from '../append-result.ts';
import { assertReads } from '../assert-reads.ts';
import { rowsOf } from '../checkpoint/database.ts';
import { verifyInDatabase } from '../database-verification.ts';
import { fromDatabaseError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { type Checkpoint, openCheckpoint } from '../verify/checkpoint.ts';
import { type ChainHead, verifyExport } from '../verify/index.ts';
import { sameBytes } from '../verify/link.ts';
import { parseVerifierKey, type VerifierKey } from '../verify/signed-note.ts';
import { openKept } from '../verify/signed-records.ts';
import { CopyFindings, type CopyReport } from './copy-report.ts';
import { type CountedObject, type Inventory, readCounted, takeInventory } from './inventory.ts';
import { leafCollector } from './leaf-collector.ts';
import { recordedObjects } from './recorded.ts';
import type { WriteOnceStore } from './store.ts';
import { WatchedTree } from './watched-tree.ts';

/** Settings of `verifyWriteOnceCopy`. */
export interface VerifyCopyOptions {
  /** Where the copy is. */
  readonly store: WriteOnceStore;
  /** Whose log. */
  readonly org: OrgId;
  /** Name of the deployment. */
  readonly origin: string;
  /** Verifier keys that sign its checkpoints, now or before. */
  readonly keys: readonly string[];
  /** Notes of checkpoints that somebody kept: a copy that was cut or replaced as a whole shows against them. Default: none. */
  readonly keptNotes?: readonly string[];
  /** The database, as a role that reads the log, to hold the copy and the database against each other. Default: without. */
  readonly db?: QueryExecutor;
  /** Clock, ms since 1970. Default: the system's. */
  readonly now?: () => number;
}

const NOTES = 'select size, note from audit.checkpoint where org_id = $1::uuid order by size';
const LINK = 'select hash from audit.seal where org_id = $1::uuid and seq = $2::bigint';
/** Tiles that are read at once. */
const AT_ONCE = 8;
/**
 * Verifies the copy of one log.
 *
 * @throws RingfenceAuditError `audit.copy_unavailable`, `audit.copy_denied`, `audit.other_org`, `audit.no_context`.
 * @throws TypeError when a key is malformed, or a kept note is not a checkpoint of this log by one of the keys.
 * @example
 * ```ts
 * const report = await verifyWriteOnceCopy({ store, org, origin, keys, keptNotes: [noteOfLastMonth] });
 * if (!report.ok) alarm(report.findings);
 * ```
 */
export async function verifyWriteOnceCopy(options: VerifyCopyOptions): Promise<CopyReport> {
  const { store, origin, db } = options;
  const org = parseOrgId(options.org);
  const trust = { origin: `${origin}/${org}`, keys: options.keys.map(parseVerifierKey) };
  const kept = await openKept(options.keptNotes ?? [], trust);
  const findings = new CopyFindings();
  try {
    if (db !== undefined) await assertReads(db, org); // before a whole bucket is read in vain
    const recorded = db === undefined ? undefined : await recordedObjects(db, org, store.name);
    const nowMs = (options.now ?? Date.now)();
    const inventory = await takeInventory({ store, org, recorded, findings, nowMs });
    const walk = new CopyWalk({ store, org, trust, kept, findings }, inventory);
    await walk.run();
    if (db !== undefined) await compareDatabase(db, org, walk, findings);
    const { objects, links, signed, head } = walk;
    return {
      ok: findings.count === 0,
      objects,
      links,
      signed,
      head,
      findings: findings.list,
      findingCount: findings.count,
    };
  } catch (error) {
    throw fromDatabaseError(error);
  }
}

interface Trust {
  readonly origin: string;
  readonly keys: readonly VerifierKey[];
}

interface WalkTools {
  readonly store: WriteOnceStore;
  readonly org: OrgId;
  readonly trust: Trust;
  readonly kept: readonly Checkpoint[];
  readonly findings: CopyFindings;
}

/** One pass over segments, with the checkpoints that lie on the way. */
class CopyWalk {
  readonly #tools: WalkTools;
  readonly #inventory: Inventory;
  readonly #tree = new WatchedTree();
  readonly #checkpoints: CountedObject[];
  readonly #usedTiles = new Set<string>();
  /** SHA-256 of each tile behind the last note that a copier may have written, by name. */
  readonly #nextTiles = new Map<string, string>();
  /** Segments behind the last note, each with its last link. */
  readonly unsigned: { readonly segment: CountedObject; readonly head: ChainHead }[] = [];
  /** Heads at checkpoints that hold, by size. */
  readonly heads = new Map<number, ChainHead>();
  /** Notes of them. */
  readonly notes = new Map<number, string>();
  /** Size that the last note has by its name. */
  readonly #lastNote: number;
  head: ChainHead = { seq: 0, hash: '0'.repeat(64) };
  objects = 0;
  links = 0;
  signed = 0;
  /** False behind a hole: roots cannot be computed there. */
  #whole = true;

  constructor(tools: WalkTools, inventory: Inventory) {
    this.#tools = tools;
    this.#inventory = inventory;
    this.#checkpoints = [...inventory.checkpoints];
    this.#lastNote = inventory.checkpoints.at(-1)?.object.size ?? 0;
  }

  async run(): Promise<void> {
    const { findings, org, kept } = this.#tools;
    for (const segment of this.#inventory.segments) await this.#segment(segment);
    if (this.#checkpoints.length > 0) this.#whole = false;
    for (const one of this.#checkpoints.splice(0)) {
      const body = await this.#read(one);
      if (body !== undefined) await this.#open(one, body);
      findings.add('gap', one.key, null, 'the events up to this checkpoint are not all in segments');
    }
    if (this.#inventory.checkpoints.length === 0) {
      findings.add('missing', null, null, `the store holds no checkpoint of ${org}`);
    }
    for (const { size } of kept) {
      if (size > this.#tree.size)
        findings.add('cut', null, null, `the kept checkpoint of ${size} is farther than the copy`);
    }
    for (const [name, tile] of this.#inventory.tiles) {
      if (!this.#usedTiles.has(name)) await this.#strayTile(name, tile);
    }
  }

  /** A tile that no checkpoint has: a copy that is under way writes tiles of its segments before the note. */
  async #strayTile(name: string, tile: CountedObject): Promise<void> {
    const { findings } = this.#tools;
    if (!this.#isAhead(tile)) {
      findings.add('foreign', tile.key, null, 'no checkpoint has this tile');
      return;
    }
    if (!this.#whole) return; // the hole was found, and nothing can be computed behind it
    const sha256 = this.#nextTiles.get(name);
    if (sha256 === undefined) {
      findings.add('foreign', tile.key, tile.versionId, 'a tile of events that no segment holds');
      return;
    }
    const body = await this.#read(tile);
    if (body === undefined || toHex(nodeSha256(body)) === sha256) return;
    findings.add('foreign', tile.key, tile.versionId, 'the tile does not hold the hashes of the segments');
  }

  async #segment(segment: Inventory['segments'][number]): Promise<void> {
    const { findings, org } = this.#tools;
    const { key, versionId, object } = segment;
    const body = await this.#read(segment);
    if (body === undefined) {
      this.#whole = false;
      return;
    }
    if (object.from !== this.head.seq) {
      const detail =
        object.from < this.head.seq
          ? `the segment begins at ${object.from}, before the end of the one before, ${this.head.seq}`
          : `the links from ${this.head.seq + 1} to ${object.from} are in no segment`;
      findings.add('gap', key, versionId, detail);
      if (object.from < this.head.seq) return;
      this.#whole = false;
    }
    const { sha256, leaves } = leafCollector();
    const report = await verifyExport([body], {
      org,
      expectedHead: object.from === this.head.seq ? [this.head] : [],
      sha256,
    });
    this.links += report.checked;
    for (const { class: name, seq, detail } of report.findings) {
      if (!this.#whole && name === 'deleted' && seq === 1) continue; // the hole was found
      findings.add('chain', key, versionId, `${name}${seq === null ? '' : ` ${seq}`}: ${detail}`);
    }
    const { from, head } = report;
    if (from.seq !== object.from || head.seq !== object.to) {
      findings.add('chain', key, versionId, `the segment holds the links from ${from.seq} to ${head.seq}`);
    }
    if (leaves.length !== object.to - object.from) this.#whole = false;
    for (const leaf of leaves) {
      if (!this.#whole) break;
      this.#tree.append(leaf);
      this.#compareKept();
      if (this.#checkpoints[0] === undefined || sizeOf(this.#checkpoints[0]) !== this.#tree.size) continue;
      await this.#checkpoint(this.#checkpoints.shift() as CountedObject);
    }
    this.head = { seq: object.to, hash: head.hash };
    if (this.signed === object.to) this.heads.set(object.to, this.head);
    if (object.to <= this.#lastNote) return;
    this.unsigned.push({ segment, head: this.head });
    // A checkpoint may come at the end of each segment.
    if (!this.#whole) return;
    for (const { name, sha256 } of this.#tree.tiles()) this.#nextTiles.set(name, sha256);
  }

  /** A note, where the tree has its size: root and tiles must be those of the tree. */
  async #checkpoint(one: CountedObject): Promise<void> {
    const { findings } = this.#tools;
    const body = await this.#read(one);
    const opened = body === undefined ? undefined : await this.#open(one, body);
    const signed = opened !== undefined && sameBytes(opened.root, this.#tree.root());
    // Tiles are judged against a signed root only; without one they are known by their names.
    await this.#tiles(signed);
    if (opened === undefined) return;
    if (!signed) {
      const detail = 'the segments do not give the root that was signed';
      findings.add('root_mismatch', one.key, one.versionId, detail);
      return;
    }
    this.signed = this.#tree.size;
    this.notes.set(this.#tree.size, opened.note);
  }

  async #tiles(compare: boolean): Promise<void> {
    const { findings, org } = this.#tools;
    const batch: Promise<void>[] = [];
    for (const { name, sha256 } of this.#tree.tiles()) {
      this.#usedTiles.add(name);
      if (!compare) continue;
      const tile = this.#inventory.tiles.get(name);
      if (tile === undefined) {
        findings.add('missing', `${org}/${name}`, null, 'the tile of a checkpoint is not there');
        continue;
      }
      batch.push(
        this.#read(tile).then((body) => {
          const found = body === undefined ? sha256 : toHex(nodeSha256(body));
          if (found === sha256 || (tile.recorded !== undefined && tile.recorded.sha256 !== found)) return;
          const what = tile.recorded === undefined ? 'altered' : 'root_mismatch';
          findings.add(what, tile.key, tile.versionId, 'the tile is not one of the signed tree');
        }),
      );
      if (batch.length === AT_ONCE) await Promise.all(batch.splice(0));
    }
    await Promise.all(batch);
  }

  async #open(
    { key, versionId, object }: CountedObject,
    body: Uint8Array,
  ): Promise<{ readonly root: Readonly<Uint8Array>; readonly note: string } | undefined> {
    const { findings, trust } = this.#tools;
    const opened = await openCheckpoint(body, trust);
    if (!opened.ok) {
      findings.add('unsigned', key, versionId, `the note is ${opened.reason}`);
      return undefined;
    }
    if (object.kind !== 'checkpoint' || opened.checkpoint.size !== object.size) {
      findings.add('unsigned', key, versionId, `the note is of ${opened.checkpoint.size} events`);
      return undefined;
    }
    return { root: opened.checkpoint.root, note: new TextDecoder().decode(body) };
  }

  #compareKept(): void {
    for (const { size, root } of this.#tools.kept) {
      if (size !== this.#tree.size || sameBytes(root, this.#tree.root())) continue;
      this.#tools.findings.add(
        'rewritten',
        null,
        null,
        `the copy is not the history of the kept checkpoint of ${size}`,
      );
    }
  }

  async #read(one: CountedObject): Promise<Uint8Array | undefined> {
    this.objects += 1;
    return await readCounted(this.#tools, one);
  }

  #isAhead({ object }: CountedObject): boolean {
    if (object.kind !== 'tile') return false;
    const { level, index, width } = object.tile;
    return (index * 256 + width) * 256 ** level > this.signed;
  }
}

/** The database must hold the chain that was copied, up to every checkpoint, and the notes. */
async function compareDatabase(
  db: QueryExecutor,
  org: OrgId,
  walk: CopyWalk,
  findings: CopyFindings,
): Promise<void> {
  const notes = new Map<number, string>();
  for (const { size, note } of await rowsOf<{ size: unknown; note: string }>(db, NOTES, [org])) {
    notes.set(Number(size), note);
  }
  for (const [size, note] of walk.notes) {
    if (notes.get(size) === note) continue;
    findings.add(
      'database',
      null,
      null,
      `the database has another checkpoint of ${size} than the copy, or none`,
    );
  }
  for (const { segment, head } of walk.unsigned) {
    const [link] = await rowsOf<{ hash: Uint8Array }>(db, LINK, [org, head.seq]);
    if (link !== undefined && toHex(link.hash) === head.hash) continue;
    const { key, versionId, recorded } = segment;
    const name = recorded === undefined ? 'foreign' : 'database';
    findings.add(name, key, versionId, `nothing signed covers the segment, and the database has other links`);
  }
  // A copy holds no personal values, so its role sees none.
  const expectedHead = [...walk.heads.values()];
  const report = await verifyInDatabase(db, org, { expectedHead }, { values: false });
  for (const { class: name, seq, detail } of report.findings) {
    findings.add('database', null, null, `${name}${seq === null ? '' : ` ${seq}`}: ${detail}`);
  }
}

function sizeOf({ object }: CountedObject): number {
  return object.kind === 'checkpoint' ? object.size : 0;
}
