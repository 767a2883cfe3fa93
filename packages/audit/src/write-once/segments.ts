/**
 * Cuts what lies between two checkpoints into segments, each an export of its own (docs/formats/audit-export-v1.md).
 *
 * Invariants: where a segment ends depends on the chain alone, so that a copy that was interrupted makes the same object
 * again; a segment is verified before it leaves, and none is longer than what memory is set aside for.
 */
import { toHex } from '../append-result.ts';
import { rowsOf } from '../checkpoint/database.ts';
import type { QueryExecutor } from '../executor.ts';
import { exportLog } from '../export-log.ts';
import type { OrgId } from '../org-id.ts';
import { type ChainHead, verifyExport } from '../verify/index.ts';
import { leafCollector } from './leaf-collector.ts';
import { notCopied } from './not-copied.ts';

/** Most links of a segment. Part of the format: another number would cut at other places. */
const MOST_LINKS = 10_000;
/** Most bytes of records of a segment, unless it has one link only. Part of the format. */
const MOST_RECORD_BYTES = 8 * 1024 * 1024;

/**
 * Most bytes of a segment: in its lines a byte of a record is two at most (a quote or a backslash), and what stands around a record is
 * shorter than 256.
 */
export const MOST_SEGMENT_BYTES: number = 2 * MOST_RECORD_BYTES + 256 * (MOST_LINKS + 2);

const CUT = `
select c.seq, c.hash from (
  select s.seq, s.hash, sum(coalesce(octet_length(e.canon), 0)) over (order by s.seq) as bytes
    from audit.seal s left join audit.event e on e.org_id = s.org_id and e.id = s.event_id
   where s.org_id = $1::uuid and s.seq > $2::bigint and s.seq <= least($3::bigint, $2::bigint + ${MOST_LINKS})) c
 where c.bytes <= ${MOST_RECORD_BYTES} or c.seq = $2::bigint + 1
 order by c.seq desc limit 1`;

/** One segment, verified. */
export interface Segment {
  /** Head behind which it begins. */
  readonly from: ChainHead;
  /** Its last link. */
  readonly to: ChainHead;
  /** Its bytes. */
  readonly body: Uint8Array;
  /** Leaf hashes of its records. */
  readonly leaves: readonly Uint8Array[];
}

/**
 * The segments from one place to another.
 *
 * @throws RingfenceAuditError `audit.history_changed` when the chain in between does not hold.
 */
export async function* segments(
  db: QueryExecutor,
  org: OrgId,
  from: ChainHead,
  to: ChainHead,
): AsyncGenerator<Segment, void, void> {
  for (let begin = from; begin.seq < to.seq; ) {
    const [cut] = await rowsOf<{ seq: unknown; hash: Uint8Array }>(db, CUT, [org, begin.seq, to.seq]);
    if (cut === undefined) throw notCopied(org, `link ${begin.seq + 1} is missing`);
    const seq = Number(cut.seq);
    const end = seq === to.seq ? to : { seq, hash: toHex(cut.hash) };
    const verified = await segment(db, org, begin, end);
    yield { from: begin, to: end, ...verified };
    begin = end;
  }
}

async function segment(
  db: QueryExecutor,
  org: OrgId,
  from: ChainHead,
  to: ChainHead,
): Promise<Pick<Segment, 'body' | 'leaves'>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(db, org, { from, to })) chunks.push(chunk);
  const { sha256, leaves } = leafCollector();
  const report = await verifyExport(chunks, { org, expectedHead: [from, to], sha256 });
  if (!report.ok) {
    const [first] = report.findings;
    throw notCopied(org, `${first?.class} ${first?.seq ?? ''}: ${first?.detail}`);
  }
  return { body: Buffer.concat(chunks), leaves };
}
