/**
 * Cursors: a place in one listing, as 56 characters of base64url over
 *
 *     version (1) || direction (1) || time of the event (8, microseconds) || id of the event (16) || digest (16)
 *
 * where the digest is SHA-256 over organisation, filters and the bytes before it. A cursor is no authority: whoever makes
 * one up gets a place in a log that row-level security lets them read anyway. The digest catches damage and mix-ups.
 * Invariant: one text for one place; a cursor of another organisation or of other filters is refused, never reinterpreted.
 */
import { hash } from 'node:crypto';
import { canonicalize } from '../canonical-json.ts';
import { RingfenceAuditError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import { uuidBytes } from '../verify/link.ts';
import type { EventFilter } from './filter.ts';

/** Towards earlier or towards later events. */
export type Direction = 'older' | 'newer';

/** A place in a listing: behind this event, seen in this direction. */
export interface Place {
  /** Where to go from the event. */
  readonly direction: Direction;
  /** Time of the event, microseconds since epoch. */
  readonly atUs: bigint;
  /** Id of the event. */
  readonly id: string;
}

const VERSION = 1;
const PLACE_BYTES = 26;
const DIGEST_BYTES = 16;
/** Year 10 000, where RFC 3339 ends. */
const END_OF_TIME_US = 253_402_300_800_000_000n;
const CURSOR = /^[A-Za-z0-9_-]{56}$/;

/** The cursor of a place. */
export function encodeCursor(org: OrgId, filter: EventFilter, { direction, atUs, id }: Place): string {
  const bytes = new Uint8Array(PLACE_BYTES + DIGEST_BYTES);
  bytes[0] = VERSION;
  bytes[1] = direction === 'older' ? 0 : 1;
  new DataView(bytes.buffer).setBigInt64(2, atUs);
  bytes.set(uuidBytes(id), 10);
  bytes.set(digestOf(org, filter, bytes.subarray(0, PLACE_BYTES)), PLACE_BYTES);
  return Buffer.from(bytes).toString('base64url');
}

/**
 * The place of a cursor.
 *
 * @throws RingfenceAuditError `audit.invalid_cursor`.
 */
export function decodeCursor(org: OrgId, filter: EventFilter, cursor: unknown): Place {
  if (typeof cursor !== 'string' || !CURSOR.test(cursor)) throw refused();
  const bytes = new Uint8Array(Buffer.from(cursor, 'base64url')); // 42 bytes fill 56 characters: no spare bits
  const place = bytes.subarray(0, PLACE_BYTES);
  const digest = digestOf(org, filter, place);
  const direction = place[1];
  if (place[0] !== VERSION || (direction !== 0 && direction !== 1)) throw refused();
  if (!digest.every((byte, index) => byte === bytes[PLACE_BYTES + index])) throw refused();
  const atUs = new DataView(bytes.buffer).getBigInt64(2);
  if (atUs < 0n || atUs >= END_OF_TIME_US) throw refused(); // made up: a cursor of ours has the time of an event
  const hex = Buffer.from(place.subarray(10)).toString('hex');
  return {
    direction: direction === 0 ? 'older' : 'newer',
    atUs,
    id: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
  };
}

function digestOf(org: OrgId, filter: EventFilter, place: Uint8Array): Uint8Array {
  const listing = canonicalize({ org, ...filter });
  const bytes = Buffer.concat([Buffer.from('ringfence audit cursor\0'), place, Buffer.from(listing)]);
  return hash('sha256', bytes, 'buffer').subarray(0, DIGEST_BYTES);
}

function refused(): RingfenceAuditError {
  return new RingfenceAuditError(
    'audit.invalid_cursor',
    'the cursor is damaged, or belongs to another organisation or other filters: begin again without it',
  );
}
