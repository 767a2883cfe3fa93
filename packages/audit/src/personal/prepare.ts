/**
 * Prepares an event with personal parts: each is replaced by a salted commitment, and its value sealed under the key of
 * the data subject. Invariant: no parameter of the statement holds a marked value in clear.
 */
import { hash } from 'node:crypto';
import { CompiledQuery } from 'kysely';
import { toHex } from '../append-result.ts';
import type { Receipt } from '../audit.ts';
import { type CanonicalValue, canonicalize } from '../canonical-json.ts';
import { RingfenceAuditError } from '../errors.ts';
import { encodeBody, readEvent } from '../event-body.ts';
import type { EventCatalogue } from '../event-catalogue.ts';
import { newEventId, type RandomBytes } from '../event-id.ts';
import type { OrgId } from '../org-id.ts';
import { splitPersonal } from '../personal-fields.ts';
import { commitmentOf, SALT_BYTES } from '../verify/disclosure.ts';
import { encodeValue } from './sealed-value.ts';
import type { PersonalCell, SubjectSealer } from './subject-sealer.ts';

const APPEND = 'select org, seq, hash from audit.append($1::uuid, $2::text, $3::boolean)';
const APPEND_WITH_PERSONAL = `select org, seq, hash from audit.append_with_personal(
  $1::uuid, $2::uuid, $3::text, $4::boolean, $5::text[], $6::bytea[])`;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** What preparing needs. */
export interface Preparation {
  readonly events: EventCatalogue;
  readonly subjects: SubjectSealer;
  readonly now: () => number;
  readonly random: RandomBytes;
  readonly sealInTransaction: boolean;
}

/** The place of one field, as the port takes it. */
export function cellOf(event: string, field: string): PersonalCell {
  return { table: 'audit.personal', column: field, row: event };
}

/** SHA-256 of the platform. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

/** Makes the receipt of an event. */
export async function prepareWithPersonal(
  { events, subjects, now, random, sealInTransaction }: Preparation,
  org: OrgId,
  type: string,
  input: object,
): Promise<Receipt> {
  const { subject, ...event } = input as { readonly subject?: unknown };
  const { members, marks } = readEvent(events, type, event);
  if (marks.length === 0) throw new TypeError(`event ${type} has no personal parts: use audit.prepare`);
  if (!isSubject(subject)) {
    throw new RingfenceAuditError(
      'audit.invalid_event',
      `event ${JSON.stringify(type)}: subject: expected the opaque id of a person, 1 to 200 characters`,
    );
  }
  const { open, personal } = splitPersonal(members, marks);
  const id = newEventId(now(), random);
  if (personal.size === 0) {
    const query = CompiledQuery.raw(APPEND, [id, encodeBody(type, open), sealInTransaction]);
    return { id, type, query };
  }
  const commitments: [string, string][] = [];
  const plaintexts: [string, Uint8Array][] = [];
  for (const [field, value] of personal) {
    const text = valueText(type, field, value);
    const salt = random(SALT_BYTES);
    plaintexts.push([field, encodeValue(field, { salt, value: text })]);
    commitments.push([field, toHex(commitmentOf(sha256, salt, field, text))]);
  }
  const body = encodeBody(type, { ...open, personal: { fields: Object.fromEntries(commitments), subject } });
  const ciphertexts = await Promise.all(
    plaintexts.map(async ([field, plaintext]) => {
      try {
        return await subjects.seal(org, subject, plaintext, cellOf(id, field));
      } finally {
        plaintext.fill(0);
      }
    }),
  );
  const fields = plaintexts.map(([field]) => field);
  const parameters = [org, id, body, sealInTransaction, fields, ciphertexts.map((one) => Buffer.from(one))];
  return { id, type, query: CompiledQuery.raw(APPEND_WITH_PERSONAL, parameters) };
}

/** Whether a value can be the id of a data subject. */
export function isSubject(subject: unknown): subject is string {
  return (
    typeof subject === 'string' &&
    subject.length >= 1 &&
    subject.length <= 200 &&
    !subject.includes('\u0000') &&
    !LONE_SURROGATE.test(subject)
  );
}

/** Encoded as deep as it stood in the event, so that the limit of levels is the same. */
function valueText(type: string, field: string, value: CanonicalValue): string {
  try {
    return canonicalize(value);
  } catch (error) {
    if (!(error instanceof RingfenceAuditError)) throw error;
    throw new RingfenceAuditError(
      error.code,
      `event ${type}, personal part ${JSON.stringify(field)}: ${error.message}`,
    );
  }
}
