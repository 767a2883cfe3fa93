/**
 * Wraps the key of a data subject under an organisation's data-key version: a field message (docs/formats/field-v1.md)
 * of 32 bytes under the purpose key `subject`, so that it is bound to organisation, data-key version, subject and subject
 * key id like any cell, and needs no KMS call (docs/formats/subject-key-v1.md).
 * Invariant: a wrap opens only in the place it was made for; every other outcome is `crypto.wrap_tampered`.
 */
import { hkdfSync } from 'node:crypto';
import { RingfenceCryptoError } from '../errors.ts';
import type { ColumnContext } from '../field-context.ts';
import { checkFieldHeader, FIELD_OVERHEAD_BYTES } from '../field-format.ts';
import { keyIdBytes } from '../key-id.ts';
import type { Lease } from '../lease.ts';
import { encodePart, lengthPrefixed } from '../length-prefix.ts';
import type { OrgId } from '../org-id.ts';
import type { SealingParts } from '../org-keys.ts';
import type { SubjectKeyRecord } from './subject-key-store.ts';

/** Bytes of a subject key. */
export const SUBJECT_KEY_BYTES = 32;
const WRAPPED_SUBJECT_KEY_BYTES = FIELD_OVERHEAD_BYTES + SUBJECT_KEY_BYTES;

const WRAP_TABLE = 'ringfence.subject_key';
const WRAP_PURPOSE = 'subject-key';
const encoder = new TextEncoder();

/** Wraps a subject key under the active version of a lease; the caller wipes `key`. */
export function wrapSubjectKey(
  lease: Lease,
  parts: SealingParts,
  subject: string,
  keyId: string,
  key: Uint8Array,
): Uint8Array {
  lease.use(key.length);
  const wrapped = lease.active.withSubjectWrapping((wrapping) =>
    wrapping.seal(wrapContext(subject), keyId, key, parts.salts, parts.slab),
  );
  const tally = lease.keyUse?.of('subject-wrap', WRAP_PURPOSE, '');
  if (tally !== undefined) {
    tally.sealed += 1;
    tally.sealedBytes += key.length;
  }
  return Uint8Array.from(wrapped);
}

/**
 * Unwraps a stored subject key; the caller wipes the result.
 *
 * @throws RingfenceCryptoError `crypto.wrap_tampered`; `crypto.unknown_key_version` when the lease does not hold the
 * version it is wrapped under.
 */
export function unwrapSubjectKey(lease: Lease, record: SubjectKeyRecord): Uint8Array {
  const { subject, keyId, wrapped } = record;
  lease.use(SUBJECT_KEY_BYTES);
  const version = lease.versionById(record.dekKeyId);
  const tally = lease.keyUse?.of('subject-wrap', WRAP_PURPOSE, '');
  if (tally !== undefined) tally.tried += 1;
  try {
    checkFieldHeader(wrapped);
    if (wrapped.length !== WRAPPED_SUBJECT_KEY_BYTES || !version.isNamedBy(wrapped)) throw tampered(record);
    const key = version.withSubjectWrapping((wrapping) =>
      wrapping.open(wrapContext(subject), keyId, wrapped),
    );
    if (tally !== undefined) {
      tally.opened += 1;
      tally.openedBytes += key.length;
    }
    return key;
  } catch (error) {
    throw error instanceof RingfenceCryptoError ? tampered(record) : error;
  }
}

/** Derives a 32-byte key for one purpose from a subject key (HKDF-SHA-512, RFC 5869). The caller wipes it. */
export function deriveSubjectPurposeKey(
  key: Uint8Array,
  org: OrgId,
  subject: string,
  keyId: string,
  purpose: 'field' | 'file',
): Uint8Array {
  if (key.length !== SUBJECT_KEY_BYTES) throw new TypeError(`a subject key has ${SUBJECT_KEY_BYTES} bytes`);
  const info = lengthPrefixed(
    encoder.encode('ringfence/subject-purpose-key/v1'),
    encoder.encode(purpose),
    encodePart('org', org),
    encodePart('subject', subject),
  );
  return new Uint8Array(hkdfSync('sha512', key, keyIdBytes(keyId), info, 32));
}

/** The cell of a wrap: the subject stands where a column stands, its key id where a row stands. */
function wrapContext(subject: string): ColumnContext {
  const before = lengthPrefixed(encodePart('table', WRAP_TABLE), encodePart('subject', subject));
  const purpose = lengthPrefixed(encodePart('purpose', WRAP_PURPOSE));
  const after = Uint8Array.of(...purpose, 0x01);
  return { table: WRAP_TABLE, column: subject, purpose: WRAP_PURPOSE, before, after };
}

function tampered({ org, keyId }: SubjectKeyRecord): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.wrap_tampered',
    'the wrapped subject key does not belong to this organisation, subject and data-key version: the store was changed',
    { org, keyId },
  );
}
