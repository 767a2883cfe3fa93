/**
 * The row id as it enters the cell of a sealed value. What is written and what PostgreSQL gives back must be the same
 * text, or a value sealed today would not open tomorrow; so each type has one canonical form, and other spellings that
 * PostgreSQL would accept (`007`, a UUID in braces) are refused before anything is sealed.
 * Invariant: two different row ids never share a text.
 */

/** Type of a row-id column. `text` also serves other types whose values come back exactly as they were written. */
export type RowIdType = 'uuid' | 'integer' | 'text';

/** Columns that identify a row, in the order in which they enter the cell. */
export type RowIdColumns = readonly (readonly [column: string, type: RowIdType])[];

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const INTEGER = /^(?:0|-?[1-9][0-9]*)$/;

/**
 * Canonical text of one row-id value.
 *
 * @throws TypeError when the value has not the declared type.
 */
export function canonicalRowId(table: string, column: string, type: RowIdType, value: unknown): string {
  const text = textOf(type, value);
  if (text === undefined) {
    throw new TypeError(`the row id ${table}.${column} is declared as ${type} and got another kind of value`);
  }
  return text;
}

/** Text of a whole row id: the value itself, or a JSON array of the values when several columns make it up. */
export function rowIdText(values: readonly string[]): string {
  return values.length === 1 ? (values[0] as string) : JSON.stringify(values);
}

function textOf(type: RowIdType, value: unknown): string | undefined {
  if (type === 'text') return typeof value === 'string' && value !== '' ? value : undefined;
  if (type === 'integer') {
    if (typeof value === 'bigint') return value.toString();
    if (typeof value === 'number')
      return Number.isSafeInteger(value) ? (value + 0 === 0 ? '0' : String(value)) : undefined;
    return typeof value === 'string' && INTEGER.test(value) ? value : undefined;
  }
  if (typeof value !== 'string') return undefined;
  const lower = value.toLowerCase();
  return UUID.test(lower) ? lower : undefined;
}
