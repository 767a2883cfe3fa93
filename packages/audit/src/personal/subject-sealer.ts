/** The port to the keys of data subjects; `@ringfence/crypto/subjects` has what fills it (docs/audit-erasure.md). */
import type { OrgId } from '../org-id.ts';

/** Where a value stands: what is sealed for one place does not open at another. */
export interface PersonalCell {
  /** `audit.personal`. */
  readonly table: string;
  /** Name of the field. */
  readonly column: string;
  /** Id of the event. */
  readonly row: string;
}

/** What the destruction of a key leaves behind. */
export interface KeyDestruction {
  /** Digest of a certificate, 64 lower-case hex digits; it enters the erasure's event. */
  readonly digest: string;
}

/** Seals under one key per data subject, and destroys that key. */
export interface SubjectSealer {
  /** Seals bytes with the subject's key, bound to organisation, subject and cell. Must throw once the subject was erased. */
  seal(org: OrgId, subject: string, plaintext: Uint8Array, cell: PersonalCell): Promise<Uint8Array>;
  /** Opens what `seal` made, at the same place only. Must throw once the subject was erased. */
  open(org: OrgId, subject: string, ciphertext: Uint8Array, cell: PersonalCell): Promise<Uint8Array>;
  /** Destroys the subject's key for ever. Must be idempotent: an erasure that was interrupted calls it again. */
  erase(org: OrgId, subject: string): Promise<KeyDestruction>;
}
