/**
 * Canonical JSON (object keys in code-unit order, no white space, as RFC 8785 for the values that occur here: strings,
 * safe integers, booleans, null) and its SHA-256 (FIPS 180-4). Equal data has equal text, whatever order it was built in.
 */
import { hash } from 'node:crypto';

/** Data that has a canonical text. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue | undefined };

/** What JSON writes as it is: printable ASCII without quotation mark and reverse solidus. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** Canonical JSON text; properties that are undefined are left out. */
export function canonicalJson(value: CanonicalValue): string {
  if (typeof value === 'string') return isPlainText(value) ? `"${value}"` : JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  let text = '';
  if (isList(value)) {
    for (const member of value) text += text === '' ? canonicalJson(member) : `,${canonicalJson(member)}`;
    return `[${text}]`;
  }
  for (const key of sortedKeys(value)) {
    const member = value[key];
    if (member === undefined) continue;
    text += `${text === '' ? '' : ','}${canonicalJson(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** True for a text that stands in JSON as it is. */
export function isPlainText(text: string): boolean {
  return PLAIN.test(text);
}

/** SHA-256 of the UTF-8 text, 64 lower-case hex digits. */
export function sha256Hex(text: string): string {
  return hash('sha256', text, 'hex');
}

/** The keys in code-unit order. Most objects that are hashed were built in order: to look is cheaper than to sort. */
export function sortedKeys(value: object): readonly string[] {
  const keys = Object.keys(value);
  for (let k = 1; k < keys.length; k += 1) {
    if ((keys[k - 1] as string) > (keys[k] as string)) return keys.sort();
  }
  return keys;
}

/** Freezes plain data all the way down and gives it back. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  } else if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}

function isList(value: object): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
