/**
 * The job envelope, version 1 (docs/formats/job-envelope-v1.md): what a job is, for whom and on whose behalf, as text that
 * travels beside the payload, under HMAC-SHA-256 (RFC 2104).
 *
 * Invariant: one envelope has one spelling, and no field can contain the delimiter; whatever is not that spelling is
 * refused before a key is looked up, and nothing a job claims is believed before its mac has been verified.
 */
import { createHmac, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';

/** What an envelope says of its job. */
export interface JobClaims {
  /** Id of the key that signed. */
  readonly keyId: string;
  /** Organisation the job belongs to. */
  readonly org: OrgId;
  /** Queue the job was sealed for. */
  readonly queue: string;
  /** Id of the job, which the queue uses too. */
  readonly jobId: string;
  /** Time of sealing, ms since epoch. */
  readonly issuedAtMs: number;
  /** First moment at which the job is refused, ms since epoch. */
  readonly expiresAtMs: number;
  /** Capacity in which the actor acts. */
  readonly kind: string;
  /** Who enqueued. */
  readonly actor: string;
  /** Request in which the job was enqueued; may be empty. */
  readonly requestId: string;
}

/** Largest payload, bytes of UTF-8. */
export const MAX_PAYLOAD_BYTES = 262_144;
/** Longest envelope of this grammar, characters. */
const MAX_ENVELOPE = 800;
const PREFIX = 'rfjob';
const VERSION = '1';
/** Separates this use of a key from every other. */
const DOMAIN = 'ringfence/job-envelope/v1';

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const TIME = '[1-9][0-9]{0,14}';
/** The fields in their order, each with its grammar. None admits the delimiter. */
const FIELDS: readonly (readonly [name: string, grammar: string])[] = [
  ['key id', '[a-z0-9_]{1,32}'],
  ['org', UUID],
  ['queue', '[A-Za-z0-9._:/-]{1,128}'],
  ['job id', UUID],
  ['issued', TIME],
  ['expires', TIME],
  ['kind', '[a-z][a-z0-9_]{0,31}'],
  ['actor', '[A-Za-z0-9._:@/+=-]{1,200}'],
  ['request id', '[A-Za-z0-9._:@/+=-]{0,200}'],
];
const BODY = FIELDS.map(([, grammar]) => `(${grammar})`).join('\\|');
/** Without groups: a test that captures nothing is twice as fast. */
const UNSIGNED = new RegExp(`^${FIELDS.map(([, grammar]) => grammar).join('\\|')}$`);
const ENVELOPE = new RegExp(`^${PREFIX}${VERSION}\\|${BODY}\\|([0-9a-f]{64})$`);

/**
 * Writes the envelope of a payload.
 *
 * @throws RingfenceTenancyError `tenancy.job_invalid_field` when a field has a character or length the grammar refuses.
 */
export function writeEnvelope(claims: JobClaims, payload: string, key: KeyObject): string {
  const fields = [
    claims.keyId,
    claims.org,
    claims.queue,
    claims.jobId,
    String(claims.issuedAtMs),
    String(claims.expiresAtMs),
    claims.kind,
    claims.actor,
    claims.requestId,
  ];
  const body = fields.join('|');
  if (!UNSIGNED.test(body)) {
    const invalid = FIELDS.find(
      ([, grammar], index) => !new RegExp(`^${grammar}$`).test(fields[index] ?? ''),
    );
    throw refused(
      'tenancy.job_invalid_field',
      `${invalid?.[0]} of the job has a character or length the envelope refuses`,
    );
  }
  return `${PREFIX}${VERSION}|${body}|${mac(fields, payload, key)}`;
}

/**
 * Reads an envelope and verifies it together with its payload. Times, queue and job id are the caller's to compare.
 *
 * @throws RingfenceTenancyError `tenancy.job_payload_too_large`, `tenancy.job_malformed`,
 *   `tenancy.job_unsupported_version`, `tenancy.job_unknown_key` or `tenancy.job_altered`.
 */
export function readEnvelope(
  envelope: string,
  payload: string,
  keyOf: (keyId: string) => KeyObject | undefined,
): JobClaims {
  if (isTooLarge(payload)) throw refused('tenancy.job_payload_too_large', TOO_LARGE);
  // Encoding turns a lone surrogate into U+FFFD: two texts would share a digest.
  if (!isWellFormed(payload)) throw refused('tenancy.job_malformed', MALFORMED);
  if (envelope.length > MAX_ENVELOPE) throw refused('tenancy.job_malformed', MALFORMED);
  const match = ENVELOPE.exec(envelope);
  if (match === null) {
    if (/^rfjob[0-9]+\|/.test(envelope) && !envelope.startsWith(`${PREFIX}${VERSION}|`))
      throw refused(
        'tenancy.job_unsupported_version',
        'the envelope has a version this package does not know',
      );
    throw refused('tenancy.job_malformed', MALFORMED);
  }
  const fields = match.slice(1, -1);
  const claimed = match[FIELDS.length + 1] ?? '';
  const [keyId, org, queue, jobId, issued, expires, kind, actor, requestId] = fields as FieldTexts;
  const key = keyOf(keyId);
  if (key === undefined)
    throw refused(
      'tenancy.job_unknown_key',
      `the envelope is signed by a key "${keyId}" that is not held here`,
    );
  if (!timingSafeEqual(Buffer.from(mac(fields, payload, key)), Buffer.from(claimed)))
    throw refused('tenancy.job_altered', 'the envelope or the payload is not what was sealed');
  return {
    keyId,
    org: parseOrgId(org),
    queue,
    jobId,
    issuedAtMs: Number(issued),
    expiresAtMs: Number(expires),
    kind,
    actor,
    requestId,
  };
}

type FieldTexts = [string, string, string, string, string, string, string, string, string];

const MALFORMED = 'the job is not of the form of job-envelope-v1';
const TOO_LARGE = `the payload is larger than ${MAX_PAYLOAD_BYTES} bytes`;

/**
 * Refuses a payload nobody would open.
 *
 * @throws RingfenceTenancyError `tenancy.job_payload_too_large`.
 */
export function refuseTooLarge(payload: string): void {
  if (isTooLarge(payload)) throw refused('tenancy.job_payload_too_large', TOO_LARGE);
}

/** A text has at least as many bytes of UTF-8 as UTF-16 code units: the first comparison spares the count. */
function isTooLarge(payload: string): boolean {
  return payload.length > MAX_PAYLOAD_BYTES || Buffer.byteLength(payload, 'utf8') > MAX_PAYLOAD_BYTES;
}

function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}

function refused(code: TenancyErrorCode, message: string): RingfenceTenancyError {
  return new RingfenceTenancyError(code, message);
}

/**
 * `lp(domain) || lp(field)… || lp(SHA-256(payload))`, with `lp(x)` the length of x as two bytes and x. A byte is a
 * character here: all parts are Latin-1, and one string is cheaper to make than one buffer of eleven parts.
 */
export function macInput(fields: readonly string[], payload: string): string {
  let input = PREFIXED_DOMAIN;
  for (const field of fields) input += prefixed(field);
  return input + prefixed(hash('sha256', payload, 'binary'));
}

function prefixed(part: string): string {
  return String.fromCharCode(part.length >> 8, part.length & 0xff) + part;
}

const PREFIXED_DOMAIN = prefixed(DOMAIN);

/** 64 lower-case hex digits. */
function mac(fields: readonly string[], payload: string, key: KeyObject): string {
  return createHmac('sha256', key).update(macInput(fields, payload), 'latin1').digest('hex');
}
