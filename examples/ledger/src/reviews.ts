/**
 * A reviewer's look at an entry somebody else posted: a sealed note beside the entry. It approves nothing; whoever approves
 * reads it first.
 */
import { v7 as uuidv7 } from 'uuid';
import { foundEntry } from './entries.ts';
import { guarded } from './guarded.ts';
import { checked, words } from './input.ts';
import type { Ledger } from './ledger.ts';
import type { Session } from './session.ts';

const TABLE = 'ledger.review';

/** A review with its note opened. */
export interface Review {
  readonly id: string;
  readonly note: string;
  readonly reviewedBy: string;
}

/**
 * Notes a review of an entry and returns its id.
 *
 * @throws InvalidInputError `ledger.invalid_input` without a note.
 * @throws NotFoundError `ledger.entry_not_found` when the organisation has no such entry.
 */
export async function reviewEntry(
  ledger: Ledger,
  session: Session,
  asked: string,
  note: string,
): Promise<string> {
  const id = uuidv7();
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    const stored = await db
      .selectFrom('ledger.entry')
      .select(['id', 'status', 'posted_by'])
      .where('id', '=', asked)
      .executeTakeFirst();
    const row = foundEntry(stored, authorize, 'entry.review', asked);
    const entry = row.id;
    authorize('entry.review', { id: entry, status: row.status, postedBy: row.posted_by });
    checked(words(10_000), note, 'note', 'a text of 1 to 10000 characters');
    await db.insertInto(TABLE).values({ id, entry_id: entry, note, reviewed_by: session.actor }).execute();
    await record('entry.reviewed', { target: entry, outcome: 'success', data: { review: id } });
    return id;
  });
}

/**
 * The reviews of an entry, oldest first.
 *
 * @throws NotFoundError `ledger.entry_not_found` when the organisation has no such entry.
 */
export async function reviewsOf(ledger: Ledger, session: Session, asked: string): Promise<Review[]> {
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    const stored = await db
      .selectFrom('ledger.entry')
      .select('id')
      .where('id', '=', asked)
      .executeTakeFirst();
    const { id: entry } = foundEntry(stored, authorize, 'entry.read', asked);
    authorize('entry.read', { id: entry });
    const rows = await db
      .selectFrom(TABLE)
      .select(['id', 'org_id', 'note', 'reviewed_by'])
      .where('entry_id', '=', entry)
      .orderBy('id')
      .execute();
    await record('entry.read', { target: entry, outcome: 'success' });
    return rows.map(({ id, note, reviewed_by }) => ({ id, note, reviewedBy: reviewed_by }));
  });
}
