/** SQL injected into a request of an organisation, by a member of it: what it can do to the entries of that organisation. */
import { type RawBuilder, sql } from 'kysely';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import type { Session } from '../src/session.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
let posted: string;
let approved: string;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});
beforeEach(async () => {
  posted = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  approved = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  await approveEntry(f.ledger, f.controller, approved, 'fine');
});

/** Runs a statement as a vulnerable request of the session would. */
const injected = (session: Session, statement: RawBuilder<unknown>) =>
  statement.execute(f.ledger.tenancy.forOrg(session.org, session.principal));
const entries = async () => (await superuser.query('select t.*::text from ledger.entry t order by 1')).rows;

test.each<[string, string, () => Promise<unknown>]>([
  [
    'approves as somebody else an entry of their own',
    'ledger.entry_kept',
    () =>
      injected(
        f.bookkeeper,
        sql`update ledger.entry set status = 'approved', approved_by = ${f.controller.actor} where id = ${posted}`,
      ),
  ],
  [
    'approves an entry of their own',
    'entry_check',
    () =>
      injected(
        f.bookkeeper,
        sql`update ledger.entry set status = 'approved', approved_by = posted_by where id = ${posted}`,
      ),
  ],
  [
    'changes the amount of an entry that is approved',
    'ledger.entry_kept',
    () => injected(f.bookkeeper, sql`update ledger.entry set amount_cents = 1 where id = ${approved}`),
  ],
  [
    'changes the amount of an entry while approving it',
    'ledger.entry_kept',
    () =>
      injected(
        f.controller,
        sql`update ledger.entry set status = 'approved', approved_by = ${f.controller.actor}, amount_cents = 1
             where id = ${posted}`,
      ),
  ],
  [
    'takes an approval back',
    'ledger.entry_kept',
    () =>
      injected(
        f.controller,
        sql`update ledger.entry set status = 'posted', approved_by = null where id = ${approved}`,
      ),
  ],
  [
    'approves in the name of somebody else what is approved',
    'ledger.entry_kept',
    () =>
      injected(f.owner, sql`update ledger.entry set approved_by = ${f.owner.actor} where id = ${approved}`),
  ],
  [
    'posts in the name of somebody else',
    'ledger.entry_kept',
    () =>
      injected(
        f.controller,
        sql`insert into ledger.entry
            select org_id, gen_random_uuid(), null, booked_on, debit_account, credit_account, amount_cents, memo,
                   bank_reference, bank_reference_idx, 'posted', posted_by, null
              from ledger.entry where id = ${posted}`,
      ),
  ],
  [
    'posts what is approved already',
    'ledger.entry_kept',
    () =>
      injected(
        f.bookkeeper,
        sql`insert into ledger.entry
            select org_id, gen_random_uuid(), null, booked_on, debit_account, credit_account, amount_cents, memo,
                   bank_reference, bank_reference_idx, 'approved', posted_by, ${f.controller.actor}
              from ledger.entry where id = ${posted}`,
      ),
  ],
])('whoever %s is refused by the database: %s', async (_, constraint, run) => {
  const before = await entries();
  const error: unknown = await run().catch((refusal: unknown) => refusal);
  expect((error as { constraint?: string }).constraint).toContain(constraint);
  expect(await entries()).toEqual(before);
  expect(await readEntry(f.ledger, f.controller, approved)).toMatchObject({ approvedBy: f.controller.actor });
});
