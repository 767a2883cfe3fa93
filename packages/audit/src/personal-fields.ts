/**
 * Which parts of an event are personal, and how they are taken out of it before it is encoded.
 *
 * A mark names a whole member: `reason`, `note`, `data.<member>`, or `changes.<field>` (that field of `before` and
 * `after`). Invariant: what is marked reaches the canonical bytes only as a commitment (docs/formats/audit-personal-v1.md).
 */
import type { CanonicalValue } from './canonical-json.ts';
import { RingfenceAuditError } from './errors.ts';
import type { DataSchema, EventCatalogue, EventDefinition } from './event-catalogue.ts';

/** What can be marked personal in an event whose data, by its schema's output, is `Data`. */
export type PersonalMark<Data> =
  | 'reason'
  | 'note'
  | `changes.${string}`
  | (Data extends object ? `data.${keyof Data & string}` : never);

/** The output type of an event's data; `never` when it has none. */
export type DataOutput<D> =
  D extends Required<Pick<EventDefinition, 'data'>>
    ? D['data'] extends DataSchema<infer _Input, infer Output>
      ? Output
      : never
    : never;

/** Marks of one event definition. */
export interface PersonalMarks<Mark> {
  /** Parts that are personal. */
  readonly personal?: readonly [Mark, ...Mark[]];
}

/** For each event of a catalogue, the marks it may have. */
export type MarkedCatalogue<E extends EventCatalogue> = {
  readonly [N in keyof E]: PersonalMarks<PersonalMark<DataOutput<E[N]>>>;
};

/** Longest mark, characters. */
const MAX_MARK_LENGTH = 200;
const MARK = /^(?:reason|note|(?:data|changes)\.[^\0]+)$/u;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Checks the marks of a definition.
 *
 * @throws TypeError when a mark names no part of an event, or stands twice.
 */
export function checkPersonalMarks(name: string, { personal, data }: EventDefinition): void {
  if (personal === undefined) return;
  if (personal.length === 0)
    throw new TypeError(`event ${name}: leave personal out where nothing is personal`);
  if (new Set(personal).size !== personal.length) throw new TypeError(`event ${name}: a mark stands twice`);
  for (const mark of personal) {
    if (!MARK.test(mark) || mark.length > MAX_MARK_LENGTH || LONE_SURROGATE.test(mark)) {
      throw new TypeError(
        `event ${name}: ${JSON.stringify(mark)} is not reason, note, data.<member> or changes.<field>`,
      );
    }
    if (mark.startsWith('data.') && data === undefined) {
      throw new TypeError(`event ${name}: ${JSON.stringify(mark)} is marked, but the event has no data`);
    }
  }
}

/** The members of an event as they are encoded. */
export type EventMembers = Readonly<Record<string, unknown>>;

/** An event in two parts. */
export interface SplitEvent {
  /** What anybody who reads the log may see. */
  readonly open: EventMembers;
  /** What is personal, by mark: only what the event holds. */
  readonly personal: ReadonlyMap<string, CanonicalValue>;
}

/**
 * Takes the marked parts out of an event.
 *
 * @throws RingfenceAuditError `audit.invalid_event` when a member of something that has none is marked.
 */
export function splitPersonal(members: EventMembers, marks: readonly string[]): SplitEvent {
  const personal = new Map<string, CanonicalValue>();
  const top = new Map(Object.entries(members));
  for (const mark of marks) {
    const dot = mark.indexOf('.');
    if (dot === -1) {
      take(top, mark, mark, personal);
      continue;
    }
    const part = mark.slice(0, dot);
    const whole = top.get(part);
    if (whole === undefined) continue;
    const inner = new Map(Object.entries(plainMembers(whole, mark)));
    take(inner, mark.slice(dot + 1), mark, personal);
    top.set(part, Object.fromEntries(inner));
  }
  return { open: Object.fromEntries(top), personal };
}

function take(
  members: Map<string, unknown>,
  member: string,
  mark: string,
  personal: Map<string, CanonicalValue>,
): void {
  const value = members.get(member);
  members.delete(member);
  if (value !== undefined) personal.set(mark, value as CanonicalValue);
}

/** Copying the members of a class or an array would make it something that the encoder no longer refuses. */
function plainMembers(value: unknown, mark: string): object {
  if (typeof value === 'object' && value !== null) {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) return value;
  }
  throw new RingfenceAuditError(
    'audit.invalid_event',
    `${JSON.stringify(mark)} is personal, but what should hold it is not a plain object`,
  );
}
