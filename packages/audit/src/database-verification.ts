/**
 * Verifies a chain where it lives: streams seal and event by keyset pages through the verifier of `/verify`, then
 * compares the end of the chain with its head, and looks for events that are in no chain and for personal values that are gone.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { assertReads } from './assert-reads.ts';
import { rowsOf } from './checkpoint/database.ts';
import { fromDatabaseError } from './errors.ts';
import type { QueryExecutor } from './executor.ts';
import { nodeSha256 } from './node-sha256.ts';
import type { OrgId } from './org-id.ts';
import { pageSizeOf } from './page-size.ts';
import { PersonalValueCheck } from './personal-value-check.ts';
import { ChainWalk } from './verify/chain-walk.ts';
import type { ChainHead, ChainReport, ChainRow } from './verify/index.ts';

/** Settings of `audit.verify`. */
export interface VerifyOptions {
  /** Head, or heads, that somebody kept outside the database: finds a chain that was cut or rewritten as a whole. */
  readonly expectedHead?: ChainHead | readonly ChainHead[];
  /** Head of an earlier report that is trusted: only what follows is read. */
  readonly from?: ChainHead;
  /** Rows per page, 1 to 100 000. Default 2 000. */
  readonly pageSize?: number;
  /** A committed event without a link is a finding after this time, ms. Default 60 000. */
  readonly unsealedAfterMs?: number;
}

/** The verdict on a chain in its database. */
export interface DatabaseReport extends ChainReport {
  /** Personal values that are gone because their subjects were erased, as the log itself says. Not damage, so no findings. */
  readonly erased: number;
}

/**
 * Every column is text, so that no driver setting tells it in another type; one that may look like JSON begins with `=`, so
 * that no plugin parses it; and one alias is a single word, so that none changes its case.
 */
const PAGE = `
select s.seq::text as seq, s.event_id::text as id, encode(s.hash, 'hex') as hash, '=' || e.canon as canon,
       case when e.canon is not null then encode(e.leaf, 'hex') else (
         select encode(r.leaf, 'hex') from audit.pruned r
          where r.org_id = s.org_id and r.seq = s.seq and r.event_id = s.event_id) end as leaf, '=' || e.actor as actor, e.action, '=' || e.target as target,
       to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
  from audit.seal s left join audit.event e on e.org_id = s.org_id and e.id = s.event_id
 where s.org_id = $1::uuid and s.seq > $2::bigint order by s.seq limit $3::int`;

const HEAD = `
select h.seq::text as seq, (select max(r.seq) from audit.pruned r where r.org_id = $1::uuid)::text as pruned
  from audit.head h where h.org_id = $1::uuid`;

/** Most readings of one log, when each time events are pruned before it is read. */
const MOST_READINGS = 5;

/** One statement, one snapshot: the head and the last link must agree in it. */
const ENDS = `
select h.seq::text as head, encode(h.hash, 'hex') as headhash, s.seq::text as last, encode(s.hash, 'hex') as lasthash
  from (select $1::uuid as org) o
  left join audit.head h on h.org_id = o.org
  left join lateral (
    select seq, hash from audit.seal where org_id = o.org order by seq desc limit 1) s on true`;

const OUTSIDE = `
select e.id::text as id,
       (select extract(epoch from clock_timestamp() - q.queued_at) * 1000
          from audit.queue q where q.org_id = e.org_id and q.event_id = e.id)::double precision::text as waiting
  from audit.event e
 where e.org_id = $1::uuid
   and not exists (select from audit.seal s where s.org_id = e.org_id and s.event_id = e.id)
 limit 1001`;

interface PageRow {
  readonly seq: string;
  readonly id: string;
  readonly hash: string;
  readonly canon: string | null;
  readonly leaf: string | null;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string | null;
}

interface EndsRow {
  readonly head: string | null;
  readonly headhash: string | null;
  readonly last: string | null;
  readonly lasthash: string | null;
}

interface HeadRow {
  readonly seq: string;
  readonly pruned: string | null;
}

/**
 * Runs a whole verification and returns its report. Without `values`, personal values are left aside: the role of a copy
 * does not see them.
 *
 * Pages have each a snapshot of their own. Events that are pruned between two of them would look like deleted ones, so what was
 * found is believed only when nothing was pruned meanwhile; else the log is read again.
 */
export async function verifyInDatabase(
  db: QueryExecutor,
  org: OrgId,
  options: VerifyOptions,
  { values = true }: { readonly values?: boolean } = {},
): Promise<DatabaseReport> {
  const pageSize = pageSizeOf(options.pageSize);
  try {
    await assertReads(db, org);
    let [before] = await rowsOf<HeadRow>(db, HEAD, [org]);
    for (let reading = 1; ; reading++) {
      const report = await readOnce(db, org, { ...options, pageSize }, values, before);
      if (report.ok || reading === MOST_READINGS) return report;
      const [behind] = await rowsOf<HeadRow>(db, HEAD, [org]);
      if (behind?.pruned === before?.pruned) return report;
      before = behind;
    }
  } catch (error) {
    throw fromDatabaseError(error);
  }
}

async function readOnce(
  db: QueryExecutor,
  org: OrgId,
  options: VerifyOptions & { readonly pageSize: number },
  values: boolean,
  headBefore: HeadRow | undefined,
): Promise<DatabaseReport> {
  const { from, expectedHead, pageSize, unsealedAfterMs = 60_000 } = options;
  const walk = new ChainWalk({ sha256: nodeSha256, org, from, expectedHead });
  const personal = new PersonalValueCheck(db, org, walk);
  const read = (behind: number) => rowsOf<PageRow>(db, PAGE, [org, behind, pageSize]);
  let next: Promise<PageRow[]> | undefined = read(walk.seq);
  while (next !== undefined) {
    const rows: ChainRow[] = (await next).map((row) => chainRow(org, row));
    // The server reads the next page while this one is verified: the question leaves before the thread is taken. Nothing
    // else is asked meanwhile, because `db` may be a transaction.
    next = rows.length < pageSize ? undefined : read(rows.at(-1)?.seq ?? walk.seq);
    next?.catch(() => {}); // met below
    if (next !== undefined) await turn();
    for (const row of rows) walk.step(row);
    await next;
    if (values) await personal.page(rows);
  }
  if (headBefore !== undefined && Number(headBefore.seq) > walk.seq) {
    walk.find('cut', walk.seq + 1, null, `the chain ends before its head, ${headBefore.seq}`);
  } else {
    compareEnds(walk, await rowsOf<EndsRow>(db, ENDS, [org]));
  }
  for (const { id, waiting } of await rowsOf<OutsideRow>(db, OUTSIDE, [org])) {
    if (waiting === null) {
      walk.find(
        'inserted',
        null,
        id,
        'the event is in no chain: put in past append, or its link was taken out',
      );
    } else if (Number(waiting) > unsealedAfterMs) {
      walk.find('unsealed', null, id, `committed but not sealed for ${Math.round(Number(waiting))} ms`);
    }
  }
  return { ...walk.finish(), erased: personal.erased };
}

interface OutsideRow {
  readonly id: string;
  readonly waiting: string | null;
}

function compareEnds(walk: ChainWalk, [ends]: readonly EndsRow[]): void {
  const head = Number(ends?.head ?? 0);
  const last = Number(ends?.last ?? 0);
  if (head > last) walk.find('cut', last + 1, null, `the chain ends before its head, ${head}`);
  else if (head < last)
    walk.find('inserted', head + 1, null, `links stand behind the head of the chain, ${head}`);
  else if (head > 0 && ends?.headhash !== ends?.lasthash) {
    walk.find('rewritten', last, null, 'the last link is not the head of the chain');
  }
}

function chainRow(org: OrgId, row: PageRow): ChainRow {
  const { id, at, action } = row;
  const canon = unmarked(row.canon);
  const leaf = row.leaf === null ? null : bytesOfHex(row.leaf);
  const base = { org, seq: Number(row.seq), eventId: id, canon, leaf, hash: bytesOfHex(row.hash) };
  if (canon === null) return base;
  return { ...base, columns: { at, actor: unmarked(row.actor) ?? '', action, target: unmarked(row.target) } };
}

/** Without the `=` in front. */
function unmarked(text: string | null): string | null {
  return text === null ? null : text.slice(1);
}

function bytesOfHex(hex: string): Uint8Array {
  return Buffer.from(hex, 'hex');
}
