/**
 * Posting, reading and approving entries. Memo and bank reference are sealed for exactly their cell. Decisions and the
 * audit log name an entry by its id as it is stored: PostgreSQL finds the same row for a uuid in capitals, and whoever
 * asks the log for the entry would not find what was done under that spelling.
 */
import { whereBlind } from '@ringfence/crypto/kysely';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { type Deciding, guarded } from './guarded.ts';
import { checked, day, line, words } from './input.ts';
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

const newEntry = z
  .object({
    bankLineId: z.uuid().optional(),
    bookedOn: day(),
    debit: line(100),
    credit: line(100),
    amountCents: z.int().positive(),
    memo: z.string().max(2_000),
    bankReference: z.string().max(140),
  })
  .refine(({ debit, credit }) => debit !== credit, { path: ['credit'] });

/** Thrown when the bank line of an entry is booked by another entry already. */
export class BankLineBookedError extends Error {
  override readonly name: string = 'BankLineBookedError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.bank_line_booked';
}

/**
 * Posts an entry and returns its id.
 *
 * @throws InvalidInputError `ledger.invalid_input`.
 * @throws NotFoundError `ledger.bank_line_not_found` when the organisation has no such bank line.
 * @throws BankLineBookedError `ledger.bank_line_booked`.
 */
export async function postEntry(ledger: Ledger, session: Session, entry: NewEntry): Promise<string> {
  const id = uuidv7();
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('entry.post', { id });
    checked(newEntry, entry, 'entry', 'what an entry has, within its bounds');
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
      .execute()
      .catch((error: unknown) => refusedBankLine(error, entry.bankLineId));
    await record('entry.posted', {
      target: id,
      outcome: 'success',
      data: { debit: entry.debit, credit: entry.credit, amountCents: entry.amountCents },
    });
    return id;
  });
}

/** The driver's error names constraints, and quotes values: it stays behind. */
function refusedBankLine(error: unknown, line = ''): never {
  const { constraint } = error as { readonly constraint?: string };
  if (constraint === 'entry_bank_line') throw new NotFoundError('bank line', line, 'entry.post');
  if (constraint === 'entry_books_bank_line_once')
    throw new BankLineBookedError(`bank line ${line} is booked by an entry already`);
  throw error;
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
 * @throws InvalidInputError `ledger.invalid_input` without a reason.
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
    checked(words(2_000), reason, 'reason', 'a text of 1 to 2000 characters');
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
