/**
 * Appends what was sealed since the last checkpoint to its tree, walking the chain on the way: a leaf enters the tree only
 * when its link continues from the one before, and the first from the link that the last checkpoint stood at.
 *
 * Invariant: no more leaves at once than memory, and a statement that stores their tiles, are set aside for.
 */

import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { chainHasher, GENESIS, sameBytes, uuidBytes } from '../verify/link.ts';
import type { CompactRange, NodeSeen } from './compact-range.ts';
import { rowsOf, sizeOf } from './database.ts';
import { historyChanged, type StoredCheckpoint } from './signed-tree.ts';

const ENDS = `
select (select s.seq from audit.seal s where s.org_id = $1::uuid order by s.seq desc limit 1) as head,
       (select s.hash from audit.seal s where s.org_id = $1::uuid and s.seq = $2::bigint) as link`;

const PAGE = `
select s.seq, s.hash as link, e.leaf from audit.seal s
  left join audit.event e on e.org_id = s.org_id and e.id = s.event_id
 where s.org_id = $1::uuid and s.seq > $2::bigint order by s.seq limit $3::int`;

const PAGE_SIZE = 10_000;

/** Most leaves that a checkpoint adds, unless it is told otherwise: 256 full tiles. */
export const MOST_LEAVES = 65_536;

/** What was appended. */
export interface NewLeaves {
  /** Link of the last event in the tree. */
  readonly link: Readonly<Uint8Array>;
  /** Last event of the chain, which may lie behind the tree. */
  readonly head: number;
}

interface LeafRow {
  readonly seq: unknown;
  readonly link: Uint8Array;
  readonly leaf: Uint8Array | null;
}

/**
 * Appends the new leaves, `most` at most.
 *
 * @throws RingfenceAuditError `audit.history_changed` when the chain does not go on from the last checkpoint.
 */
export async function appendNewLeaves(
  db: QueryExecutor,
  org: string,
  last: StoredCheckpoint | undefined,
  tree: CompactRange,
  seen: NodeSeen,
  most: number,
): Promise<NewLeaves> {
  const size = last?.size ?? 0;
  let link = last?.link ?? GENESIS;
  const [ends] = await rowsOf<{ head: unknown; link: Uint8Array | null }>(db, ENDS, [org, size]);
  const head = sizeOf(ends?.head ?? 0);
  if (head < size) throw historyChanged(org, `the chain ends at ${head}, before the checkpoint of ${size}`);
  if (last !== undefined && (ends?.link == null || !sameBytes(ends.link, link))) {
    throw historyChanged(org, `the link of event ${size} is not the one that was signed`);
  }
  const hasher = chainHasher(uuidBytes(org), nodeSha256);
  const end = Math.min(head, size + most);
  while (tree.size < end) {
    const rows = await rowsOf<LeafRow>(db, PAGE, [org, tree.size, Math.min(PAGE_SIZE, end - tree.size)]);
    for (const row of rows) {
      const seq = tree.size + 1;
      if (Number(row.seq) !== seq || row.leaf === null) {
        throw historyChanged(org, `event ${seq} is missing`);
      }
      const next = hasher.link(seq, link, row.leaf);
      if (!sameBytes(next, row.link)) throw historyChanged(org, `event ${seq} does not continue the chain`);
      link = next;
      tree.append(row.leaf, seen);
    }
    if (rows.length === 0) throw historyChanged(org, `event ${tree.size + 1} is missing`);
  }
  return { link, head };
}
