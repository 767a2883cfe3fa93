/**
 * The one statement behind a page: an index range of the organisation's events in the order of time, cut after a fixed
 * number of rows.
 *
 * With one filter the range holds nothing else. With several, the index of the most telling one gives the range, and holds
 * what the others are compared with: only what is likely to match is looked up in the table. At most `SCAN_ROWS` rows of an
 * index are looked at, so a page costs the same in a log of any size, and a rare combination costs pages that come back
 * short. Where an index holds a hash, the text is compared too.
 * Invariant: filters are parameters, never text of the statement.
 */
import { CompiledQuery } from 'kysely';
import type { OrgId } from '../org-id.ts';
import type { Place } from './cursor.ts';
import type { EventFilter } from './filter.ts';

/** Most rows that one page looks at when filters are combined. */
export const SCAN_ROWS = 2_000;

/** The filters that have an index, the most telling first. */
const INDEXED = ['target', 'actor', 'action'] as const;

/** A row of the statement. */
export interface ScannedRow {
  readonly id: string;
  readonly canon: string;
  /** Time, RFC 3339 with microseconds. */
  readonly time: string;
  /** Number of the row in the range, from 1. */
  readonly place: unknown;
  /** Whether the combined filters hold. */
  readonly matches: boolean;
  readonly seq: unknown;
  readonly hash: unknown;
}

/** A statement and how many rows its range may have before it is cut. */
export interface PageStatement {
  readonly query: CompiledQuery<ScannedRow>;
  /** Rows of the range that count; one more tells that it goes on. */
  readonly scan: number;
}

/** Builds the statement. */
export function pageStatement(
  org: OrgId,
  filter: EventFilter,
  limit: number,
  place: Place | undefined,
): PageStatement {
  const parameters: unknown[] = [org];
  const bind = (value: unknown, type: string) => `$${parameters.push(value)}::${type}`;
  const given = INDEXED.filter((column) => filter[column] !== undefined);
  const texts = new Map(given.map((column) => [column, bind(filter[column], 'text')]));
  const equals = (column: (typeof INDEXED)[number]) => `e.${column} = ${texts.get(column)}`;
  const [telling, ...others] = given.map((column) =>
    column === 'action' ? equals(column) : `e.${column}_hash = hashtextextended(${texts.get(column)}, 0)`,
  );
  const range = ['e.org_id = $1::uuid'];
  // What the index holds, and nothing else: with the text beside its hash, the planner would take both for rarer than they are.
  if (telling !== undefined) range.push(telling);
  if (filter.from !== undefined) range.push(`e.at >= ${bind(filter.from, 'timestamptz')}`);
  if (filter.to !== undefined) range.push(`e.at < ${bind(filter.to, 'timestamptz')}`);
  const backwards = place?.direction !== 'newer';
  if (place !== undefined) {
    const [at, id] = [bind(timeOf(place.atUs), 'timestamptz'), bind(place.id, 'uuid')];
    range.push(`(e.at, e.id) ${backwards ? '<' : '>'} (${at}, ${id})`);
  }
  const order = (alias: string) =>
    backwards ? `${alias}.at desc, ${alias}.id desc` : `${alias}.at, ${alias}.id`;
  const everyText = everyOf(given.map(equals));
  const lookedAt = (columns: string, rows: number) => `
          select e.at, e.id, ${columns}, row_number() over (order by ${order('e')}) as place
            from audit.event e where ${range.join(' and ')}
           order by ${order('e')} limit ${bind(rows + 1, 'int')}`;
  const scan = others.length === 0 ? limit : SCAN_ROWS;
  const rows =
    others.length === 0
      ? lookedAt(`e.canon, ${everyText} as matches`, scan)
      : `
        select r.at, r.id, r.place, e.canon, ${everyText} as matches
          from (select l.* from (${lookedAt(`${everyOf(others)} as likely`, scan)}) l
                 where l.likely or l.place >= ${bind(scan, 'int')}
                 order by ${order('l')} limit ${bind(limit + 2, 'int')}) r
          join audit.event e on e.org_id = $1::uuid and e.id = r.id`;
  const text = `
select m.id::text as id, m.canon, m.place, m.matches, s.seq, s.hash,
       to_char(m.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as time
  from (${rows}) m
  left join lateral (
    select l.seq, l.hash from audit.seal l where l.org_id = $1::uuid and l.event_id = m.id limit 1) s on true
 where (select audit.assert_reads($1::uuid)::text) is not null
 order by ${order('m')}`;
  return { query: CompiledQuery.raw(text, parameters) as CompiledQuery<ScannedRow>, scan };
}

function everyOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? 'true' : conditions.join(' and ');
}

/** RFC 3339 text of microseconds since epoch. */
function timeOf(us: bigint): string {
  const seconds = new Date(Number(us / 1_000_000n) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${(us % 1_000_000n).toString().padStart(6, '0')}Z`;
}
