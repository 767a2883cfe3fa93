/** Who names a row by another spelling of its id, or a statement of which it is none of their business. */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { attachFile, readAttachment } from '../src/attachments.ts';
import { imported } from '../src/bank-import.ts';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import { reviewEntry, reviewsOf } from '../src/reviews.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { admissionMaxAgeMs: 0 });
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

/** What the events of a kind are about, each once. */
const targets = async (action: string): Promise<string[]> => {
  const { rows } = await superuser.query(
    "select distinct canon::jsonb #>> '{event,target,id}' as id from audit.event where action = $1",
    [action],
  );
  return rows.map(({ id }) => id);
};

test('how an import ended is told to whoever may import, and to nobody else', async () => {
  for (const session of [f.controller, f.reviewer, f.auditor])
    await expect(imported(f.ledger, session, randomUUID())).rejects.toMatchObject({ code: 'authz.denied' });
});

test('the log names an entry as it is stored, however whoever asks spells its id', async () => {
  const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const spelt = entry.toUpperCase();
  await readEntry(f.ledger, f.bookkeeper, spelt);
  const review = await reviewEntry(f.ledger, f.reviewer, spelt, 'seen');
  expect(await reviewsOf(f.ledger, f.controller, spelt)).toMatchObject([{ id: review }]);
  await approveEntry(f.ledger, f.controller, spelt, 'fine');
  const file = await attachFile(f.ledger, f.bookkeeper, spelt, 'receipt.txt', Readable.from(['paid']));
  const read = await readAttachment(f.ledger, f.bookkeeper, file.toUpperCase(), 0, 4);
  expect(Buffer.from(read.bytes).toString()).toBe('paid');
  for (const action of ['entry.read', 'entry.reviewed', 'entry.approved'])
    expect(await targets(action)).toEqual([entry]);
  expect(await targets('attachment.read')).toEqual([file]);
  const { rows } = await superuser.query(
    "select canon::jsonb #>> '{event,data,entry}' as entry from audit.event where action = 'attachment.added'",
  );
  expect(rows).toEqual([{ entry }]);
});
