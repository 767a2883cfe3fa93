/**
 * Opens one personal field and holds it against the commitment in the chain.
 * Invariant: what is returned is what the event committed to; everything else is an error.
 */
import { CompiledQuery } from 'kysely';
import { toHex } from '../append-result.ts';
import type { CanonicalValue } from '../canonical-json.ts';
import { fromDatabaseError, RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import { commitmentOf, committedFields, type Disclosure } from '../verify/disclosure.ts';
import { isUuid } from '../verify/row.ts';
import { cellOf, sha256 } from './prepare.ts';
import { decodeValue } from './sealed-value.ts';
import type { SubjectSealer } from './subject-sealer.ts';

/** The event, its value when there is one, and whether its subject is erased; a log of another organisation is refused. */
const FIND = `
select e.canon, p.ciphertext, p.subject, s.erasing_at is not null as erased
  from audit.assert_reads($1::uuid) checked
  left join audit.event e on e.org_id = $1::uuid and e.id = $2::uuid
  left join audit.personal p on p.org_id = e.org_id and p.event_id = e.id and p.field = $3::text
  left join audit.subject s on s.org_id = e.org_id and s.subject = e.canon::jsonb #>> '{event,personal,subject}'`;

interface FoundRow {
  readonly canon: string | null;
  readonly ciphertext: Uint8Array | null;
  readonly subject: string | null;
  readonly erased: boolean;
}

/** Opens a field. */
export async function revealField(
  subjects: SubjectSealer,
  executor: QueryExecutor,
  org: OrgId,
  event: string,
  name: string,
): Promise<Disclosure> {
  if (!isUuid(event)) throw unknownField('the id of the event is no UUID');
  const query = CompiledQuery.raw(FIND, [org, event, name]) as CompiledQuery<FoundRow>;
  const { rows } = await executor.executeQuery(query).catch((error: unknown) => {
    throw fromDatabaseError(error);
  });
  const [row] = rows;
  const personal = personalOf(row?.canon ?? null);
  const commitment = committedFields(personal)?.get(name);
  if (row === undefined || commitment === undefined) {
    throw unknownField(
      `event ${event} is not in the log of this organisation, or has no personal field ${JSON.stringify(name)}`,
    );
  }
  if (row.erased) {
    throw new RingfenceAuditError('audit.subject_erased', `the data subject of event ${event} was erased`);
  }
  const subject = (personal as { readonly subject?: unknown }).subject;
  if (row.ciphertext === null || typeof subject !== 'string' || subject !== row.subject) {
    throw tampered(event, name, 'the value is missing, or another subject stands at it, without an erasure');
  }
  const plaintext = await subjects.open(org, subject, row.ciphertext, cellOf(event, name));
  const decoded = decodeValue(plaintext);
  plaintext.fill(0);
  if (
    decoded === undefined ||
    toHex(commitmentOf(sha256, decoded.salt, name, decoded.value)) !== commitment
  ) {
    throw tampered(event, name, 'the value is not the one that the event committed to');
  }
  return { event, name, value: JSON.parse(decoded.value) as CanonicalValue, salt: toHex(decoded.salt) };
}

function personalOf(canon: string | null): unknown {
  if (canon === null) return undefined;
  try {
    return (JSON.parse(canon) as { event?: { personal?: unknown } }).event?.personal;
  } catch {
    return undefined;
  }
}

function unknownField(message: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.no_personal_field', message);
}

function tampered(event: string, name: string, what: string): RingfenceAuditError {
  return new RingfenceAuditError(
    'audit.personal_tampered',
    `personal field ${JSON.stringify(name)} of event ${event}: ${what}`,
  );
}
