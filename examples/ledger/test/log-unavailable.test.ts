/** While the audit log takes nothing: a refusal stays the refusal it is, and whatever must be recorded does not happen. */
import { Readable } from 'node:stream';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest';
import { BANK_FEED, createKey, revokeKey } from '../src/api-keys.ts';
import { attachFile } from '../src/attachments.ts';
import { enqueueImport, imported, statementLines } from '../src/bank-import.ts';
import { approveEntry, findByBankReference, postEntry, readEntry } from '../src/entries.ts';
import { workImports } from '../src/import-job.ts';
import { readLog, verifyLog } from '../src/log-access.ts';
import { giveRoles } from '../src/members.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import { STATEMENT_IMPORT } from '../src/queues.ts';
import { reviewEntry, reviewsOf } from '../src/reviews.ts';
import { enterWithKey } from '../src/session.ts';
import { requireSecondFactor } from '../src/settings.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

const APPENDS = [
  'audit.append(uuid, text, boolean)',
  'audit.append_from_template(uuid, text, bytea, boolean, text, bigint[], boolean)',
  'audit.append_batch(uuid[], text[], integer[], text[], text[], boolean)',
];

let f: Fixture;
let superuser: pg.Client;
let entry: string;
const unrecorded = vi.spyOn(console, 'error').mockImplementation(() => {});

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { admissionMaxAgeMs: 0 });
  superuser = await superuserOf(f);
  entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
});
beforeEach(() => unrecorded.mockClear());
afterAll(async () => {
  unrecorded.mockRestore();
  await superuser?.end();
  await f?.close();
});

/** Runs something while the app role may append nothing, and counts what the log holds more afterwards. */
async function withoutLog(run: () => Promise<unknown>): Promise<number> {
  const count = async () =>
    Number((await superuser.query('select count(*) as n from audit.event')).rows[0]?.n);
  const before = await count();
  await superuser.query(`revoke execute on function ${APPENDS.join(', ')} from ${f.database.app}`);
  try {
    await run();
  } finally {
    await superuser.query(`grant execute on function ${APPENDS.join(', ')} to ${f.database.app}`);
  }
  return (await count()) - before;
}

const statusOf = async (id: string) =>
  (await superuser.query('select status from ledger.entry where id = $1', [id])).rows[0]?.status;

test.each<[string, string, () => Promise<unknown>]>([
  ['inside a transaction', 'authz.denied', () => approveEntry(f.ledger, f.auditor, entry, 'x')],
  ['in front of work without one', 'authz.denied', () => enqueueImport(f.ledger, f.auditor, 'a.csv', 'x')],
  ['of roles', 'authz.denied', () => giveRoles(f.ledger, f.auditor, NORTHWIND.auditor.userId, ['owner'])],
  ['at the door', 'authz.session_refused', () => f.enter(NORTHWIND.bookkeeper, {}, IRONBRIDGE)],
])('a refusal %s is the same refusal: %s', async (_, code, run) => {
  const more = await withoutLog(async () => {
    await expect(run()).rejects.toMatchObject({ code });
  });
  expect({ more, told: unrecorded.mock.calls.length }).toEqual({ more: 0, told: 1 }); // not in silence
  expect(await statusOf(entry)).toBe('posted');
});

test('a key whose creator is a member no more opens nothing', async () => {
  const { key } = await createKey(f.ledger, f.owner, BANK_FEED);
  const leave = (here: boolean) =>
    superuser.query('update ledger.member set issuer = $2 where user_id = $1', [
      NORTHWIND.owner.userId,
      here ? f.provider.issuer.issuer : 'https://gone.example',
    ]);
  await leave(false);
  try {
    await withoutLog(async () => {
      await expect(enterWithKey(f.ledger, key.reveal())).rejects.toMatchObject({
        code: 'authz.key_refused',
      });
      // The log is told behind the answer; that it could not be is told here.
      await vi.waitFor(() => expect(unrecorded).toHaveBeenCalled(), { timeout: 10_000 });
    });
  } finally {
    await leave(true);
  }
});

/** All that the organisations have: rows, and API keys. */
const everything = async (): Promise<string> => {
  const { rows } = await superuser.query(
    `select c.oid::regclass::text as name from pg_class c
      where c.relnamespace = 'ledger'::regnamespace and c.relkind = 'r' or c.oid = 'authz.api_key'::regclass order by 1`,
  );
  const tables: unknown[] = [];
  for (const { name } of rows)
    tables.push([name, (await superuser.query(`select t.*::text from ${name} t order by 1`)).rows]);
  return JSON.stringify(tables);
};

test.each<[string, () => Promise<unknown>]>([
  ['a sign-in', () => f.enter(NORTHWIND.bookkeeper)],
  ['a change', () => postEntry(f.ledger, f.bookkeeper, { ...ENTRY, bankReference: 'PO-UNLOGGED' })],
  ['an approval', () => approveEntry(f.ledger, f.controller, entry, 'fine')],
  ['a review', () => reviewEntry(f.ledger, f.reviewer, entry, 'seen')],
  ['an attachment', () => attachFile(f.ledger, f.bookkeeper, entry, 'r.txt', Readable.from(['paid']))],
  ['a statement that is handed in', () => enqueueImport(f.ledger, f.bookkeeper, 'a.csv', 'x')],
  ['a change of roles', () => giveRoles(f.ledger, f.owner, NORTHWIND.auditor.userId, ['owner'])],
  ['a change of settings', () => requireSecondFactor(f.ledger, f.owner, 'on')],
  ['a read', () => readEntry(f.ledger, f.controller, entry)],
  ['a search', () => findByBankReference(f.ledger, f.controller, ENTRY.bankReference)],
  ['a read of reviews', () => reviewsOf(f.ledger, f.controller, entry)],
  ['a read of the log', () => readLog(f.ledger, f.auditor, { limit: 1 })],
  ['a verification of the log', () => verifyLog(f.ledger, f.auditor)],
])('%s that is allowed does not happen', async (_, run) => {
  const before = await everything();
  const more = await withoutLog(async () => {
    await expect(run()).rejects.toMatchObject({ code: '42501' });
  });
  expect(more).toBe(0);
  expect(await everything()).toBe(before);
});

test('an import is tried until there is a log, and is then done whole', async () => {
  const csv = `booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency
2026-01-05,U1,Staples,Paper,PO-1,-12.30,100.00,USD`;
  await f.ledger.queue.offWork(STATEMENT_IMPORT);
  const statement = await enqueueImport(f.ledger, f.bookkeeper, 'a.csv', csv);
  const before = await everything();
  const tried = async () =>
    (await superuser.query('select from pgboss.job where retry_count > 0 or state = $1', ['retry'])).rowCount;
  await withoutLog(async () => {
    await workImports(f.ledger);
    await expect.poll(tried, { timeout: 20_000 }).toBe(1);
    expect(await everything()).toBe(before);
  });
  await imported(f.ledger, f.bookkeeper, statement);
  expect(await statementLines(f.ledger, f.bookkeeper, statement)).toHaveLength(1);
});

test('a key is not ended without an event: it opens what it opened, and is ended once there is a log', async () => {
  const { id, key } = await createKey(f.ledger, f.owner, BANK_FEED);
  await withoutLog(async () => {
    await expect(revokeKey(f.ledger, f.owner, id)).rejects.toMatchObject({ code: '42501' });
  });
  expect(await f.ledger.apiKeyStore.find(id)).not.toHaveProperty('revokedAt');
  await enterWithKey(f.ledger, key.reveal());
  await revokeKey(f.ledger, f.owner, id);
  await expect(enterWithKey(f.ledger, key.reveal())).rejects.toMatchObject({ reason: 'revoked' });
  const { rows } = await superuser.query(
    "select from audit.event where action = 'api_key.revoked' and target = $1",
    [`api_key:${id}`],
  );
  expect(rows).toHaveLength(1);
});

test('while the log answers nothing, a refused request waits for it and is refused', async () => {
  let answered = false;
  await superuser.query('begin');
  await superuser.query('lock table audit.event in access exclusive mode');
  const refused = approveEntry(f.ledger, f.auditor, entry, 'x').then(
    () => 'allowed',
    (error: { code?: string }) => error.code,
  );
  void refused.then(() => {
    answered = true;
  });
  let waiting = 0;
  while (waiting === 0) {
    const { rows } = await superuser.query(
      `select count(*)::int as n from pg_locks where not granted and relation = 'audit.event'::regclass`,
    );
    waiting = rows[0].n;
  }
  expect({ answered, status: await statusOf(entry) }).toEqual({ answered: false, status: 'posted' });
  await superuser.query('commit');
  expect(await refused).toBe('authz.denied');
  const { rows } = await superuser.query(
    `select from audit.event where action = 'access.denied' and actor = $1`,
    [f.auditor.actor],
  );
  expect(rows).toHaveLength(1); // those of the tests before could not be recorded
});
