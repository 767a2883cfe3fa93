/** What a break-glass session tells the application's audit log, and the port it tells it through. */
import type { Transaction } from 'kysely';
import type { OrgId } from '../org-id.ts';
import type { BreakGlassMode } from './token.ts';

/** What the database verified of a token. */
export interface BreakGlassGrant {
  /** Id of the token, a UUID. */
  readonly tokenId: string;
  /** The one organisation. */
  readonly org: OrgId;
  /** What the session may do. */
  readonly mode: BreakGlassMode;
  /** Who acts. */
  readonly actor: string;
  /** Who approved it; null when nobody did. */
  readonly approvedBy: string | null;
  /** Incident or support ticket. */
  readonly ticket: string;
  /** Why, in words. */
  readonly reason: string;
  /** When the token was issued. */
  readonly issuedAt: Date;
  /** When it ends. */
  readonly expiresAt: Date;
}

/** A session begins: recorded in the transaction that makes the organisation's rows visible once it is committed. */
export interface BreakGlassOpened extends BreakGlassGrant {
  /** Tells the two records apart. */
  readonly event: 'opened';
}

/** A session is over. */
export interface BreakGlassClosed extends BreakGlassGrant {
  /** Tells the two records apart. */
  readonly event: 'closed';
  /**
   * `failed` when the callback threw or COMMIT failed: its writes are undone, unless SQL of its own committed them. Rows
   * were read either way.
   */
  readonly outcome: 'completed' | 'failed';
  /** Statements the callback ran, failed ones among them. */
  readonly statements: number;
  /** Rows it was answered. */
  readonly rows: number;
}

/** The application's audit log, as a break-glass session needs it. */
export interface BreakGlassAudit<DB> {
  /**
   * Writes a record in `trx`, on the connection of the break-glass role. When it throws, the transaction is rolled back:
   * of an opening, no row is seen.
   */
  record(trx: Transaction<DB>, record: BreakGlassOpened | BreakGlassClosed): Promise<void>;
}
