/**
 * The commitment to one personal field, and the check of its disclosure (docs/formats/audit-personal-v1.md §2 and §4):
 *
 *     commitment = SHA-256(0x03 || salt (32 bytes) || be32(n) || name (n bytes) || be32(m) || value (m bytes))
 *
 * 0x03 keeps it apart from leaves, nodes and links; the lengths keep a name from running into its value. Browser-safe.
 * Invariant: the check never throws because of what it is given.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { type CanonicalValue, canonicalize } from '../canonical-json.ts';
import { fromHex, type Sha256 } from './link.ts';

/** Bytes of a salt. */
export const SALT_BYTES = 32;
const DIGEST = /^[0-9a-f]{64}$/;

/** One personal field of one event, opened: JSON that can be handed to an auditor. */
export interface Disclosure {
  /** Id of the event. */
  readonly event: string;
  /** Name of the field: `reason`, `note`, `data.<member>` or `changes.<field>`. */
  readonly name: string;
  /** Its value; of `changes.<field>` the object with `from` and `to`. */
  readonly value: CanonicalValue;
  /** The salt, 64 lower-case hex digits. */
  readonly salt: string;
}

/** The commitment to a field: 32 bytes over its name and the canonical text of its value. */
export function commitmentOf(sha256: Sha256, salt: Uint8Array, name: string, value: string): Uint8Array {
  const utf8 = new TextEncoder();
  const [nameBytes, valueBytes] = [utf8.encode(name), utf8.encode(value)];
  const input = new Uint8Array(1 + SALT_BYTES + 4 + nameBytes.length + 4 + valueBytes.length);
  const view = new DataView(input.buffer);
  input[0] = 0x03;
  input.set(salt, 1);
  let at = 1 + SALT_BYTES;
  for (const part of [nameBytes, valueBytes]) {
    view.setUint32(at, part.length);
    input.set(part, at + 4);
    at += 4 + part.length;
  }
  return sha256(input);
}

/**
 * Whether a disclosure is what a record committed to. Take the record from a chain or proof that was verified: this says
 * nothing about the record itself.
 *
 * @example
 * ```ts
 * const report = await verifyChain(rows, { expectedHead });
 * if (report.ok && verifyDisclosure(record, disclosure)) console.log(disclosure.value);
 * ```
 */
export function verifyDisclosure(
  record: string,
  disclosure: Disclosure,
  sha256: Sha256 = nobleSha256,
): boolean {
  try {
    const { event, name, value, salt } = disclosure;
    if (typeof name !== 'string' || typeof salt !== 'string' || !DIGEST.test(salt)) return false;
    const { id, event: body } = JSON.parse(record) as { id?: unknown; event?: { personal?: unknown } };
    if (typeof event !== 'string' || id !== event) return false;
    const expected = committedFields(body?.personal)?.get(name);
    if (expected === undefined) return false;
    const commitment = commitmentOf(sha256, fromHex(salt), name, canonicalize(value));
    return hexOf(commitment) === expected;
  } catch {
    return false; // a record or value that cannot be read discloses nothing
  }
}

/** The commitments in the member `personal` of an event by field name; undefined when it is not of the format. */
export function committedFields(personal: unknown): ReadonlyMap<string, string> | undefined {
  if (typeof personal !== 'object' || personal === null) return undefined;
  const { fields } = personal as { readonly fields?: unknown };
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return undefined;
  const entries = Object.entries(fields);
  const wellFormed = (entry: [string, unknown]): entry is [string, string] =>
    typeof entry[1] === 'string' && DIGEST.test(entry[1]);
  return entries.every(wellFormed) ? new Map(entries as [string, string][]) : undefined;
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
