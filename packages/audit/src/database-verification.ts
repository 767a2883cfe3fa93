/**
 * Verifies a chain where it lives: streams seal and event by keyset pages through the verifier of `/verify`, then
 * compares the end of the chain with its head, and looks for events that are in no chain.
 */
import { hash } from 'node:crypto';
import { CompiledQuery } from 'kysely';
import { toHex } from './append-result.ts';
import { fromDatabaseError } from './errors.ts';
import type { QueryExecutor } from './executor.ts';
import type { OrgId } from './org-id.ts';
import { ChainWalk } from './verify/chain-walk.ts';
import type { ChainHead, ChainReport, ChainRow } from './verify/index.ts';

/** Settings of `audit.verify`. */
export interface VerifyOptions {
  /** Who reads: must see the organisation's rows (its own handle, or an auditor's connection). Default: the `db` of `createAudit`. */
  readonly db?: QueryExecutor;
  /** Head that somebody kept outside the database: finds a chain that was cut or rewritten as a whole. */
  readonly expectedHead?: ChainHead;
  /** Head of an earlier report that is trusted: only what follows is read. */
  readonly from?: ChainHead;
  /** Rows per page. Default 2 000. */
  readonly pageSize?: number;
  /** A committed event without a link is a finding after this time, ms. Default 60 000. */
  readonly unsealedAfterMs?: number;
}

/** One alias per column is a single word, so that a plugin that changes the case of names changes none. */
const PAGE = `
select s.seq, s.event_id::text as id, s.hash, e.canon, e.leaf, e.actor, e.action, e.target,
       to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
  from audit.seal s left join audit.event e on e.org_id = s.org_id and e.id = s.event_id
 where s.org_id = $1::uuid and s.seq > $2::bigint order by s.seq limit $3::int`;

const ASSERT_READS = 'select audit.assert_reads($1::uuid)';

const HEAD = 'select h.seq, h.hash from audit.head h where h.org_id = $1::uuid';

/** One statement, one snapshot: the head and the last link must agree in it. */
const ENDS = `
select h.seq as head, h.hash as headhash, s.seq as last, s.hash as lasthash
  from (select $1::uuid as org) o
  left join audit.head h on h.org_id = o.org
  left join lateral (
    select seq, hash from audit.seal where org_id = o.org order by seq desc limit 1) s on true`;

const OUTSIDE = `
select e.id::text as id,
       (select extract(epoch from clock_timestamp() - q.queued_at) * 1000
          from audit.queue q where q.org_id = e.org_id and q.event_id = e.id)::double precision as waiting
  from audit.event e
 where e.org_id = $1::uuid
   and not exists (select from audit.seal s where s.org_id = e.org_id and s.event_id = e.id)
 limit 1001`;

interface PageRow {
  readonly seq: unknown;
  readonly id: string;
  readonly hash: Uint8Array;
  readonly canon: string | null;
  readonly leaf: Uint8Array | null;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string | null;
}

interface EndsRow {
  readonly head: unknown;
  readonly headhash: Uint8Array | null;
  readonly last: unknown;
  readonly lasthash: Uint8Array | null;
}

/** Runs a whole verification and returns its report. */
export async function verifyInDatabase(
  db: QueryExecutor,
  org: OrgId,
  options: VerifyOptions,
): Promise<ChainReport> {
  const { from, expectedHead, pageSize = 2_000, unsealedAfterMs = 60_000 } = options;
  const walk = new ChainWalk({ sha256, org, from, expectedHead });
  try {
    await rowsOf(db, ASSERT_READS, [org]);
    const [headBefore] = await rowsOf<{ readonly seq: unknown }>(db, HEAD, [org]);
    for (;;) {
      const page = await rowsOf<PageRow>(db, PAGE, [org, walk.seq, pageSize]);
      for (const row of page) walk.step(chainRow(org, row));
      if (page.length < pageSize) break;
    }
    if (headBefore !== undefined && Number(headBefore.seq) > walk.seq) {
      walk.find('cut', walk.seq + 1, null, `the chain ends before its head, ${String(headBefore.seq)}`);
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
      } else if (waiting > unsealedAfterMs) {
        walk.find('unsealed', null, id, `committed but not sealed for ${Math.round(waiting)} ms`);
      }
    }
  } catch (error) {
    throw fromDatabaseError(error);
  }
  return walk.finish();
}

interface OutsideRow {
  readonly id: string;
  readonly waiting: number | null;
}

function compareEnds(walk: ChainWalk, [ends]: readonly EndsRow[]): void {
  const head = Number(ends?.head ?? 0);
  const last = Number(ends?.last ?? 0);
  if (head > last) walk.find('cut', last + 1, null, `the chain ends before its head, ${head}`);
  else if (head < last)
    walk.find('inserted', head + 1, null, `links stand behind the head of the chain, ${head}`);
  else if (
    head > 0 &&
    toHex(ends?.headhash ?? new Uint8Array()) !== toHex(ends?.lasthash ?? new Uint8Array())
  ) {
    walk.find('rewritten', last, null, 'the last link is not the head of the chain');
  }
}

function chainRow(org: OrgId, row: PageRow): ChainRow {
  const { id, canon, leaf, at, actor, action, target } = row;
  const base = { org, seq: Number(row.seq), eventId: id, canon, leaf, hash: row.hash };
  return canon === null ? base : { ...base, columns: { at, actor, action, target } };
}

async function rowsOf<R>(db: QueryExecutor, sql: string, parameters: readonly unknown[]): Promise<R[]> {
  return (await db.executeQuery(CompiledQuery.raw(sql, [...parameters]) as CompiledQuery<R>)).rows;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}
