/**
 * Reads one row of unknown origin. Invariant: never throws; what is not a row of the format is `undefined`.
 */
import { isPlainAt, isStringAt, isTextAt, valueAt } from './canonical-bytes.ts';
import { type FixedText, isAt } from './fixed-form.ts';
import type { RecordBytes } from './record-bytes.ts';
import type { ChainRow, RecordColumns } from './report.ts';

/** What stands between actor and time. */
const AT_LENGTH = ',"at":"'.length;
const TIME_LENGTH = '2026-03-03T10:11:12.131415Z'.length;
/** What stands before id and type of a target. */
const TARGET = ['{"id":"', '","type":"'] as const;
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

function columnProblem(columns: RecordColumns, record: RecordBytes): RecordProblem | undefined {
  for (const name of Object.keys(columns) as (keyof RecordColumns)[]) {
    if (!repeats(name, columns[name], record)) return edited(`column ${name} differs from the record`);
  }
  return undefined;
}

/** Whether a column has what the record says. */
function repeats(name: keyof RecordColumns, value: unknown, { bytes, scan }: RecordBytes): boolean {
  const { actorAt, timeAt, typeAt, typeEnd, targetAt, targetEnd } = scan;
  switch (name) {
    case 'at':
      return typeof value === 'string' && isPlainAt(bytes, timeAt, timeAt + TIME_LENGTH, value);
    case 'actor':
      return isStringAt(bytes, actorAt, timeAt - AT_LENGTH, value);
    case 'action':
      return typeAt === 0 ? value === undefined : isStringAt(bytes, typeAt, typeEnd, value);
    case 'target':
      return targetAt === 0 ? value === null : isTargetAt(bytes, targetAt, targetEnd, value);
    default:
      return value === undefined;
  }
}

/** Whether the target of a record is the one of its column, `type:id`. */
function isTargetAt(bytes: Uint8Array, from: number, to: number, column: unknown): boolean {
  if (typeof column === 'string' && isPlainTarget(bytes, from, to, column)) return true;
  const target = valueAt(bytes, from, to) as TargetValue;
  return column === (target === null ? null : `${String(target.type)}:${String(target.id)}`);
}

/** As it nearly always stands: two plain strings. */
function isPlainTarget(bytes: Uint8Array, from: number, to: number, column: string): boolean {
  const colon = column.indexOf(':');
  const idAt = from + TARGET[0].length;
  const idEnd = idAt + column.length - colon - 1;
  const typeAt = idEnd + TARGET[1].length;
  return (
    colon !== -1 &&
    isTextAt(bytes, from, TARGET[0]) &&
    isPlainAt(bytes, idAt, idEnd, column.slice(colon + 1)) &&
    isTextAt(bytes, idEnd, TARGET[1]) &&
    isPlainAt(bytes, typeAt, to - 2, column.slice(0, colon)) // the two left close the string and the object
  );
}

type TargetValue = { readonly type?: unknown; readonly id?: unknown } | null;
