/**
 * A guarded request: decision → org handle → sealed fields → write and audit event in one transaction.
 * One that opens and seals nothing needs no keys.
 * Invariants: no commit without a decision that allowed something and without an audit event, which commits with it; a
 * refusal is recorded although the transaction it stopped leaves nothing. That the decision is about what the body does
 * is the body's business.
 */
import type { EventInput, EventName, Receipt } from '@ringfence/audit';
import type { OrgKeys } from '@ringfence/crypto';
import { withEncryption } from '@ringfence/crypto/kysely';
import { atCommit, type OrgTransaction, type QueuedStatement } from '@ringfence/tenancy';
import type { JobContext } from '@ringfence/tenancy/jobs';
import type { Kysely } from 'kysely';
import type { events } from './events.ts';
import type { Ledger } from './ledger.ts';
import type { LedgerAction } from './policy.ts';
import { recordingRefusals } from './refusals.ts';
import { columns, type Database } from './schema.ts';
import type { Access, Session } from './session.ts';

/** What the body of a guarded request that opens and seals nothing works with. */
export interface Deciding {
  /** The transaction, bound to the organisation of the session; sealed columns are read as they are stored. */
  readonly db: Kysely<Database>;
  /** Decides, and throws unless the policy allows. */
  authorize(action: LedgerAction, resource: ResourceFacts): void;
  /** Queues the audit event: it commits with the change, in the flight of COMMIT. */
  record<N extends EventName<typeof events>>(type: N, event: EventInput<(typeof events)[N]>): Promise<void>;
}

/** What the body of a guarded request works with: sealed columns are written sealed and read opened. */
export interface Guarded extends Deciding {
  /** The organisation's leased keys, for files. */
  readonly keys: OrgKeys;
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

/** Queues the audit event of a change. */
type RecordEvent = Deciding['record'];

/** Runs an effect in a transaction of one organisation; undefined when the effect had been committed before. */
type Transact = <R>(effect: (trx: OrgTransaction<Database>) => Promise<R>) => Promise<R | undefined>;

/** Runs `body` as one guarded request of `session`; again from the start, if the lease of its keys ended meanwhile. */
export async function guarded<T>(
  ledger: Ledger,
  session: Session,
  body: (request: Guarded) => Promise<T>,
): Promise<T> {
  const request = { open: leasing(ledger, session), body };
  return await withLease(() => inTransaction(ledger, session, request));
}

/**
 * Runs `body` as a guarded request that opens and seals nothing, and asks for no keys of the organisation: who may do what
 * is changed, and the log is read, also while the organisation's key is off, and when it is shredded.
 */
export async function guardedWithoutKeys<T>(
  ledger: Ledger,
  session: Session,
  body: (request: Deciding) => Promise<T>,
): Promise<T> {
  return await inTransaction(ledger, session, { open: async () => (db) => ({ db }), body });
}

/** Runs `body` as the effect of a job, on behalf of who enqueued it; undefined when an earlier run has committed it. */
export async function guardedOnce<T>(
  ledger: Ledger,
  session: Session,
  once: JobContext<unknown, Database, unknown>['once'],
  body: (request: Guarded) => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const transact: Transact = async (effect) => {
    const outcome = await once(effect);
    return outcome.ran ? outcome.result : undefined;
  };
  return await guardedBy(ledger, session, transact, { open: leasing(ledger, session), body });
}

/**
 * Decides before work that needs no transaction, such as an upload, so that it is not done in vain and holds no
 * connection. The transaction behind it decides again. A refusal is recorded.
 */
export async function decide(
  ledger: Ledger,
  session: Session,
  action: LedgerAction,
  resource: ResourceFacts,
): Promise<void> {
  await recordingRefusals(ledger, session, async () =>
    requireAllowed(session, await session.admit(), action, resource),
  );
}

/** A change of the system's own, without a member's decision: it commits with its audit event or not at all. */
export async function recorded<T>(
  ledger: Ledger,
  transact: Transact,
  body: (trx: OrgTransaction<Database>, record: RecordEvent) => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const done = await transact(async (trx) => {
    let last: { readonly receipt: Receipt; readonly queued: QueuedStatement } | undefined;
    const value = await body(trx, async (type, event) => {
      const receipt = ledger.audit.prepare(type, event);
      last = { receipt, queued: await atCommit(trx, receipt.query) };
    });
    return { value, ...recordedOrThrow(last) };
  });
  if (done === undefined) return undefined;
  await sealedOrLater(ledger, done.receipt, done.queued);
  return { value: done.value };
}

/** The transaction that a lease did not outlive left nothing. Asking for keys again asks the KMS: a revoked key stays revoked. */
async function withLease<T>(run: () => Promise<T>): Promise<T> {
  return await run().catch(async (error: unknown) => {
    if ((error as { code?: unknown }).code !== 'crypto.lease_expired') throw error;
    return await run();
  });
}

/** Gets what a request needs before its transaction begins; then, how the body sees that transaction. */
type Open<C> = () => Promise<(trx: OrgTransaction<Database>) => C>;

function leasing({ keyring }: Ledger, { org }: Session): Open<Pick<Guarded, 'db' | 'keys'>> {
  return async () => {
    const keys = await keyring.org(org);
    return (trx) => ({ db: withEncryption(trx, keys, columns), keys });
  };
}

interface Request<C, T> {
  readonly open: Open<C>;
  readonly body: (request: C & Pick<Deciding, 'authorize' | 'record'>) => Promise<T>;
}

async function inTransaction<C, T>(ledger: Ledger, session: Session, request: Request<C, T>): Promise<T> {
  const handle = ledger.tenancy.forOrg(session.org, session.principal);
  const transact: Transact = (effect) => handle.transaction().execute(effect);
  const done = await guardedBy(ledger, session, transact, request);
  if (done === undefined) throw new UnguardedRequestError('the transaction did not run the request');
  return done.value;
}

async function guardedBy<C, T>(
  ledger: Ledger,
  session: Session,
  transact: Transact,
  { open, body }: Request<C, T>,
): Promise<{ readonly value: T } | undefined> {
  let decided = false;
  return await recordingRefusals(ledger, session, async () => {
    const access = await session.admit();
    const opened = await open();
    return await recorded(ledger, transact, async (trx, record) => {
      const value = await body({
        ...opened(trx),
        authorize: (action, resource) => {
          requireAllowed(session, access, action, resource);
          decided = true;
        },
        record,
      });
      if (!decided) throw new UnguardedRequestError('the request made no decision');
      return value;
    });
  });
}

/** The one place where a request is decided: with what the session was admitted with, on a resource of its organisation. */
function requireAllowed(
  { org }: Session,
  access: Access,
  action: LedgerAction,
  resource: ResourceFacts,
): void {
  access.require(action, { ...resource, org });
}

/** The change is committed: whatever sealing says, it is no failure of the request. Left-over events are sealed later. */
async function sealedOrLater(ledger: Ledger, receipt: Receipt, queued: QueuedStatement): Promise<void> {
  const appended = await queued.result;
  await ledger.audit.sealed(receipt, appended).catch((error: unknown) => {
    console.error(`audit event ${receipt.id} is committed but not sealed yet:`, error);
  });
}

function recordedOrThrow<T>(last: T | undefined): T {
  if (last === undefined) throw new UnguardedRequestError('the request recorded no audit event');
  return last;
}
