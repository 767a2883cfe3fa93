/**
 * The links of a copy as rows of a database: what `audit.append` and sealing would have written, with the hashes that are
 * in the copy. Invariant: links are added behind the head that was found, and nowhere else.
 */
import { toHex } from '../append-result.ts';
import { rowsOf } from '../checkpoint/database.ts';
import { historyChanged } from '../checkpoint/signed-tree.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import type { ChainHead } from '../verify/index.ts';

/** Links to add, column by column. */
export interface RestoredLinks {
  /** Head behind which they begin. */
  readonly behind: ChainHead;
  /** Ids of their events. */
  readonly ids: readonly string[];
  /** Records. */
  readonly canons: readonly string[];
  /** Hashes, 64 hex digits. */
  readonly hashes: readonly string[];
  /** Places. */
  readonly seqs: readonly number[];
  /** How many records have personal parts. */
  readonly personal: number;
}

const END = 'select seq, hash from audit.head where org_id = $1::uuid';
const LINK = 'select hash from audit.seal where org_id = $1::uuid and seq = $2::bigint';
const BEGIN = 'insert into audit.head (org_id) values ($1::uuid) on conflict do nothing';

const CANON = '{"canon":';
/** Everything behind a record has one form, so a line is read from its end: the bytes of the record are never made anew. */
const TAIL = /,"hash":"([0-9a-f]{64})","id":"([0-9a-f-]{36})","seq":(\d+)\}$/;

/** An event that waited to be sealed in a backup was sealed afterwards: its row is there, its place in the queue is taken. */
const ADD = `
with link as (
  select l.id, l.canon, l.canon::jsonb as record, decode(l.hash, 'hex') as hash, l.seq
    from unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[]) as l(id, canon, hash, seq)),
waited as (
  delete from audit.queue q using link l where q.org_id = $1::uuid and q.event_id = l.id
     and q.leaf = sha256(decode('00', 'hex') || convert_to(l.canon, 'UTF8'))
  returning q.event_id),
events as (
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
  select $1::uuid, l.id, (l.record ->> 'at')::timestamptz, l.canon,
         sha256(decode('00', 'hex') || convert_to(l.canon, 'UTF8')), l.record ->> 'actor',
         l.record #>> '{event,type}', (l.record #>> '{event,target,type}') || ':' || (l.record #>> '{event,target,id}')
    from link l where not exists (select from waited w where w.event_id = l.id)),
links as (
  insert into audit.seal (org_id, seq, event_id, hash) select $1::uuid, l.seq, l.id, l.hash from link l)
update audit.head h set seq = $6::bigint, hash = decode($7, 'hex')
 where h.org_id = $1::uuid and h.seq = $8::bigint and h.hash = decode($9, 'hex') returning h.seq`;

/** End of a log in a database. */
export async function endOf(db: QueryExecutor, org: OrgId): Promise<ChainHead> {
  const [row] = await rowsOf<{ seq: unknown; hash: Uint8Array }>(db, END, [org]);
  return row === undefined
    ? { seq: 0, hash: '0'.repeat(64) }
    : { seq: Number(row.seq), hash: toHex(row.hash) };
}

/**
 * The links of a verified segment behind the end of the database.
 *
 * @throws RingfenceAuditError `audit.history_changed` when the end lies in the segment and is another link.
 */
export function linksBehind(org: OrgId, segment: Uint8Array, end: ChainHead): RestoredLinks {
  const [ids, canons, hashes, seqs]: [string[], string[], string[], number[]] = [[], [], [], []];
  let behind = end;
  let personal = 0;
  for (const line of new TextDecoder().decode(segment).split('\n')) {
    if (!line.startsWith(CANON)) {
      const { from } = (line === '' ? {} : JSON.parse(line)) as { readonly from?: ChainHead };
      if (from !== undefined && from.seq > end.seq) behind = from;
      continue;
    }
    const [tail = '', hash = '', id = '', digits = ''] = TAIL.exec(line) ?? [];
    const seq = Number(digits);
    if (seq === end.seq && hash !== end.hash) throw notABeginning(org, seq);
    if (seq <= end.seq) continue;
    const text = line.slice(CANON.length, line.length - tail.length);
    const canon = text.startsWith('"') ? (JSON.parse(text) as string) : text;
    ids.push(id);
    canons.push(canon);
    hashes.push(hash);
    seqs.push(seq);
    const { event } = JSON.parse(canon) as { readonly event?: { readonly personal?: unknown } };
    if (event?.personal !== undefined) personal += 1;
  }
  return { behind, ids, canons, hashes, seqs, personal };
}

/** Adds links behind the head; the transaction is the caller's. */
export async function addLinks(trx: QueryExecutor, org: OrgId, links: RestoredLinks): Promise<void> {
  const { behind, ids, canons, hashes, seqs } = links;
  const [seq, hash] = [seqs.at(-1), hashes.at(-1)];
  if (seq === undefined) return;
  await rowsOf(trx, BEGIN, [org]);
  const values = [org, ids, canons, hashes, seqs, seq, hash, behind.seq, behind.hash];
  const moved = await rowsOf(trx, ADD, values);
  if (moved.length !== 1) throw historyChanged(org, 'somebody writes to the log while it is restored');
}

/** @throws RingfenceAuditError `audit.history_changed` unless the database has this link. */
export async function requireLink(db: QueryExecutor, org: OrgId, { seq, hash }: ChainHead): Promise<void> {
  if (seq === 0) return;
  const [row] = await rowsOf<{ hash: Uint8Array }>(db, LINK, [org, seq]);
  if (row === undefined || toHex(row.hash) !== hash) throw notABeginning(org, seq);
}

function notABeginning(org: OrgId, seq: number) {
  return historyChanged(org, `the database has another link ${seq} than the copy: nothing is added to it`);
}
