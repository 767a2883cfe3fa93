/** What members hand in: malformed, hostile, or too large. Nothing of it is stored, and a message does not quote it. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { attachFile, MOST_RANGE_BYTES, readAttachment } from '../src/attachments.ts';
import { enqueueImport, importStatement, MOST_STATEMENT_BYTES } from '../src/bank-import.ts';
import { parseStatement } from '../src/bank-statement.ts';
import { approveEntry, type NewEntry, postEntry } from '../src/entries.ts';
import { IRONBRIDGE } from '../src/provision.ts';
import { reviewEntry } from '../src/reviews.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

const HEADER = 'booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency';
const statementOf = (id: string, day = '2026-01-05') =>
  `${HEADER}\n${day},${id},Staples,Paper,PO-1,-12.30,100.00,USD`;
const invalid = (field: string) =>
  expect.objectContaining({ code: 'ledger.invalid_input', field }) as unknown;
/** Objects and rows there are. */
const stored = async (): Promise<number[]> => {
  const objects = ['statements', 'attachments'].map((name) => {
    const folder = join(f.objectsDir, 'org', f.bookkeeper.org, `d-${name}`);
    return existsSync(folder) ? readdirSync(folder).length : 0;
  });
  const { rows } = await superuser.query(
    `select (select count(*) from ledger.entry)::int as entries, (select count(*) from ledger.review)::int as reviews,
            (select count(*) from ledger.statement)::int as statements`,
  );
  return [...objects, ...Object.values(rows[0] as Record<string, number>)];
};
const refused = async (run: () => Promise<unknown>, error: unknown): Promise<void> => {
  const before = await stored();
  await expect(run()).rejects.toEqual(error);
  expect(await stored()).toEqual(before);
};

describe('a statement', () => {
  test.each([
    ['a day of the year 0, which PostgreSQL does not have', statementOf('T1', '0000-01-05'), 'booking_date'],
    [
      'a NUL in the id of a line, which PostgreSQL does not store',
      statementOf('T\u00001'),
      'bank_transaction_id',
    ],
    ['a line break in the id of a line', statementOf('"T\n1"'), 'bank_transaction_id'],
    ['a blank id of a line', statementOf(' \u00a0'), 'bank_transaction_id'],
  ])('with %s is malformed, and not tried for ever', (_, csv, column) => {
    const error = expect.objectContaining({
      code: 'ledger.malformed_statement',
      message: `line 2: column ${column} is not as expected`,
    });
    expect(() => parseStatement(csv)).toThrow(error);
  });

  test('is not imported again because the ids of its lines are padded', async () => {
    await importStatement(f.ledger, f.bookkeeper, 'a.csv', statementOf('PADDED'));
    for (const id of [' PADDED', 'PADDED  ', '"PADDED "']) {
      const again = importStatement(f.ledger, f.bookkeeper, 'b.csv', statementOf(id));
      await expect(again).rejects.toMatchObject({ code: 'ledger.statement_already_imported' });
    }
  });

  test.each([
    ['characters', 'x'.repeat(MOST_STATEMENT_BYTES + 1)],
    ['bytes', 'é'.repeat(MOST_STATEMENT_BYTES / 2 + 1)],
  ])('of more %s than a worker is to hold is not taken', async (_, csv) => {
    await refused(() => enqueueImport(f.ledger, f.bookkeeper, 'a.csv', csv), invalid('csv'));
  });
});

const NAMES = [
  ['is empty', ''],
  ['is blank', ' \t'],
  ['has a NUL', 'a\0.csv'],
  ['has a line break', 'a.csv\r\nX: y'],
  ['is no text', 'a\ud800.csv'],
  ['is too long', 'x'.repeat(201)],
] as const;

test.each(NAMES)('a file with a name that %s is not taken', async (_, name) => {
  const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const csv = statementOf(randomUUID());
  await refused(() => enqueueImport(f.ledger, f.bookkeeper, name, csv), invalid('file'));
  const attach = () => attachFile(f.ledger, f.bookkeeper, entry, name, Readable.from(['x']));
  await refused(attach, invalid('name'));
});

test('a path for a name is a name: nothing is stored under it', async () => {
  const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const name = '../../../../etc/passwd';
  const id = await attachFile(f.ledger, f.bookkeeper, entry, name, Readable.from(['paid']));
  expect(readdirSync(join(f.objectsDir, 'org', f.bookkeeper.org, 'd-attachments'))).toContain(`f-${id}`);
  expect(await readAttachment(f.ledger, f.bookkeeper, id, 0, 4)).toMatchObject({ name });
});

test.each([
  ['before the file', -1, 1],
  ['between two bytes', 0.5, 1],
  ['of a negative length', 0, -1],
  ['that is no number', Number.NaN, 1],
  ['longer than memory is lent for', 0, MOST_RANGE_BYTES + 1],
])('a range %s is not read', async (_, offset, length) => {
  const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const id = await attachFile(f.ledger, f.bookkeeper, entry, 'r.txt', Readable.from(['paid']));
  const read = readAttachment(f.ledger, f.bookkeeper, id, offset, length);
  await expect(read).rejects.toEqual(
    invalid(Number.isNaN(offset) || offset !== 0 ? 'range.offset' : 'range.length'),
  );
  expect((await readAttachment(f.ledger, f.bookkeeper, id, 0, MOST_RANGE_BYTES)).bytes).toHaveLength(4);
});

describe('an entry', () => {
  test.each<[string, keyof NewEntry, Partial<NewEntry>]>([
    ['for ever', 'bookedOn', { bookedOn: 'infinity' }],
    ['on a day that is today for PostgreSQL', 'bookedOn', { bookedOn: 'today' }],
    ['on a day that is none', 'bookedOn', { bookedOn: '2026-02-30' }],
    ['without an account', 'debit', { debit: '' }],
    ['with a blank account', 'credit', { credit: '  ' }],
    ['from an account to itself', 'credit', { debit: '1000 Bank', credit: '1000 Bank' }],
    ['of nothing', 'amountCents', { amountCents: 0 }],
    ['of less than nothing', 'amountCents', { amountCents: -1 }],
    ['of half a cent', 'amountCents', { amountCents: 0.5 }],
    ['of more than numbers tell apart', 'amountCents', { amountCents: 2 ** 53 }],
    ['with a memo of megabytes', 'memo', { memo: 'x'.repeat(1_000_000) }],
    ['of a bank line that is no id', 'bankLineId', { bankLineId: "x' or true --" }],
  ])('%s is not posted', async (_, field, part) => {
    await refused(() => postEntry(f.ledger, f.bookkeeper, { ...ENTRY, ...part }), invalid(`entry.${field}`));
  });

  test('of a bank line of another organisation is not posted, as of one that does not exist', async () => {
    const [line] = await importStatement(f.ledger, f.bookkeeper, 'a.csv', statementOf(randomUUID()));
    const stranger = await f.enter(IRONBRIDGE.bookkeeper, {}, IRONBRIDGE);
    for (const bankLineId of [line?.id ?? '', randomUUID()]) {
      const post = postEntry(f.ledger, stranger, { ...ENTRY, bankLineId });
      await expect(post).rejects.toMatchObject({
        code: 'ledger.bank_line_not_found',
        message: `no bank line ${bankLineId} in this organisation`,
      });
    }
  });

  test('books a bank line once, also when two are posted at the same time', async () => {
    const [line] = await importStatement(f.ledger, f.bookkeeper, 'a.csv', statementOf(randomUUID()));
    const post = () => postEntry(f.ledger, f.bookkeeper, { ...ENTRY, bankLineId: line?.id ?? '' });
    const outcomes = await Promise.allSettled([post(), post()]);
    const failed = outcomes.filter((each) => each.status === 'rejected');
    expect(failed.map(({ reason }) => reason.code)).toEqual(['ledger.bank_line_booked']);
  });

  test.each(['', ' \n '])('is not approved without a reason: %j', async (reason) => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await refused(() => approveEntry(f.ledger, f.controller, id, reason), invalid('reason'));
    const { rows } = await superuser.query('select status from ledger.entry where id = $1', [id]);
    expect(rows).toEqual([{ status: 'posted' }]);
  });

  test.each(['', ' \n '])('is not reviewed without a note: %j', async (note) => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await refused(() => reviewEntry(f.ledger, f.reviewer, id, note), invalid('note'));
  });

  test('is approved once, also when two approve it at the same time', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const approve = () => approveEntry(f.ledger, f.controller, id, 'fine');
    const outcomes = await Promise.allSettled([approve(), approve(), approve()]);
    const failed = outcomes.filter((each) => each.status === 'rejected');
    expect(failed.map(({ reason }) => reason.code)).toEqual(['authz.denied', 'authz.denied']);
    const { rows } = await superuser.query(
      "select from audit.event where action = 'entry.approved' and target = $1",
      [`entry:${id}`],
    );
    expect(rows).toHaveLength(1);
  });
});
