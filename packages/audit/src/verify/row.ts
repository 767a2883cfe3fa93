/**
 * Reads one row of unknown origin. Invariant: never throws; what is not a row of the format is `undefined`.
 */
import { canonicalizeRecord } from '../canonical-json.ts';
import type { ChainRow } from './report.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const MEMBERS = 'actor,at,event,id,org,request,v';

/** Whether a value is a lower-case UUID. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** The row, when it has the shape of one. */
export function readRow(value: unknown): ChainRow | undefined {
  try {
    if (typeof value !== 'object' || value === null) return undefined;
    const { org, seq, eventId, canon, leaf, hash, columns } = value as ChainRow;
    if (!isUuid(org) || !isUuid(eventId)) return undefined;
    if (!Number.isSafeInteger(seq) || seq < 1) return undefined;
    if (canon !== null && typeof canon !== 'string') return undefined;
    if (leaf !== null && !isDigest(leaf)) return undefined;
    if ((canon === null) !== (leaf === null) || !isDigest(hash)) return undefined;
    return { org, seq, eventId, canon, leaf, hash, ...(columns === undefined ? {} : { columns }) };
  } catch {
    return undefined; // a getter or a proxy that throws is no row
  }
}

function isDigest(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32;
}

/** What is wrong with a record. */
export interface RecordProblem {
  /** `malformed` when the format does not allow it, `edited` when it is not what its row says. */
  readonly class: 'malformed' | 'edited';
  /** In words. */
  readonly detail: string;
}

/** What is wrong with a record as the record of this row, or undefined. */
export function recordProblem(row: ChainRow, canon: string): RecordProblem | undefined {
  let record: unknown;
  try {
    record = JSON.parse(canon);
    if (canonicalizeRecord(record) !== canon) return malformed('the record is not in canonical form');
  } catch {
    return malformed('the record is not canonical JSON');
  }
  const shape = shapeProblem(record);
  if (shape !== undefined) return malformed(shape);
  const members = record as Readonly<Record<string, unknown>>;
  if (members['org'] !== row.org) return edited('the record names another organisation');
  if (members['id'] !== row.eventId) return edited('the record names another event');
  return columnProblem(row, members);
}

function malformed(detail: string): RecordProblem {
  return { class: 'malformed', detail };
}

function edited(detail: string): RecordProblem {
  return { class: 'edited', detail };
}

function shapeProblem(record: unknown): string | undefined {
  if (typeof record !== 'object' || record === null || Array.isArray(record))
    return 'the record is not an object';
  const { actor, at, event, request, v } = record as Readonly<Record<string, unknown>>;
  if (Object.keys(record).join(',') !== MEMBERS) return 'the record has other members than the format';
  if (v !== 1) return 'the record has another version';
  if (typeof actor !== 'string' || actor === '') return 'the record has no actor';
  if (typeof at !== 'string' || !TIME.test(at)) return 'the record has no time';
  if (request !== null && typeof request !== 'string') return 'the request of the record is not a string';
  if (typeof event !== 'object' || event === null || Array.isArray(event)) return 'the record has no event';
  return undefined;
}

function columnProblem(
  { columns }: ChainRow,
  record: Readonly<Record<string, unknown>>,
): RecordProblem | undefined {
  if (columns === undefined) return undefined;
  const event = record['event'] as Readonly<Record<string, unknown>>;
  const target = event['target'] as { readonly type?: unknown; readonly id?: unknown } | undefined | null;
  const truth: Readonly<Record<string, unknown>> = {
    at: record['at'],
    actor: record['actor'],
    action: event['type'],
    target: target == null ? null : `${String(target.type)}:${String(target.id)}`,
  };
  for (const [name, value] of Object.entries(columns)) {
    if (value !== truth[name]) return edited(`column ${name} differs from the record`);
  }
  return undefined;
}
