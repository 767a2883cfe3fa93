/**
 * Posting, reading and approving entries. Memo and bank reference are sealed for exactly their cell. Decisions and the
 * audit log name an entry by its id as it is stored: PostgreSQL finds the same row for a uuid in capitals, and whoever
 * asks the log for the entry would not find what was done under that spelling.
 */
import { whereBlind } from '@ringfence/crypto/kysely';
import { v7 as uuidv7 } from 'uuid';
import { type Deciding, guarded } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';
import type { LedgerAction } from './policy.ts';
import type { Session } from './session.ts';

const TABLE = 'ledger.entry';

/** An entry to post. */
export interface NewEntry {
  /** Bank line the entry books, if any. */
  readonly bankLineId?: string;
  /** Date, `YYYY-MM-DD`. */
  readonly bookedOn: string;
  /** Account that is debited. */
  readonly debit: string;
  /** Account that is credited. */
  readonly credit: string;
  /** Amount in cents, above zero. */
  readonly amountCents: number;
  /** Free text; sealed. */
  readonly memo: string;
  /** The bank's reference; sealed. */
  readonly bankReference: string;
}

/** An entry with its sealed fields opened. */
export interface Entry {
  readonly id: string;
  readonly bookedOn: string;
  readonly amountCents: number;
  readonly memo: string;
  readonly bankReference: string;
  readonly status: 'posted' | 'approved';
  readonly postedBy: string;
  readonly approvedBy: string | null;
}

/**
 * The row of an entry that was asked for. That there is none is told to whoever may read entries; everybody else is denied,
 * as for one that is there.
 *
 * @throws NotFoundError `ledger.entry_not_found`.
 */
export function foundEntry<R>(
  row: R | undefined,
  authorize: Deciding['authorize'],
  action: LedgerAction,
  asked: string,
): R {
  if (row !== undefined) return row;
  authorize('entry.read', { id: asked });
  throw new NotFoundError('entry', asked, action);
}

/** Posts an entry and returns its id. */
export async function postEntry(ledger: Ledger, session: Session, entry: NewEntry): Promise<string> {
  const id = uuidv7();
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('entry.post', { id });
    await db
      .insertInto(TABLE)
      .values({
        id,
        bank_line_id: entry.bankLineId ?? null,
        booked_on: entry.bookedOn,
        debit_account: entry.debit,
        credit_account: entry.credit,
        amount_cents: entry.amountCents,
        memo: entry.memo,
        bank_reference: entry.bankReference,
        status: 'posted',
        posted_by: session.actor,
        approved_by: null,
      })
      .execute();
    await record('entry.posted', {
      target: id,
      outcome: 'success',
      data: { debit: entry.debit, credit: entry.credit, amountCents: entry.amountCents },
    });
    return id;
  });
}

/**
 * Reads an entry.
 *
 * @throws NotFoundError `ledger.entry_not_found` when the organisation has no such entry.
 */
export async function readEntry(ledger: Ledger, session: Session, asked: string): Promise<Entry> {
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    const stored = await db.selectFrom(TABLE).selectAll().where('id', '=', asked).executeTakeFirst();
    const row = foundEntry(stored, authorize, 'entry.read', asked);
    const { id } = row;
    authorize('entry.read', { id, status: row.status, postedBy: row.posted_by });
    const entry: Entry = {
      id,
      bookedOn: row.booked_on,
      amountCents: Number(row.amount_cents),
      memo: row.memo,
      bankReference: row.bank_reference,
      status: row.status,
      postedBy: row.posted_by,
      approvedBy: row.approved_by,
    };
    await record('entry.read', { target: id, outcome: 'success' });
    return entry;
  });
}

/** Finds the entries of a bank reference, upper or lower case, without the database ever seeing the reference. */
export async function findByBankReference(
  ledger: Ledger,
  session: Session,
  reference: string,
): Promise<string[]> {
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('entry.read', { id: 'search' });
    const rows = await db
      .selectFrom(TABLE)
      .select('id')
      .where((eb) => whereBlind(eb, 'bank_reference', reference))
      .orderBy('id')
      .execute();
    await record('entry.searched', { outcome: 'success', data: { found: rows.length } });
    return rows.map(({ id }) => id);
  });
}

/**
 * Approves a posted entry, with the reason that goes into the audit log.
 *
 * @throws NotFoundError `ledger.entry_not_found` when the organisation has no such entry.
 */
export async function approveEntry(
  ledger: Ledger,
  session: Session,
  asked: string,
  reason: string,
): Promise<void> {
  await guarded(ledger, session, async ({ db, authorize, record }) => {
    const stored = await db
      .selectFrom(TABLE)
      .select(['id', 'status', 'posted_by', 'amount_cents'])
      .where('id', '=', asked)
      .forUpdate()
      .executeTakeFirst();
    const row = foundEntry(stored, authorize, 'entry.approve', asked);
    const { id } = row;
    const amountCents = Number(row.amount_cents);
    authorize('entry.approve', { id, status: row.status, postedBy: row.posted_by, amountCents });
    await db
      .updateTable(TABLE)
      .set({ status: 'approved', approved_by: session.actor })
      .where('id', '=', id)
      .execute();
    await record('entry.approved', {
      target: id,
      outcome: 'success',
      reason,
      before: { status: row.status, approvedBy: null },
      after: { status: 'approved', approvedBy: session.actor },
      data: { amountCents },
    });
  });
}
