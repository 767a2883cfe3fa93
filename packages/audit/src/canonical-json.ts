/**
 * Canonical JSON: RFC 8785 (JCS) over a stricter profile. Strings, booleans, null, safe integers, arrays and plain
 * objects; no floats (money is a decimal string), no lone surrogates (RFC 8785 §3.2.2.2), no NUL (PostgreSQL's jsonb
 * refuses it), at most 32 levels. Invariant: `JSON.parse` of the output, encoded again, gives the same bytes.
 */
import { RingfenceAuditError } from './errors.ts';

/** What the profile can hold. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue };

/** Levels of nesting an event may have, itself included. */
export const MAX_DEPTH = 32;

/** Characters JSON escapes, surrogates, and NUL: a string without any of them is its own encoding. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what JSON escapes
const SPECIAL = /["\\\u0000-\u001f\ud800-\udfff]/;

/** With the u flag a surrogate pair is one character, so only a lone one has this property. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The canonical text of a value. Object members that are `undefined` are left out, as in `JSON.stringify`; every other
 * value outside the profile is refused.
 *
 * @throws RingfenceAuditError `audit.not_canonical` with the path of the value, never the value.
 * @example
 * ```ts
 * canonicalize({ b: 1, a: 'x' }); // {"a":"x","b":1}
 * ```
 */
export function canonicalize(value: unknown): string {
  return encode(value, '$', 0);
}

function encode(value: unknown, path: string, depth: number): string {
  switch (typeof value) {
    case 'string':
      return encodeString(value, path);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      if (!Number.isSafeInteger(value)) throw refusal(path, 'a number that is not a safe integer');
      return Object.is(value, -0) ? '0' : String(value);
    case 'object':
      if (value === null) return 'null';
      if (depth >= MAX_DEPTH) throw refusal(path, `nested deeper than ${MAX_DEPTH} levels`);
      return Array.isArray(value)
        ? encodeArray(value, path, depth)
        : encodeObject(value as Readonly<Record<string, unknown>>, path, depth);
    default:
      throw refusal(path, `a ${typeof value}`);
  }
}

function encodeString(value: string, path: string): string {
  if (!SPECIAL.test(value)) return `"${value}"`;
  if (LONE_SURROGATE.test(value)) throw refusal(path, 'a string with a lone surrogate');
  if (value.includes('\u0000')) throw refusal(path, 'a string with a NUL character');
  // ECMAScript's QuoteJSONString is what RFC 8785 §3.2.2.2 prescribes.
  return JSON.stringify(value);
}

function encodeArray(values: readonly unknown[], path: string, depth: number): string {
  let text = '[';
  for (let index = 0; index < values.length; index++) {
    if (index > 0) text += ',';
    text += encode(values[index], `${path}[${index}]`, depth + 1);
  }
  return `${text}]`;
}

function encodeObject(value: Readonly<Record<string, unknown>>, path: string, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refusal(path, 'not a plain object');
  let text = '{';
  // Array.prototype.sort compares UTF-16 code units, the order of RFC 8785 §3.2.3.
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    if (text.length > 1) text += ',';
    text += `${encodeString(key, path)}:${encode(member, `${path}.${key}`, depth + 1)}`;
  }
  return `${text}}`;
}

function refusal(path: string, what: string): RingfenceAuditError {
  const where = path.length > 200 ? `${path.slice(0, 200)}…` : path;
  return new RingfenceAuditError(
    'audit.not_canonical',
    `${where} is ${what}: use strings, booleans, null, safe integers, arrays and plain objects`,
  );
}
