/**
 * A time stamp (RFC 3161) over a checkpoint's note: an authority outside says that the note existed at a time. The request
 * is made here, the response checked to be for this request. The authority's signature is verified by who relies on it,
 * with the certificates they trust (`openssl ts -verify`).
 */
import { RingfenceAuditError } from '../errors.ts';
import { platformRandom, type RandomBytes } from '../event-id.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { sameBytes } from '../verify/link.ts';
import { derChildren, derElement } from './der.ts';

/** Answers a DER `TimeStampReq` with a DER `TimeStampResp`. Rejects when there is no answer. */
export type TimestampAuthority = (request: Uint8Array) => Promise<Uint8Array>;

/** A time stamp. */
export interface Timestamp {
  /** The time that the authority gave, ms since epoch. */
  readonly timeMs: number;
  /** What was asked, DER. */
  readonly request: Uint8Array;
  /** What was answered, DER: keep it beside the note. */
  readonly response: Uint8Array;
}

const [SEQUENCE, INTEGER, OCTET_STRING, GENERALIZED_TIME, EXPLICIT_0] = [0x30, 0x02, 0x04, 0x18, 0xa0];
/** AlgorithmIdentifier of SHA-256, and the head of the OCTET STRING behind it. */
const SHA256_IMPRINT = Uint8Array.from(Buffer.from('300d060960864801650304020105000420', 'hex'));
const SIGNED_DATA = Buffer.from('2a864886f70d010702', 'hex');
const TST_INFO = Buffer.from('2a864886f70d0109100104', 'hex');

/**
 * Has a note stamped.
 *
 * @throws RingfenceAuditError `audit.timestamp_refused` when the authority does not answer, refuses, or answers for something
 * else.
 */
export async function timestampNote(
  note: string,
  authority: TimestampAuthority,
  random: RandomBytes = platformRandom,
): Promise<Timestamp> {
  const imprint = Uint8Array.of(...SHA256_IMPRINT, ...nodeSha256(new TextEncoder().encode(note)));
  const nonce = Uint8Array.from(random(8));
  // Positive, and without a superfluous octet: so it is its own and only encoding.
  nonce[0] = 0x40 | ((nonce[0] ?? 0) & 0x3f);
  const request = Uint8Array.of(
    ...[SEQUENCE, 67, INTEGER, 1, 1, SEQUENCE, imprint.length],
    ...imprint,
    ...[INTEGER, 8],
    ...nonce,
    ...[0x01, 1, 0xff], // with the certificate, so that the response can be verified alone
  );
  const response = await authority(request).catch((cause: unknown) => {
    throw refused('did not answer', true, cause);
  });
  return { timeMs: timeIn(response, imprint, nonce), request, response: Uint8Array.from(response) };
}

/** The time in a response, if it is one for this imprint and this nonce. */
function timeIn(response: Uint8Array, imprint: Uint8Array, nonce: Uint8Array): number {
  const [status, token] = childrenOf(derElement(response), SEQUENCE);
  const [code] = childrenOf(status, SEQUENCE);
  if (code?.tag !== INTEGER || code.contents.length !== 1)
    throw refused('answered with something else', false);
  const granted = code.contents[0] === 0 || code.contents[0] === 1;
  if (!granted) throw refused(`refused with status ${code.contents[0]}`, false);
  const [type, content] = childrenOf(token, SEQUENCE);
  const [signedData] = childrenOf(content, EXPLICIT_0);
  const [, , encapsulated] = childrenOf(signedData, SEQUENCE);
  const [infoType, infoContent] = childrenOf(encapsulated, SEQUENCE);
  const [octets] = childrenOf(infoContent, EXPLICIT_0);
  const wrapped =
    type !== undefined &&
    infoType !== undefined &&
    sameBytes(type.contents, SIGNED_DATA) &&
    sameBytes(infoType.contents, TST_INFO);
  if (!wrapped || octets?.tag !== OCTET_STRING) throw refused('answered without a token', false);
  const [, , stamped, , time, ...rest] = childrenOf(derElement(octets.contents), SEQUENCE);
  if (stamped?.tag !== SEQUENCE || !sameBytes(stamped.contents, imprint)) {
    throw refused('stamped something else', false);
  }
  if (!rest.some(({ tag, contents }) => tag === INTEGER && sameBytes(contents, nonce))) {
    throw refused('answered another request', false);
  }
  const timeMs =
    time?.tag === GENERALIZED_TIME ? parseTime(Buffer.from(time.contents).toString('latin1')) : undefined;
  if (timeMs === undefined) throw refused('gave no time', false);
  return timeMs;
}

/** GeneralizedTime as RFC 3161 §2.4.2 has it: UTC, seconds, and a fraction without zeros at its end. */
function parseTime(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d*[1-9])?Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = ''] = match;
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${fraction.slice(0, 4)}Z`);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

function childrenOf(element: ReturnType<typeof derElement>, tag: number) {
  return element?.tag === tag ? (derChildren(element.contents) ?? []) : [];
}

function refused(what: string, retryable: boolean, cause?: unknown): RingfenceAuditError {
  return new RingfenceAuditError('audit.timestamp_refused', `the time-stamp authority ${what}`, {
    retryable,
    cause,
  });
}

/** Settings of `httpTimestampAuthority`. */
export interface HttpTimestampAuthorityOptions {
  /** Address of the authority. */
  readonly url: string;
  /** How long to wait for an answer, ms. Default 10 000. */
  readonly timeoutMs?: number;
}

const MOST_RESPONSE_BYTES = 256 * 1024;

/** An authority that is reached over HTTP (RFC 3161 §3.4). Redirects are not followed. */
export function httpTimestampAuthority({
  url,
  timeoutMs = 10_000,
}: HttpTimestampAuthorityOptions): TimestampAuthority {
  const target = new URL(url);
  return async (request) => {
    const response = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/timestamp-query' },
      body: Uint8Array.from(request),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > MOST_RESPONSE_BYTES) throw new Error('the answer is too long');
      chunks.push(chunk);
    }
    return Uint8Array.from(Buffer.concat(chunks));
  };
}
