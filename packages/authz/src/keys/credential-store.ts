/** What is stored of an integration credential, the port to where it is stored, and what is reported of its use. */
import type { OrgId } from '../org-id.ts';

/** What is stored of a credential; never its plaintext. */
export interface CredentialRecord {
  /** Its id. */
  readonly id: string;
  /** Its organisation. */
  readonly org: OrgId;
  /** The other system. */
  readonly provider: string;
  /** The sealed secret; absent once it was revoked. */
  readonly sealed?: Uint8Array;
  /** Counts secrets, from 1. */
  readonly version: number;
  /** What the other system lets it do. */
  readonly scopes: readonly string[];
  /** Age at which it is due for rotation, in ms. */
  readonly rotateAfterMs: number;
  /** When the secret was last replaced, epoch ms. */
  readonly rotatedAt: number;
  /** When it was ended, epoch ms. */
  readonly revokedAt?: number;
}

/** The replacement of a secret. */
export interface CredentialReplacement {
  /** The organisation. */
  readonly org: OrgId;
  /** The credential. */
  readonly id: string;
  /** The version that is replaced, by the next. */
  readonly from: number;
  /** The new sealed secret. */
  readonly sealed: Uint8Array;
  /** Epoch ms. */
  readonly rotatedAt: number;
}

/** Where credentials are stored. */
export interface CredentialStore {
  /** Stores a new one. */
  insert(record: CredentialRecord): Promise<void>;
  /** The credential of the organisation; undefined when there is none. */
  find(org: OrgId, id: string): Promise<CredentialRecord | undefined>;
  /** Replaces the secret in one step; false unless it is alive and of version `from`. */
  replace(replacement: CredentialReplacement): Promise<boolean>;
  /** Ends it and deletes the sealed secret. */
  revoke(org: OrgId, id: string, at: number): Promise<void>;
  /** Every credential of an organisation. */
  list(org: OrgId): Promise<readonly CredentialRecord[]>;
}

/** One use, for the audit log. */
export interface CredentialUse {
  /** The organisation. */
  readonly org: OrgId;
  /** The credential. */
  readonly id: string;
  /** The other system. */
  readonly provider: string;
  /** Which secret. */
  readonly version: number;
  /** The scope that was needed. */
  readonly scope: string;
  /** Who used it. */
  readonly actor: string;
  /** What for. */
  readonly purpose: string;
  /** Epoch ms. */
  readonly at: number;
}
