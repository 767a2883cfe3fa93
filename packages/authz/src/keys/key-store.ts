/**
 * What is stored of an API key, and the port to where it is stored. The key itself is not there. Each change is one
 * atomic step of the store: two rotations at once, or a request sent twice, must leave one successor and one key.
 */
import type { OrgId } from '../org-id.ts';
import type { Identity } from '../session/guard.ts';
import type { KeyOrigin } from '../session/verified-session.ts';

/** What a key may do at most: grants of the policy, named by roles and narrowed to actions. */
export interface KeyScope {
  /** Roles of the policy. They need not be the creator's; what they allow must be. */
  readonly roles: readonly string[];
  /** The actions; a role that gains others later gives the key none of them. */
  readonly actions: readonly string[];
}

/** What is stored of a key: plain data and the MAC. */
export interface ApiKeyRecord {
  /** Public part of the key, 16 characters, unique in the store. */
  readonly id: string;
  /** Its organisation. */
  readonly org: OrgId;
  /** For people: what it is used for. */
  readonly name: string;
  /** HMAC-SHA-256, 32 bytes. */
  readonly mac: Uint8Array;
  /** Id of the pepper. */
  readonly pepper: string;
  /** Who created it; the key is worth nothing without them. */
  readonly creator: Identity;
  /** How the creator was authenticated when it was created. */
  readonly origin: KeyOrigin;
  /** What it may do at most. */
  readonly scope: KeyScope;
  /** Id of the request that created it, unique in the organisation. */
  readonly requestId: string;
  /** Epoch ms. */
  readonly createdAt: number;
  /** First instant at which it is over, epoch ms, a whole second. */
  readonly expiresAt: number;
  /** Id of the key that follows it, once it was rotated. */
  readonly successor?: string;
  /** End of the overlap with its successor, epoch ms, a whole second. */
  readonly overlapUntil?: number;
  /** When it was revoked, epoch ms. */
  readonly revokedAt?: number;
  /** Last use that was written down, epoch ms. */
  readonly lastUsedAt?: number;
}

/** Which keys a revocation is for. */
export type KeySelection =
  | {
      /** One key. */
      readonly kind: 'key';
      /** Its organisation. */
      readonly org: OrgId;
      /** Its id. */
      readonly id: string;
    }
  | {
      /** Every key of a creator. */
      readonly kind: 'creator';
      /** The organisation. */
      readonly org: OrgId;
      /** The creator. */
      readonly creator: Identity;
    }
  | {
      /** Every key of an organisation. */
      readonly kind: 'org';
      /** The organisation. */
      readonly org: OrgId;
    }
  | {
      /** Every key there is. */
      readonly kind: 'everywhere';
    };

/** A rotation, to be carried out in one step. */
export interface KeyRotation {
  /** The organisation. */
  readonly org: OrgId;
  /** The key that is followed. */
  readonly id: string;
  /** The key that follows; stored in the same step. */
  readonly successor: ApiKeyRecord;
  /** End of the overlap, epoch ms, a whole second. */
  readonly overlapUntil: number;
}

/** A use of a key. */
export interface KeyUse {
  /** The organisation. */
  readonly org: OrgId;
  /** The key. */
  readonly id: string;
  /** Epoch ms. */
  readonly at: number;
}

/** Where keys are stored. */
export interface ApiKeyStore {
  /** Stores a new key; `replayed`, and nothing stored, when the organisation has one with the same `requestId`. */
  insert(record: ApiKeyRecord): Promise<'stored' | 'replayed'>;
  /** The key with this id, of whatever organisation; undefined when there is none. */
  find(id: string): Promise<ApiKeyRecord | undefined>;
  /**
   * Stores the successor and ends the key, both or neither. `conflict` unless the key is of the organisation, has no
   * successor, was not revoked and expires after the successor's `createdAt`.
   */
  rotate(rotation: KeyRotation): Promise<'stored' | 'replayed' | 'conflict'>;
  /** Sets `revokedAt` where it is not set, and gives the ids of all selected keys that have not expired. */
  revoke(selection: KeySelection, at: number): Promise<readonly string[]>;
  /** Keeps the later of what is stored and what is given. */
  touch(uses: readonly KeyUse[]): Promise<void>;
  /** Every key of an organisation, ended ones included. */
  list(org: OrgId): Promise<readonly ApiKeyRecord[]>;
}
