/**
 * Reads one row of unknown origin. Invariant: never throws; what is not a row of the format is `undefined`.
 */
import { valueAt } from './canonical-bytes.ts';
import { type FixedText, isAt } from './fixed-form.ts';
import type { RecordBytes } from './record-bytes.ts';
import type { ChainRow, RecordColumns } from './report.ts';

/** What stands between actor and time. */
const AT_LENGTH = ',"at":"'.length;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

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
    if ((canon !== null && leaf === null) || !isDigest(hash)) return undefined;
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

/** What a record must agree with. */
export interface RecordPlace {
  /** Id of the event, 36 characters. */
  readonly id: FixedText;
  /** Columns that repeat the record. */
  readonly columns?: RecordColumns | undefined;
}

/** What is wrong with a record as the record of this place of an organisation (36 characters), or undefined. */
export function recordProblem(
  org: FixedText,
  place: RecordPlace,
  record: RecordBytes,
): RecordProblem | undefined {
  const offset = record.problemAt();
  if (offset !== undefined) {
    return { class: 'malformed', detail: `the record is not what the format allows, from byte ${offset}` };
  }
  const { words, scan } = record;
  if (!isAt(words, scan.orgAt, org)) return edited('the record names another organisation');
  if (!isAt(words, scan.idAt, place.id)) return edited('the record names another event');
  return place.columns === undefined ? undefined : columnProblem(place.columns, record);
}

function edited(detail: string): RecordProblem {
  return { class: 'edited', detail };
}

function columnProblem(columns: RecordColumns, { bytes, scan }: RecordBytes): RecordProblem | undefined {
  const { actorAt, timeAt, typeAt, typeEnd, targetAt, targetEnd } = scan;
  const target = targetAt === 0 ? null : (valueAt(bytes, targetAt, targetEnd) as TargetValue);
  const truth: Readonly<Record<string, unknown>> = {
    at: String.fromCharCode(...bytes.subarray(timeAt, timeAt + 27)),
    actor: valueAt(bytes, actorAt, timeAt - AT_LENGTH),
    action: typeAt === 0 ? undefined : valueAt(bytes, typeAt, typeEnd),
    target: target === null ? null : `${String(target.type)}:${String(target.id)}`,
  };
  for (const [name, value] of Object.entries(columns)) {
    if (value !== truth[name]) return edited(`column ${name} differs from the record`);
  }
  return undefined;
}

type TargetValue = { readonly type?: unknown; readonly id?: unknown } | null;
