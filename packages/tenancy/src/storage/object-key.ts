/**
 * The one way to make an object key: `org/<uuid>/<segment>/…`. Object stores take keys as opaque bytes, but clients,
 * proxies and policies do not: they fold `..`, decode `%`, read `*`. So the grammar of a segment leaves out everything
 * that some layer could read in another way.
 * Invariant: the prefix of an organisation ends with `/`, so that no prefix is the beginning of another one's.
 */
import { RingfenceTenancyError } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';

/** Limit of S3 for a whole key, bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024;
/** Longest segment, bytes of UTF-8: fits a file name of 255 bytes with the two the directory store adds. */
export const MAX_SEGMENT_BYTES = 250;

/**
 * `/` and `\` separate, `%` encodes, `*`, `?` and `$` mean something in policies, categories C and Z (control, format,
 * surrogate, unassigned, separators) are invisible or do not survive; the plain space alone is kept.
 */
const FORBIDDEN = /[/\\%*?$]|[^\P{Z} ]|\p{C}/u;
const ORG_KEY = /^org\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/(.+)$/s;

/** An object key, taken apart. */
export interface ParsedOrgKey {
  /** Organisation the key belongs to. */
  readonly org: OrgId;
  /** What follows the organisation's prefix. */
  readonly segments: readonly string[];
}

/**
 * The prefix of all keys of an organisation, with its closing `/`.
 *
 * @throws TypeError when `org` is not an organisation id.
 */
export function orgPrefix(org: OrgId): string {
  return `org/${parseOrgId(org)}/`;
}

/**
 * Makes the object key of an organisation from segments. Segments are never split, so a file name from a user cannot add
 * a level.
 *
 * @throws RingfenceTenancyError `tenancy.storage_invalid_key`.
 * @throws TypeError when `org` is not an organisation id.
 * @example
 * ```ts
 * orgKey(org, 'invoices', invoiceId); // org/0190f5d2-…/invoices/0190f5d3-…
 * ```
 */
export function orgKey(org: OrgId, ...segments: readonly string[]): string {
  if (segments.length === 0) throw invalidKey('it has no segment');
  for (const segment of segments) checkSegment(segment);
  const key = orgPrefix(org) + segments.join('/');
  if (byteLength(key) > MAX_KEY_BYTES) throw invalidKey(`it is longer than ${MAX_KEY_BYTES} bytes`);
  return key;
}

/**
 * Takes an object key apart; only what `orgKey` can make is accepted.
 *
 * @throws RingfenceTenancyError `tenancy.storage_invalid_key`.
 */
export function parseOrgKey(key: string): ParsedOrgKey {
  const [, org, rest] = (typeof key === 'string' ? ORG_KEY.exec(key) : null) ?? [];
  if (org === undefined || rest === undefined) throw invalidKey('it does not begin with org/<uuid>/');
  const segments = rest.split('/');
  orgKey(org as OrgId, ...segments);
  return { org: org as OrgId, segments };
}

function checkSegment(segment: unknown): void {
  if (typeof segment !== 'string') throw new TypeError('a segment of an object key must be a string');
  if (segment === '') throw invalidKey('a segment is empty');
  if (segment === '.' || segment === '..') throw invalidKey('a segment is "." or ".."');
  if (FORBIDDEN.test(segment)) throw invalidKey('a segment holds a character that is not allowed');
  if (segment !== segment.normalize('NFC')) throw invalidKey('a segment is not in Unicode form NFC');
  if (segment.startsWith(' ') || segment.endsWith(' '))
    throw invalidKey('a segment begins or ends with a space');
  if (byteLength(segment) > MAX_SEGMENT_BYTES) {
    throw invalidKey(`a segment is longer than ${MAX_SEGMENT_BYTES} bytes`);
  }
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Segments are file names of users more often than not: the message says the rule, not the key. */
function invalidKey(reason: string): RingfenceTenancyError {
  return new RingfenceTenancyError('tenancy.storage_invalid_key', `not an object key: ${reason}`);
}
