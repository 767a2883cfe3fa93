/**
 * A guarded request: decision → org handle → sealed fields → write and audit event in one transaction.
 * Invariants: no commit without a decision that allowed something and without an audit event, which commits with it; a
 * refusal is recorded although the transaction it stopped leaves nothing. That the decision is about what the body does
 * is the body's business.
 */
import type { EventInput, EventName, Receipt } from '@ringfence/audit';
import { AuthzApprovalRequiredError, AuthzDeniedError, AuthzStepUpRequiredError } from '@ringfence/authz';
import type { OrgKeys } from '@ringfence/crypto';
import { withEncryption } from '@ringfence/crypto/kysely';
import { atCommit, type QueuedStatement } from '@ringfence/tenancy';
import type { Kysely } from 'kysely';
import type { events } from './events.ts';
import type { Ledger } from './ledger.ts';
import { type LedgerAction, policy } from './policy.ts';
import { columns, type Database } from './schema.ts';
import type { Session } from './session.ts';

/** What the body of a guarded request works with. */
export interface Guarded {
  /** The transaction, bound to the organisation of the session; sealed columns are written sealed and read opened. */
  readonly db: Kysely<Database>;
  /** The organisation's leased keys, for files. */
  readonly keys: OrgKeys;
  /** Decides, and throws unless the policy allows. */
  authorize(action: LedgerAction, resource: ResourceFacts): void;
  /** Queues the audit event: it commits with the change, in the flight of COMMIT. */
  record<N extends EventName<typeof events>>(type: N, event: EventInput<(typeof events)[N]>): Promise<void>;
}

/** The facts of a resource that the policy may look at. The organisation is the session's own: rows come through its handle. */
export interface ResourceFacts {
  readonly id: string;
  readonly status?: 'posted' | 'approved';
  readonly postedBy?: string;
  readonly amountCents?: number;
}

/** Thrown when a request wrote without deciding or without recording: a mistake in the app, stopped before it commits. */
export class UnguardedRequestError extends Error {
  override readonly name: string = 'UnguardedRequestError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.unguarded_request';
}

/** Runs `body` as one guarded request of `session`. */
export async function guarded<T>(
  ledger: Ledger,
  session: Session,
  body: (request: Guarded) => Promise<T>,
): Promise<T> {
  const handle = ledger.tenancy.forOrg(session.org, { actor: session.actor });
  const keys = await ledger.keyring.org(session.org);
  const context = { principal: { id: session.actor, org: session.org, roles: session.roles } };
  let decided = false;
  try {
    const { value, receipt, queued } = await handle.transaction().execute(async (trx) => {
      let recorded: { readonly receipt: Receipt; readonly queued: QueuedStatement } | undefined;
      const value = await body({
        db: withEncryption(trx, keys, columns),
        keys,
        authorize: (action, resource) => {
          policy.require(context, action, { org: session.org, ...resource });
          decided = true;
        },
        record: async (type, event) => {
          const receipt = ledger.audit.prepare(type, event);
          recorded = { receipt, queued: await atCommit(trx, receipt.query) };
        },
      });
      if (!decided) throw new UnguardedRequestError('the request made no decision');
      return { value, ...recordedOrThrow(recorded) };
    });
    await sealedOrLater(ledger, receipt, queued);
    return value;
  } catch (error) {
    if (isRefusal(error)) await recordDenial(ledger, session, error).catch(reportUnrecorded);
    throw error;
  }
}

/** The change is committed: whatever sealing says, it is no failure of the request. Left-over events are sealed later. */
async function sealedOrLater(ledger: Ledger, receipt: Receipt, queued: QueuedStatement): Promise<void> {
  const appended = await queued.result;
  await ledger.audit.sealed(receipt, appended).catch((error: unknown) => {
    console.error(`audit event ${receipt.id} is committed but not sealed yet:`, error);
  });
}

function reportUnrecorded(error: unknown): void {
  console.error('a refusal could not be recorded:', error);
}

function recordedOrThrow<T>(recorded: T | undefined): T {
  if (recorded === undefined) throw new UnguardedRequestError('the request recorded no audit event');
  return recorded;
}

type Refusal = AuthzDeniedError | AuthzStepUpRequiredError | AuthzApprovalRequiredError;

function isRefusal(error: unknown): error is Refusal {
  return (
    error instanceof AuthzDeniedError ||
    error instanceof AuthzStepUpRequiredError ||
    error instanceof AuthzApprovalRequiredError
  );
}

async function recordDenial(ledger: Ledger, session: Session, error: Refusal): Promise<void> {
  const db = ledger.tenancy.forOrg(session.org, { actor: session.actor });
  await ledger.audit.record(db, 'access.denied', {
    target: session.actor,
    outcome: 'denied',
    reason: error.message,
    data: { action: error.decision.action, code: error.code },
  });
}
