import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { attachFile, readAttachment } from '../src/attachments.ts';
import { importStatement } from '../src/bank-import.ts';
import { parseStatement } from '../src/bank-statement.ts';
import { approveEntry, findByBankReference, postEntry, readEntry } from '../src/entries.ts';
import { guarded } from '../src/guarded.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import { ENTRY, type Fixture, fixture } from './fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

async function asSuperuser(query: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: f.database.superuserUrl });
  await client.connect();
  try {
    return (await client.query(query, values)).rows;
  } finally {
    await client.end();
  }
}

describe('a guarded request', () => {
  test('posts an entry whose memo and bank reference are unreadable in the table', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const [row] = await asSuperuser('select * from ledger.entry where id = $1', [id]);
    expect(JSON.stringify(row)).not.toMatch(/toner|40686/);
    expect(await readEntry(f.ledger, f.controller, id)).toMatchObject({
      memo: ENTRY.memo,
      bookedOn: '2026-03-31',
    });
  });

  test('records who approved, why, and what changed', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await approveEntry(f.ledger, f.controller, id, 'matches the delivery note');
    const [row] = await asSuperuser(
      "select actor, canon from audit.event where action = 'entry.approved' and target = $1",
      [`entry:${id}`],
    );
    expect(row?.['actor']).toBe(f.controller.actor);
    const { event } = JSON.parse(String(row?.['canon']));
    expect(event.reason).toBe('matches the delivery note');
    expect(JSON.stringify(event.changes)).toContain('approved');
  });

  test('refuses self-approval although the member holds both roles', async () => {
    const roles = (value: string[]) =>
      asSuperuser('update ledger.member set roles = $2 where user_id = $1', [
        NORTHWIND.bookkeeper.userId,
        value,
      ]);
    await roles(['bookkeeper', 'controller']);
    try {
      const both = await f.enter(NORTHWIND.bookkeeper, { mfa: true });
      const id = await postEntry(f.ledger, both, ENTRY);
      await expect(approveEntry(f.ledger, both, id, 'me too')).rejects.toMatchObject({
        code: 'authz.denied',
        decision: { forbid: 'no-self-approval' },
      });
    } finally {
      await roles(['bookkeeper']);
    }
  });

  test('records a refusal although its transaction leaves nothing', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await expect(approveEntry(f.ledger, f.auditor, id, 'x')).rejects.toMatchObject({ code: 'authz.denied' });
    const [row] = await asSuperuser(
      "select canon from audit.event where action = 'access.denied' and actor = $1 order by at desc limit 1",
      [f.auditor.actor],
    );
    expect(String(row?.['canon'])).toContain('entry.approve');
    expect((await asSuperuser('select status from ledger.entry where id = $1', [id]))[0]?.['status']).toBe(
      'posted',
    );
  });

  test('does not commit a write without a decision, or without an audit event', async () => {
    const insert = (decide: boolean, recordIt: boolean) =>
      guarded(f.ledger, f.bookkeeper, async ({ db, authorize, record }) => {
        if (decide) authorize('entry.post', { id: 'x' });
        await db
          .insertInto('ledger.member')
          .values({ user_id: IRONBRIDGE.auditor.userId, issuer: 'x', subject: 'x', name: 'x', roles: [] })
          .execute();
        if (recordIt) await record('entry.read', { target: 'x', outcome: 'success' });
      });
    for (const [decide, recordIt] of [
      [false, true],
      [true, false],
      [false, false],
    ] as const) {
      await expect(insert(decide, recordIt)).rejects.toMatchObject({ code: 'ledger.unguarded_request' });
    }
    expect(
      await asSuperuser('select from ledger.member where user_id = $1 and org_id = $2', [
        IRONBRIDGE.auditor.userId,
        f.bookkeeper.org,
      ]),
    ).toEqual([]);
  });
});

test('a request that outlives the lease of its keys is run again with new ones, once, and leaves one event', async () => {
  const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const read = async (endings: number) => {
    let runs = 0;
    const memo = await guarded(f.ledger, f.bookkeeper, async ({ db, authorize, record }) => {
      if (++runs <= endings) f.ledger.keyring.revoke(f.bookkeeper.org);
      authorize('entry.read', { id });
      await record('entry.read', { target: id, outcome: 'success' });
      return await db
        .selectFrom('ledger.entry')
        .select(['id', 'org_id', 'memo'])
        .where('id', '=', id)
        .execute();
    });
    return { memo: memo[0]?.memo, runs };
  };
  expect(await read(1)).toEqual({ memo: ENTRY.memo, runs: 2 });
  await expect(read(2)).rejects.toMatchObject({ code: 'crypto.lease_expired' });
  const events = await asSuperuser("select from audit.event where action = 'entry.read' and target = $1", [
    `entry:${id}`,
  ]);
  expect(events).toHaveLength(1);
});

describe('sealed columns', () => {
  test('are found by bank reference, whatever its case, and by no other', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, { ...ENTRY, bankReference: 'RF18 5390 0754' });
    expect(await findByBankReference(f.ledger, f.controller, 'rf18 5390 0754')).toEqual([id]);
    expect(await findByBankReference(f.ledger, f.controller, 'RF18 5390 075')).toEqual([]);
  });

  test('take no plaintext, not even from raw SQL', async () => {
    const id = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await expect(
      asSuperuser("update ledger.entry set memo = 'in clear' where id = $1", [id]),
    ).rejects.toMatchObject({
      code: '23514',
    });
  });
});

describe('an attachment', () => {
  const folder = () => join(f.objectsDir, 'org', f.bookkeeper.org, 'd-attachments');
  const pathOf = (id: string) => join(folder(), `f-${id}`);
  const content = Buffer.from('receipt line, 17 bytes\n'.repeat(5_000));

  test('is ciphertext on disk, is read back by range, and belongs to its organisation', async () => {
    const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const id = await attachFile(f.ledger, f.bookkeeper, entry, 'receipt.txt', Readable.from(content));
    const path = pathOf(id);
    expect(readFileSync(path).includes('receipt line')).toBe(false);
    const range = await readAttachment(f.ledger, f.controller, id, 90_000, 40);
    expect(range).toMatchObject({ name: 'receipt.txt', size: content.length });
    expect(Buffer.from(range.bytes)).toEqual(content.subarray(90_000, 90_040));
    const stranger = await f.enter(IRONBRIDGE.controller, {}, IRONBRIDGE);
    const theft = readAttachment(f.ledger, stranger, id, 0, 10);
    await expect(theft).rejects.toMatchObject({ code: 'ledger.attachment_not_found' });
  });

  test('that was changed on disk is refused', async () => {
    const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const id = await attachFile(f.ledger, f.bookkeeper, entry, 'receipt.txt', Readable.from(content));
    const path = pathOf(id);
    const bytes = readFileSync(path);
    bytes[bytes.length - 3] = (bytes.at(-3) ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const read = readAttachment(f.ledger, f.controller, id, 0, 10);
    await expect(read).rejects.toMatchObject({ code: 'crypto.decrypt_failed' });
  });

  test('that breaks off leaves neither file nor row', async () => {
    const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const broken = new Readable({
      read() {
        this.push(content);
        this.destroy(new Error('the upload broke off'));
      },
    });
    const before = readdirSync(folder());
    await expect(attachFile(f.ledger, f.bookkeeper, entry, 'x', broken)).rejects.toThrow('broke off');
    expect(readdirSync(folder())).toEqual(before);
    expect(await asSuperuser('select from ledger.attachment where entry_id = $1', [entry])).toEqual([]);
  });
});

describe('a bank statement', () => {
  const header =
    'booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency';
  const line = (id: string, amount = '-12.30') => `2026-01-05,${id},Staples,Paper,PO-1,${amount},100.00,USD`;

  test.each([
    [
      'an amount that is no amount',
      `${header}\n${line('T1')}\n${line('T2', '12.3')}`,
      'line 3: column amount',
    ],
    ['a missing column', 'booking_date,amount\n2026-01-05,1.00', 'line 2: column bank_transaction_id'],
    ['a line cut off', `${header}\n2026-01-05,T1,Staples`, 'line 2'],
    ['an open quote', `${header}\n"2026-01-05,T1`, 'line'],
  ])('with %s is refused as a whole, naming the line', (_, csv, message) => {
    expect(() => parseStatement(csv)).toThrow(
      expect.objectContaining({ code: 'ledger.malformed_statement' }),
    );
    expect(() => parseStatement(csv)).toThrow(message);
  });

  test('imported twice is refused the second time, with nothing of it written', async () => {
    await importStatement(f.ledger, f.bookkeeper, 'a.csv', `${header}\n${line('DUP1')}`);
    const again = importStatement(
      f.ledger,
      f.bookkeeper,
      'a.csv',
      `${header}\n${line('NEW1')}\n${line('DUP1')}`,
    );
    await expect(again).rejects.toMatchObject({ code: 'ledger.statement_already_imported' });
    expect(await asSuperuser("select from ledger.bank_line where bank_transaction_id = 'NEW1'")).toEqual([]);
  });
});

test('a change and its audit event commit together or not at all while connections are cut under load', async () => {
  let stop = false;
  const killer = (async () => {
    const client = new pg.Client({ connectionString: f.database.superuserUrl });
    await client.connect();
    let killed = 0;
    while (!stop) {
      const { rowCount } = await client.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 order by random() limit 2',
        [f.database.app],
      );
      killed += rowCount ?? 0;
      await client.query('select pg_sleep(0.02)');
    }
    await client.end();
    return killed;
  })();
  const worker = async () => {
    let failed = 0;
    for (let i = 0; i < 40; i++) await postEntry(f.ledger, f.bookkeeper, ENTRY).catch(() => failed++);
    return failed;
  };
  const failures = await Promise.all(Array.from({ length: 6 }, worker));
  stop = true;
  expect(await killer).toBeGreaterThan(5);
  expect(failures.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(0);
  await f.ledger.audit.sealPending();
  const [unmatched] = await asSuperuser(`
    select (select count(*) from ledger.entry n where not exists
             (select from audit.event e where e.action = 'entry.posted' and e.target = 'entry:' || n.id))::int as entries,
           (select count(*) from audit.event e where e.action = 'entry.posted' and not exists
             (select from ledger.entry n where e.target = 'entry:' || n.id))::int as events`);
  expect(unmatched).toEqual({ entries: 0, events: 0 });
  const db = f.ledger.tenancy.forOrg(f.auditor.org, f.auditor.principal);
  const report = await f.ledger.audit.verify(db, f.auditor.org);
  expect(report).toMatchObject({ ok: true, findings: [] });
});
