/**
 * The erasure certificate of a data subject, for the audit log: that its key was destroyed, and when.
 * Its digest guards against accidents and quoting errors; who made it is what the audit log proves.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { canonicalJson } from '../operations/canonical-json.ts';
import type { OrgId } from '../org-id.ts';
import type { SubjectTombstone } from './subject-key-store.ts';

/** Proof that the key of a data subject was destroyed. All values are JSON. */
export interface ErasureCertificate {
  /** Format, 1. */
  readonly v: 1;
  /** Organisation. */
  readonly org: OrgId;
  /** Data subject. */
  readonly subject: string;
  /** Id of the destroyed key, 32 hex digits; null when the subject was erased before it had one. */
  readonly keyId: string | null;
  /** Time of the erasure, ISO 8601 in UTC; that of the first call when it is repeated. */
  readonly erasedAt: string;
  /** True when all processes were told to drop the key; else they do when their leases end. */
  readonly notified: boolean;
  /** SHA-256 of the canonical JSON (keys sorted, no white space) of all other members, 64 hex digits. */
  readonly digest: string;
}

/** The certificate of a tombstone. */
export function erasureCertificate(tombstone: SubjectTombstone, notified: boolean): ErasureCertificate {
  const { org, subject, keyId } = tombstone;
  const erasedAt = new Date(tombstone.erasedAt).toISOString();
  const body: Omit<ErasureCertificate, 'digest'> = { v: 1, org, subject, keyId, erasedAt, notified };
  return { ...body, digest: digestOf(body) };
}

/** True when the digest of a certificate is that of its other members. Says nothing about who made it. */
export function isIntactErasureCertificate(certificate: ErasureCertificate): boolean {
  const { digest, ...body } = certificate;
  const expected = Buffer.from(digestOf(body));
  const given = Buffer.from(String(digest));
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function digestOf(body: Omit<ErasureCertificate, 'digest'>): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex');
}
