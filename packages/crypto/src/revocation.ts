/**
 * The port that carries revocations between processes. It shortens the lock-out time from the lease to seconds; it is
 * never what the guarantee rests on: a process that hears nothing still stops at the end of its leases.
 */
import type { OrgId } from './org-id.ts';

/** What a subscriber is told. */
export interface RevocationListener {
  /** The organisation's keys must go now. */
  readonly revoked: (org: OrgId) => void;
  /** The channel was down for a while: any organisation may have been revoked. */
  readonly missed: () => void;
}

/** A broadcast channel for revocations. */
export interface RevocationChannel {
  /** Tells all subscribed processes to evict an organisation's keys. */
  publish(org: OrgId): Promise<void>;
  /** Subscribes; resolves once messages will arrive, with a function that ends the subscription. */
  subscribe(listener: RevocationListener): Promise<() => Promise<void>>;
}
