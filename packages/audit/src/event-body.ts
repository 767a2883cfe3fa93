/**
 * The client's part of an audit record: validated against the catalogue and encoded to canonical bytes, before any I/O.
 * The server splices it, as the member `event`, into the record it builds (docs/formats/audit-chain-v1.md).
 */
import { z } from 'zod';
import { canonicalize } from './canonical-json.ts';
import { changesBetween } from './changes.ts';
import { RingfenceAuditError } from './errors.ts';
import type { DataIssue, EventCatalogue, EventDefinition } from './event-catalogue.ts';

/** Largest canonical body, bytes of UTF-8; the database checks the same bound. */
export const MAX_BODY_BYTES = 65_536;

const plainObject = z.custom<object>((value) => {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}, 'expected a plain object');

const FIELDS = z.strictObject({
  outcome: z.enum(['success', 'denied', 'failure']),
  target: z.string().min(1).max(200).optional(),
  reason: z.string().min(1).max(2_000).optional(),
  note: z.string().min(1).max(10_000).optional(),
  before: plainObject.optional(),
  after: plainObject.optional(),
  data: z.unknown().optional(),
});

/**
 * The canonical body of one event.
 *
 * @throws RingfenceAuditError `audit.invalid_event`, `audit.not_canonical` or `audit.event_too_large`.
 */
export function encodeEventBody(events: EventCatalogue, type: string, input: unknown): string {
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
  const body = canonicalize({
    type,
    outcome,
    reason,
    note,
    target: target === undefined ? undefined : { id: target, type: definition.target },
    changes: before === undefined && after === undefined ? undefined : changesBetween(before, after),
    data: validateData(type, definition, data),
  });
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
