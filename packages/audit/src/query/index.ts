/**
 * `@ringfence/audit/query`: an organisation's log in pages, newest first, by actor, action, target and time. Pages are
 * cut by key, so that a page costs the same wherever it is; nothing counts or skips rows.
 *
 * @packageDocumentation
 */
import { fromDatabaseError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { type Direction, decodeCursor, encodeCursor, type Place } from './cursor.ts';
import { type AuditEntry, entryOf } from './entry.ts';
import { checkFilter, checkLimit, type EventFilter } from './filter.ts';
import { pageStatement, type ScannedRow } from './page-statement.ts';

export type { FieldChange } from '../changes.ts';
export type { AuditEntry, EntryPersonal, EntryTarget } from './entry.ts';
export type { EventFilter } from './filter.ts';

/** What to list. */
export interface PageRequest extends EventFilter {
  /** Most events of the page, 1 to 200. Default 50. */
  readonly limit?: number | undefined;
  /** `older` or `newer` of another page with the same filters. Default: the newest events. */
  readonly cursor?: string | undefined;
}

/** A page of the log. */
export interface AuditPage {
  /** The events, newest first, also on the way back. With combined filters there may be fewer than `limit`, even none, before the end. */
  readonly events: readonly AuditEntry[];
  /** Cursor to earlier events; null when there are none. */
  readonly older: string | null;
  /** Cursor to later events, there even before they are; null at the end of a listing without an event. */
  readonly newer: string | null;
}

/**
 * Lists an organisation's events, through its own handle (or an auditor's connection). Events that are committed but not
 * sealed yet are listed, with `seal: null`.
 *
 * A cursor is opaque and no authority. Events that are recorded while somebody pages appear in front of the first page:
 * no page repeats or loses an event because of them.
 *
 * @throws RingfenceAuditError `audit.invalid_filter`, `audit.invalid_cursor`, `audit.other_org` when the handle is
 * another organisation's, `audit.no_context`, `audit.malformed_record`.
 * @example
 * ```ts
 * const page = await listEvents(org, org.org, { actor: 'user:alice', from: '2026-03-01T00:00:00Z' });
 * if (page.older !== null) await listEvents(org, org.org, { actor: 'user:alice', from: '2026-03-01T00:00:00Z', cursor: page.older });
 * ```
 */
export async function listEvents(
  executor: QueryExecutor,
  org: OrgId,
  request: PageRequest = {},
): Promise<AuditPage> {
  const log = parseOrgId(org);
  const filter = checkFilter(request);
  const limit = checkLimit(request.limit ?? 50);
  const place = request.cursor === undefined ? undefined : decodeCursor(log, filter, request.cursor);
  const { query, scan } = pageStatement(log, filter, limit, place);
  const { rows } = await executor.executeQuery(query).catch((error: unknown) => {
    throw fromDatabaseError(error);
  });
  const { shown, first, last, more } = cut(rows, scan, limit);

  const ahead = place?.direction ?? 'older';
  const cursor = (direction: Direction, row: ScannedRow | undefined) =>
    row === undefined ? null : encodeCursor(log, filter, placeOf(direction, row));
  const events = shown.map(entryOf);
  if (ahead === 'older') {
    return { events, older: more ? cursor('older', last) : null, newer: cursor('newer', first) };
  }
  // Nothing later yet: the same place again, to ask for it once more.
  const newer = cursor('newer', last) ?? request.cursor ?? null;
  return { events: events.reverse(), older: cursor('older', first), newer };
}

/** What of the rows is shown, and the rows at which the next pages begin in either direction. */
interface Cut {
  readonly shown: readonly ScannedRow[];
  readonly first: ScannedRow | undefined;
  readonly last: ScannedRow | undefined;
  readonly more: boolean;
}

function cut(rows: readonly ScannedRow[], scan: number, limit: number): Cut {
  const inRange = rows.filter(({ place }) => Number(place) <= scan);
  const matching = inRange.filter(({ matches }) => matches);
  const shown = matching.slice(0, limit);
  const full = matching.length > limit;
  // All of a range that holds fewer matches than a page was looked at: the next page begins behind it.
  const last = full ? shown.at(-1) : (inRange.at(-1) ?? shown.at(-1));
  // As many rows as there may be: the last ones matched by the hash alone.
  const more = full || rows.length > inRange.length || rows.length > limit + 1;
  return { shown, first: shown[0] ?? last, last, more };
}

function placeOf(direction: Direction, { id, time }: ScannedRow): Place {
  const atUs = BigInt(Date.parse(`${time.slice(0, 19)}Z`)) * 1_000n + BigInt(time.slice(20, 26));
  return { direction, atUs, id };
}
