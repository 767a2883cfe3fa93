/**
 * One checkpoint in one transaction: tiles, then the signature, then the note. The tiles come first because they are the
 * lock: of two processes that go on from one checkpoint, the second waits at its first tile and has then signed nothing.
 */
import { RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { formatCheckpoint } from '../verify/checkpoint.ts';
import type { CompactRange } from './compact-range.ts';
import { type CheckpointDatabase, rowsOf } from './database.ts';
import type { StoredCheckpoint } from './signed-tree.ts';
import { type Signer, signNote } from './signer.ts';
import type { TileSlices } from './tile-store.ts';

const INSERT = `
insert into audit.checkpoint (org_id, size, root, link, note)
values ($1::uuid, $2::bigint, decode($3, 'hex'), decode($4, 'hex'), $5)`;

/** What is to be signed. */
export interface GrownTree {
  /** Organisation, or the nil UUID of the deployment. */
  readonly org: string;
  /** Origin line. */
  readonly origin: string;
  /** The tree, with the new leaves. */
  readonly tree: CompactRange;
  /** What its tiles grew by. */
  readonly slices: TileSlices;
  /** The chain's hash at the end of the tree, 32 bytes. */
  readonly link: Readonly<Uint8Array>;
}

/** Writes tiles, signs, writes the note. */
export async function writeCheckpoint(
  db: QueryExecutor,
  { org, origin, tree, slices, link }: GrownTree,
  signer: Signer,
): Promise<StoredCheckpoint> {
  await slices.write(db, org);
  const { size } = tree;
  const root = tree.root();
  const note = await signNote(formatCheckpoint({ origin, size, root }), signer);
  const checkpoint = { size, root, link, note };
  await insertCheckpoint(db, org, checkpoint);
  return checkpoint;
}

/** Writes tiles and a note that was signed before: what a restore puts back. */
export async function storeCheckpoint(
  db: QueryExecutor,
  org: string,
  slices: TileSlices,
  checkpoint: StoredCheckpoint,
): Promise<void> {
  await slices.write(db, org);
  await insertCheckpoint(db, org, checkpoint);
}

async function insertCheckpoint(
  db: QueryExecutor,
  org: string,
  { size, root, link, note }: StoredCheckpoint,
): Promise<void> {
  await rowsOf(db, INSERT, [org, size, hex(root), hex(link), note]);
}

const MOST_ATTEMPTS = 8;
const COLLISIONS: ReadonlySet<string> = new Set([
  'tile_pkey',
  'checkpoint_pkey',
  'deployment_entry_pkey',
  'deployment_entry_place',
]);

/** Runs in one snapshot, again when another process has gone on from the same checkpoint meanwhile. */
export async function inSnapshot<T>(
  db: CheckpointDatabase,
  run: (trx: QueryExecutor) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction().setIsolationLevel('repeatable read').execute(run);
    } catch (error) {
      if (!isCollision(error)) throw error;
      if (attempt < MOST_ATTEMPTS) continue;
      throw new RingfenceAuditError(
        'audit.unavailable',
        'other processes kept making checkpoints of this log',
        {
          retryable: true,
          cause: error,
        },
      );
    }
  }
}

function isCollision(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  return code === '23505' && COLLISIONS.has(String(constraint));
}

function hex(bytes: Readonly<Uint8Array>): string {
  return Buffer.from(bytes).toString('hex');
}
