import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { attachFile, orphanedAttachments, readAttachment } from '../src/attachments.ts';
import { postEntry, readEntry } from '../src/entries.ts';
import { type Fixture, fixture } from './fixture.ts';

let f: Fixture;
let owner: pg.Client;
let entry: string;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
  owner = new pg.Client({ connectionString: f.database.ownerUrl });
  await owner.connect();
  entry = await postEntry(f.ledger, f.bookkeeper, {
    bookedOn: '2026-03-31',
    debit: '6000 Expenses',
    credit: '1000 Bank',
    amountCents: 4_200,
    memo: 'toner',
    bankReference: 'PO-1',
  });
});
afterAll(async () => {
  await owner?.end();
  await f?.close();
});

const content = Buffer.from('receipt line, 17 bytes\n'.repeat(5_000));
const attach = (body: Readable, session = f.bookkeeper) =>
  attachFile(f.ledger, session, entry, 'receipt.txt', body);
const stored = () => {
  const folder = join(f.objectsDir, 'org', f.bookkeeper.org, 'd-attachments');
  return existsSync(folder) ? readdirSync(folder) : [];
};

function signal(): { readonly given: Promise<void>; give(): void } {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

test('an upload that takes its time holds no connection: the only one of the pool serves others meanwhile', async () => {
  const [started, others] = [signal(), signal()];
  async function* slow() {
    yield content;
    started.give();
    await others.given;
    yield content;
  }
  const upload = attach(Readable.from(slow()));
  await started.given;
  await readEntry(f.ledger, f.controller, entry);
  others.give();
  const { size } = await readAttachment(f.ledger, f.controller, await upload, 0, 1);
  expect(size).toBe(2 * content.length);
});

test('nothing is stored for a member who may not attach', async () => {
  const before = stored();
  await expect(attach(Readable.from(content), f.auditor)).rejects.toMatchObject({ code: 'authz.denied' });
  expect(stored()).toEqual(before);
});

test('an upload whose row cannot be written leaves an object that no row names; listing finds it', async () => {
  const before = stored();
  expect(await orphanedAttachments(f.ledger, f.bookkeeper, 0)).toEqual([]);
  await owner.query(`revoke insert on ledger.attachment from ${f.database.app}`);
  await expect(attach(Readable.from(content))).rejects.toMatchObject({ code: '42501' });
  await owner.query(`grant insert on ledger.attachment to ${f.database.app}`);
  const [left = ''] = stored().filter((name) => !before.includes(name));
  expect(await orphanedAttachments(f.ledger, f.bookkeeper, 0)).toEqual([
    `org/${f.bookkeeper.org}/attachments/${left.slice(2)}`,
  ]);
  expect(await orphanedAttachments(f.ledger, f.bookkeeper, 3_600_000)).toEqual([]);
  const read = readAttachment(f.ledger, f.controller, left.slice(2), 0, 1);
  await expect(read).rejects.toMatchObject({ code: 'ledger.attachment_not_found' });
});

test('the content of an attachment is not handed out when its read cannot be recorded', async () => {
  const id = await attach(Readable.from(content));
  const signature =
    'audit.append(uuid, text, boolean), audit.append_from_template(uuid, text, bytea, boolean, text, bigint[], boolean)';
  await owner.query(`revoke execute on function ${signature} from ${f.database.app}`);
  await expect(readAttachment(f.ledger, f.controller, id, 0, 10)).rejects.toMatchObject({ code: '42501' });
  await owner.query(`grant execute on function ${signature} to ${f.database.app}`);
  expect((await readAttachment(f.ledger, f.controller, id, 0, 10)).bytes).toHaveLength(10);
});
