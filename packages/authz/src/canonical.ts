/**
 * Canonical JSON (object keys in code-unit order, no white space, as RFC 8785 for the values that occur here: strings,
 * safe integers, booleans, null) and its SHA-256 (FIPS 180-4). Equal data has equal text, whatever order it was built in.
 */
import { createHash } from 'node:crypto';

/** Data that has a canonical text. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue | undefined };

/** Canonical JSON text; properties that are undefined are left out. */
export function canonicalJson(value: CanonicalValue): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

/** SHA-256 of the UTF-8 text, 64 lower-case hex digits. */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
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
