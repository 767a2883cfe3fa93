/**
 * Writes an organisation's chain as an export (docs/formats/audit-export-v1.md), page by page in flat memory.
 *
 * The server writes the lines, so that no row passes through a driver. The end is fixed before the first page: what is
 * appended meanwhile is not in the export, and no snapshot is held that would keep the queue from being vacuumed.
 * Invariant: exports what is stored, also where it is broken; judging it is the verifier's part.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { CompiledQuery } from 'kysely';
import { assertReads } from './assert-reads.ts';
import { fromDatabaseError, RingfenceAuditError } from './errors.ts';
import type { QueryExecutor } from './executor.ts';
import { type OrgId, parseOrgId } from './org-id.ts';
import { pageSizeOf } from './page-size.ts';
import type { ChainHead } from './verify/index.ts';

/** Settings of `exportLog`. */
export interface ExportOptions {
  /** Head behind which the export begins, for instance the end of an earlier one. Default: the beginning of the chain. */
  readonly from?: ChainHead;
  /** Link with which the export ends. Default: the end of the chain. */
  readonly to?: ChainHead;
  /** Links per page, 1 to 100 000; about 1 kB of memory each. Default 2 000. */
  readonly pageSize?: number;
  /** Texts that are proofs about this chain, for instance checkpoint notes; written before the links. Default: none. */
  readonly notes?: readonly string[];
}

/** Up to where events are pruned. A page in which it has moved is of another time than the pages before. */
const PRUNED = '(select max(r.seq) from audit.pruned r where r.org_id = $1::uuid)::text as pruned';

/** One statement, one snapshot: the head and the last link agree in it. */
const ENDS = `
select (select seq from audit.head where org_id = $1::uuid)::text as seq,
       encode((select hash from audit.head where org_id = $1::uuid), 'hex') as hash,
       (select max(seq) from audit.seal where org_id = $1::uuid)::text as last, ${PRUNED}`;

/**
 * Records are looked up one by one (a lateral with a limit is never flattened): a planner that joins reads every event of the
 * organisation for each page. A record stands in its line as it is; one that could not, because it was tampered with, as to_json escapes
 * it (RFC 8785).
 */
const PAGE = `
select max(p.seq)::text as last, string_agg(
         '{"canon":' || case when e.canon is null then 'null'
           when left(e.canon, 1) = '{' and strpos(e.canon, E'\\n') = 0 then e.canon else to_json(e.canon)::text end
         || ',"hash":"' || encode(p.hash, 'hex') || '","id":"' || p.event_id::text
         || case when e.canon is null then coalesce((select '","leaf":"' || encode(r.leaf, 'hex') from audit.pruned r
              where r.org_id = $1::uuid and r.seq = p.seq and r.event_id = p.event_id), '') else '' end
         || '","seq":' || p.seq::text
         || E'}\\n', '' order by p.seq) as lines, ${PRUNED}
  from (select s.seq, s.event_id, s.hash from audit.seal s
         where s.org_id = $1::uuid and s.seq > $2::bigint and s.seq <= $3::bigint order by s.seq limit $4::int) p
  left join lateral (
    select e.canon from audit.event e where e.org_id = $1::uuid and e.id = p.event_id limit 1) e on true`;

const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) };

interface EndsRow {
  readonly seq: string;
  readonly hash: string | null;
  readonly last: string | null;
  readonly pruned: string | null;
}

interface PageRow {
  readonly last: string | null;
  readonly lines: string | null;
  readonly pruned: string | null;
}

/**
 * Streams the export of one organisation's chain. `db` must see the organisation's rows.
 *
 * @throws RingfenceAuditError `audit.other_org` or `audit.no_context` when `db` does not see the organisation;
 * `audit.pruned_meanwhile` when events that were still to be written were pruned: throw away what was written, and export again.
 * @throws TypeError when `org` is no UUID, `pageSize` no whole number from 1 to 100 000, or the session's client_encoding is not UTF8.
 * @example
 * ```ts
 * await pipeline(exportLog(db, org), createWriteStream('audit.ndjson'));
 * ```
 */
export async function* exportLog(
  db: QueryExecutor,
  org: OrgId,
  options: ExportOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const { from = GENESIS, to, notes = [] } = options;
  const pageSize = pageSizeOf(options.pageSize);
  const utf8 = new TextEncoder();
  const id = parseOrgId(org);
  await assertReads(db, id).catch((error: unknown) => {
    throw fromDatabaseError(error);
  });
  const ends = await one<EndsRow>(db, ENDS, [id]);
  yield utf8.encode(
    `{"format":"ringfence-audit-export","from":${headJson(from)},"org":"${id}","v":1}\n${notes
      .map((note) => `{"note":${JSON.stringify(note)}}\n`)
      .join('')}`,
  );
  const last = Math.min(Number(ends?.last ?? 0), to?.seq ?? Infinity);
  const read = (behind: number) => one<PageRow>(db, PAGE, [id, behind, last, pageSize]);
  let at = from.seq;
  let next = last > at ? read(at) : undefined;
  while (next !== undefined) {
    const page = await next;
    if (page?.pruned !== ends?.pruned && Number(page?.pruned) > at) throw prunedMeanwhile(id);
    at = Number(page?.last ?? last);
    // The server writes the next page while the caller works on this one: the question must be on its way before a caller
    // that computes without a pause has the thread.
    next = at < last ? read(at) : undefined;
    next?.catch(() => {}); // met by the next round; a caller that stops here never asks
    if (next !== undefined) await turn();
    if (page?.lines != null) yield utf8.encode(page.lines);
  }
  const head = to ?? (ends?.hash == null ? GENESIS : { seq: Number(ends.seq), hash: ends.hash });
  yield utf8.encode(`{"end":${headJson(head)}}\n`);
}

/** Whoever goes on writes records and then none, which is what a deletion looks like. */
function prunedMeanwhile(org: OrgId): RingfenceAuditError {
  const what = `events of log ${org} were pruned while it was being exported: throw away what was written, and export again`;
  return new RingfenceAuditError('audit.pruned_meanwhile', what, { retryable: true });
}

function headJson({ seq, hash }: ChainHead): string {
  return `{"hash":"${hash}","seq":${seq}}`;
}

async function one<R>(
  db: QueryExecutor,
  sql: string,
  parameters: readonly unknown[],
): Promise<R | undefined> {
  try {
    return (await db.executeQuery(CompiledQuery.raw(sql, [...parameters]) as CompiledQuery<R>)).rows[0];
  } catch (error) {
    throw fromDatabaseError(error);
  }
}
