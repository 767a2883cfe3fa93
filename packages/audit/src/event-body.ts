/**
 * The client's part of an audit record: validated against the catalogue and encoded to canonical bytes, before any I/O.
 * The server splices it, as the member `event`, into the record it builds (docs/formats/audit-chain-v1.md).
 */
import * as z from 'zod/mini';
import { canonicalize } from './canonical-json.ts';
import { changesBetween } from './changes.ts';
import { RingfenceAuditError } from './errors.ts';
import type { DataIssue, EventCatalogue, EventDefinition } from './event-catalogue.ts';
import type { EventMembers } from './personal-fields.ts';

/** Largest canonical body, bytes of UTF-8; the database checks the same bound. */
export const MAX_BODY_BYTES = 65_536;

const plainObject = z.optional(
  z.custom<object>((value) => {
    if (typeof value !== 'object' || value === null) return false;
    const prototype: unknown = Object.getPrototypeOf(value);
    return prototype === Object.prototype || prototype === null;
  }, 'expected a plain object'),
);

function optionalText(most: number) {
  const expected = `expected a text of 1 to ${most} characters`;
  return z.optional(z.string(expected).check(z.minLength(1, expected), z.maxLength(most, expected)));
}

const FIELDS = z.strictObject(
  {
    outcome: z.enum(['success', 'denied', 'failure'], 'expected success, denied or failure'),
    target: optionalText(200),
    reason: optionalText(2_000),
    note: optionalText(10_000),
    before: plainObject,
    after: plainObject,
    data: z.optional(z.unknown()),
  },
  {
    error: ({ code, ...issue }) =>
      code === 'unrecognized_keys'
        ? `has no ${(issue as { keys?: string[] }).keys?.join(', ')}`
        : 'expected an object',
  },
);

/**
 * The canonical body of one event without personal parts.
 *
 * @throws RingfenceAuditError `audit.invalid_event`, `audit.not_canonical` or `audit.event_too_large`.
 * @throws TypeError when the event has personal parts, which would enter the chain in clear.
 */
export function encodeEventBody(events: EventCatalogue, type: string, input: unknown): string {
  const { members, marks } = readEvent(events, type, input);
  if (marks.length > 0) {
    throw new TypeError(`event ${type} has personal parts: prepare it with @ringfence/audit/personal`);
  }
  return encodeBody(type, members);
}

/** An event that fits its definition. */
export interface ReadEvent {
  /** Its members, validated but not encoded. */
  readonly members: EventMembers;
  /** The parts that its definition marks as personal. */
  readonly marks: readonly string[];
}

/**
 * Validates an event against its definition.
 *
 * @throws RingfenceAuditError `audit.invalid_event` or `audit.not_canonical`.
 */
export function readEvent(events: EventCatalogue, type: string, input: unknown): ReadEvent {
  const definition = Object.hasOwn(events, type) ? events[type] : undefined;
  if (definition === undefined) throw invalid(type, 'is not in the catalogue');
  const parsed = FIELDS.safeParse(input);
  if (!parsed.success) throw invalid(type, describe(parsed.error.issues));
  const { outcome, target, reason, note, before, after, data } = parsed.data;
  if ((definition.target === undefined) !== (target === undefined)) {
    throw invalid(
      type,
      definition.target === undefined ? 'has no target' : `needs the id of its ${definition.target}`,
    );
  }
  const members = {
    type,
    outcome,
    reason,
    note,
    target: target === undefined ? undefined : { id: target, type: definition.target },
    changes: before === undefined && after === undefined ? undefined : changesBetween(before, after),
    data: validateData(type, definition, data),
  };
  return { members, marks: definition.personal ?? [] };
}

/**
 * The canonical text of an event's members.
 *
 * @throws RingfenceAuditError `audit.not_canonical` or `audit.event_too_large`.
 */
export function encodeBody(type: string, members: EventMembers): string {
  const body = canonicalize(members);
  const bytes = new TextEncoder().encode(body).length;
  if (bytes > MAX_BODY_BYTES) {
    throw new RingfenceAuditError(
      'audit.event_too_large',
      `event ${type} is ${bytes} bytes in canonical form, at most ${MAX_BODY_BYTES}: record ids and digests, not documents`,
    );
  }
  return body;
}

function validateData(type: string, { data: schema }: EventDefinition, data: unknown): unknown {
  if (schema === undefined) {
    if (data !== undefined) throw invalid(type, 'has no data');
    return undefined;
  }
  const result = schema['~standard'].validate(data);
  if (result instanceof Promise) {
    result.catch(() => {}); // the caller learns of the misuse instead
    throw new TypeError(`schema of event ${type} is asynchronous: events are validated before any I/O`);
  }
  if (result.issues !== undefined) throw invalid(type, describe(result.issues, 'data'));
  return result.value;
}

/** Names where and what was expected; the schemas' messages do not echo values. */
function describe(issues: readonly DataIssue[], root?: string): string {
  return issues
    .slice(0, 5)
    .map(({ message, path = [] }) => {
      const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
      const where = (root === undefined ? keys : [root, ...keys]).join('.');
      return where === '' ? message : `${where}: ${message}`;
    })
    .join('; ');
}

function invalid(type: string, problem: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.invalid_event', `event ${JSON.stringify(type)}: ${problem}`);
}
