/**
 * One line of a listing, read from the record itself: the search columns only find it.
 * Invariant: a record that is not of the format is an error, never a line with gaps.
 */
import { type ChainPosition, positionOf } from '../append-result.ts';
import type { CanonicalValue } from '../canonical-json.ts';
import type { FieldChange } from '../changes.ts';
import { RingfenceAuditError } from '../errors.ts';
import type { Outcome } from '../event-catalogue.ts';
import type { ScannedRow } from './page-statement.ts';

/** What was acted upon. */
export interface EntryTarget {
  /** Type of the thing. */
  readonly type: string;
  /** Id of the thing. */
  readonly id: string;
}

/** Personal parts that the chain only commits to. */
export interface EntryPersonal {
  /** Opaque id of the data subject. */
  readonly subject: string;
  /** Commitment of each part, 64 hex digits, by its name; open one with `reveal` of `/personal`. */
  readonly fields: Readonly<Record<string, string>>;
}

/** One event of a listing. */
export interface AuditEntry {
  /** Id of the event. */
  readonly id: string;
  /** Time of record, RFC 3339 in UTC with microseconds. */
  readonly at: string;
  /** Who acted. */
  readonly actor: string;
  /** Name of the event. */
  readonly action: string;
  /** What was acted upon, or null. */
  readonly target: EntryTarget | null;
  /** Id of the request, or null. */
  readonly request: string | null;
  /** How the action ended; null for an event that another writer appended without one. */
  readonly outcome: Outcome | null;
  /** Why, or null. */
  readonly reason: string | null;
  /** A reviewer's note, or null. */
  readonly note: string | null;
  /** The event's own data, or null. */
  readonly data: CanonicalValue;
  /** What changed, field by field, or null. */
  readonly changes: Readonly<Record<string, FieldChange>> | null;
  /** Personal parts, or null. */
  readonly personal: EntryPersonal | null;
  /** Place in the chain; null while the event is committed but not sealed, which takes milliseconds. */
  readonly seal: ChainPosition | null;
  /** The record as it was hashed. */
  readonly record: string;
}

interface RecordShape {
  readonly id: unknown;
  readonly at: string;
  readonly actor: string;
  readonly request: string | null;
  readonly event: {
    readonly type: string;
    readonly outcome?: Outcome;
    readonly target?: EntryTarget;
    readonly reason?: string;
    readonly note?: string;
    readonly data?: CanonicalValue;
    readonly changes?: Readonly<Record<string, FieldChange>>;
    readonly personal?: EntryPersonal;
  };
}

/**
 * The entry of a row.
 *
 * @throws RingfenceAuditError `audit.malformed_record`.
 */
export function entryOf(row: ScannedRow): AuditEntry {
  const { id, at, actor, request, event } = recordOf(row);
  return {
    id: String(id),
    at,
    actor,
    action: event.type,
    target: event.target ?? null,
    request,
    outcome: event.outcome ?? null,
    reason: event.reason ?? null,
    note: event.note ?? null,
    data: event.data ?? null,
    changes: event.changes ?? null,
    personal: event.personal ?? null,
    seal: positionOf(row) ?? null,
    record: row.canon,
  };
}

/** Not the verifier: it asks for what an entry needs, so that a listing never shows nothing for something. */
function recordOf({ id, canon }: ScannedRow): RecordShape {
  let record: unknown;
  try {
    record = JSON.parse(canon);
  } catch {
    record = undefined;
  }
  const shape = record as Partial<RecordShape> | null | undefined;
  if (
    typeof shape?.at !== 'string' ||
    typeof shape.actor !== 'string' ||
    shape.id !== id ||
    typeof shape.event?.type !== 'string'
  ) {
    throw new RingfenceAuditError(
      'audit.malformed_record',
      `the record of event ${id} is not of the format: verify the log`,
    );
  }
  return shape as RecordShape;
}
