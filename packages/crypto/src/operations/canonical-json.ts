/**
 * Canonical JSON of RFC 8785 for what certificates hold: keys sorted by UTF-16 code units, no white space, strings and
 * safe integers as ECMAScript writes them. Other numbers are refused.
 */

/** Canonical JSON text of a value made of objects, arrays, strings, safe integers, booleans and null. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(',')}}`;
  }
  const simple = value === null || typeof value === 'string' || typeof value === 'boolean';
  if (!simple && !Number.isSafeInteger(value)) throw new TypeError('not a value of canonical JSON');
  return JSON.stringify(value);
}
