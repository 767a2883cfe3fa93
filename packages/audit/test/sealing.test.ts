/** What happens between COMMIT and the seal, when a process dies or a transaction holds the chain. */
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createAudit, type OrgId, parseOrgId, type QueryExecutor } from '../src/index.ts';
import {
  errorOf,
  events,
  type Fixture,
  fixture,
  kyselyOf,
  ORG_A,
  type Tables,
  withoutLockWait,
} from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const login = () => f.audit.prepare('login.succeeded', { outcome: 'success' });
const orgNumber = (number: number) =>
  parseOrgId(`0190f5d2-7b1c-7d34-9a52-${String(number).padStart(12, '0')}`);

/** Commits an event of an organisation by a session that is then killed, before anybody seals. */
async function commitAndDie(org: OrgId): Promise<string> {
  const client = new pg.Client({ connectionString: f.database.appUrl });
  client.on('error', () => {});
  await client.connect();
  const receipt = login();
  await client.query('begin');
  await client.query(
    `select set_config('ringfence.org_id', $1, true), set_config('ringfence.actor', 'job', true)`,
    [org],
  );
  await client.query(receipt.query.sql, receipt.query.parameters.with(-1, false));
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  await client.query('commit');
  const ended = new Promise((resolve) => client.once('end', resolve));
  await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(f.superuser);
  await ended;
  return receipt.id;
}

test('reports, and the next call seals, what a process left between COMMIT and the seal', async () => {
  const org = orgNumber(1);
  await commitAndDie(org);
  const stats = await f.audit.stats();
  expect(stats.pending).toBe(1);
  expect(stats.oldestPendingAgeMs).toBeGreaterThan(0);
  const late = await f.inOrg(org, (trx) => f.audit.verify(trx, org, { unsealedAfterMs: 0 }));
  expect(late.findings).toMatchObject([{ class: 'unsealed', seq: null }]);
  expect(await f.inOrg(org, (trx) => f.audit.verify(trx, org))).toMatchObject({
    ok: true,
    checked: 0,
  });
  await f.audit.sealPending();
  expect(await f.audit.stats()).toMatchObject({ pending: 0, oldestPendingAgeMs: 0 });
  expect(await f.inOrg(org, (trx) => f.audit.verify(trx, org))).toMatchObject({
    ok: true,
    checked: 1,
  });
});

test('seals leftovers before newer events of the same organisation', async () => {
  const org = orgNumber(2);
  await f.append(org, login());
  const left = await commitAndDie(org);
  expect((await f.append(org, login())).orgSeq).toBe(3);
  const { rows } = await sql`select seq from audit.seal where event_id = ${left}`.execute(f.superuser);
  expect(rows).toEqual([{ seq: '2' }]);
});

test('never waits for a transaction that holds one chain when it seals the others', async () => {
  const held = orgNumber(3);
  const free = orgNumber(4);
  await f.append(held, login());
  const slow = login();
  await f.inOrg(held, async (trx) => {
    await trx.executeQuery(slow.query); // seals inside this transaction and so holds the head
    await commitAndDie(held);
    expect((await withoutLockWait(f.superuser, f.append(free, login()))).orgSeq).toBe(1);
  });
  expect((await f.append(held, login())).orgSeq).toBe(4);
  expect(await f.inOrg(held, (trx) => f.audit.verify(trx, held))).toMatchObject({
    ok: true,
    checked: 4,
  });
});

test('seals an event as soon as the transaction that holds its chain ends', async () => {
  const org = orgNumber(5);
  await f.append(org, login());
  const second = login();
  let place: Promise<{ orgSeq: number }> | undefined;
  await f.inOrg(org, async (trx) => {
    await trx.executeQuery(login().query);
    const result = await withoutLockWait(
      f.superuser,
      f.inOrg(org, (other) => other.executeQuery(second.query)),
    );
    place = f.audit.sealed(second, result);
    expect(await f.audit.stats()).toMatchObject({ pending: 1 });
  });
  expect((await place)?.orgSeq).toBe(3);
});

test('gives up, with the event kept, when a chain is held for too long', async () => {
  const org = orgNumber(6);
  await f.append(org, login());
  let nowMs = 0;
  const impatient = createAudit({ events, db: f.app, sealTimeoutMs: 1_000, now: () => (nowMs += 400) });
  const receipt = impatient.prepare('login.succeeded', { outcome: 'success' });
  await f.inOrg(org, async (trx) => {
    await trx.executeQuery(login().query);
    const result = await withoutLockWait(
      f.superuser,
      f.inOrg(org, (other) => other.executeQuery(receipt.query)),
    );
    expect(await errorOf(impatient.sealed(receipt, result))).toMatchObject({
      code: 'audit.not_sealed',
      retryable: true,
    });
  });
  expect((await f.audit.sealed(receipt)).orgSeq).toBe(3);
});

test('keeps one chain when two processes seal at the same time', async () => {
  const org = orgNumber(7);
  const other = createAudit({ events, db: f.app });
  const places = await Promise.all(
    Array.from({ length: 120 }, async (_, index) => {
      const audit = index % 2 === 0 ? f.audit : other;
      const receipt = audit.prepare('login.succeeded', { outcome: 'success' });
      const isolation = index % 3 === 0 ? 'serializable' : 'read committed';
      const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query), { isolation });
      return (await audit.sealed(receipt, index % 5 === 0 ? undefined : result)).orgSeq;
    }),
  );
  expect(places.sort((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, index) => index + 1));
  expect(await f.inOrg(org, (trx) => f.audit.verify(trx, org))).toMatchObject({
    ok: true,
    checked: 120,
  });
});

test('lets two processes begin the same chain at the same time', async () => {
  const processes = [f.audit, createAudit({ events, db: f.app })];
  for (let n = 0; n < 20; n++) {
    const org = orgNumber(11_000 + n);
    const places = await Promise.all(
      processes.map(async (audit) => {
        const receipt = audit.prepare('login.succeeded', { outcome: 'success' });
        const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
        return (await audit.sealed(receipt, result)).orgSeq;
      }),
    );
    expect(places.toSorted()).toEqual([1, 2]);
    expect(await f.inOrg(org, (trx) => f.audit.verify(trx, org))).toMatchObject({
      ok: true,
      checked: 2,
    });
  }
});

test('puts two events of one transaction into the chain in their order, together or not at all', async () => {
  const org = orgNumber(8);
  const pair = async (fail: boolean) => {
    const [first, second] = [login(), login()];
    const results = await f.inOrg(org, async (trx) => {
      const done = [await trx.executeQuery(first.query), await trx.executeQuery(second.query)];
      if (fail) throw new Error('rolled back');
      return done;
    });
    return [await f.audit.sealed(first, results[0]), await f.audit.sealed(second, results[1])].map(
      ({ orgSeq }) => orgSeq,
    );
  };
  expect(await pair(false)).toEqual([1, 2]);
  await expect(pair(true)).rejects.toThrow('rolled back');
  expect(await pair(false)).toEqual([3, 4]);
});

test('coalesces the sealing of concurrent events', async () => {
  const org = orgNumber(9);
  const before = (await f.audit.stats()).sealCalls;
  const receipts = Array.from({ length: 50 }, login);
  await f.inOrg(org, async (trx) => {
    for (const { query } of receipts) await trx.executeQuery(query);
  });
  await Promise.all(receipts.map((receipt) => f.audit.sealed(receipt)));
  expect((await f.audit.stats()).sealCalls - before).toBeLessThanOrEqual(2);
});

test('an event is left to the sealer while a sealing call is under way, and seals itself when none is', async () => {
  const org = orgNumber(9_001);
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const db: QueryExecutor = {
    isTransaction: false,
    executeQuery: async (query) => {
      await held;
      return await f.app.executeQuery(query);
    },
  };
  const audit = createAudit({ events, db });
  const prepare = () => audit.prepare('login.succeeded', { outcome: 'success' });
  const append = async (receipt = prepare()) => {
    const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
    return { sealed: audit.sealed(receipt, result), row: result.rows[0] as { seq: unknown } };
  };
  await f.append(org, login());
  expect((await append()).row.seq).toBe('2');
  const sealing = audit.sealPending();
  const { sealed, row } = await append();
  expect(row.seq).toBeNull();
  release();
  await sealing;
  expect(await sealed).toMatchObject({ orgSeq: 3 });
  expect((await append()).row.seq).toBe('4');
});

test('refuses to seal in a stricter isolation than READ COMMITTED', async () => {
  const url = new URL(f.database.appUrl);
  url.searchParams.set('options', '-c default_transaction_isolation=serializable');
  const strict = kyselyOf<Tables>(url.href, 1);
  try {
    const audit = createAudit({ events, db: strict });
    expect(await errorOf(audit.sealPending())).toMatchObject({ code: 'audit.sealer_isolation' });
  } finally {
    await strict.destroy();
  }
});

test('answers audit.unavailable when the database fails while sealing, and seals the event later', async () => {
  const org = orgNumber(10);
  let down = true;
  const flaky: QueryExecutor = {
    isTransaction: false,
    executeQuery: (query) =>
      down ? Promise.reject(new Error('connection lost')) : f.app.executeQuery(query),
  };
  const audit = createAudit({ events, db: flaky });
  const receipt = audit.prepare('login.succeeded', { outcome: 'success' });
  const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query), { isolation: 'serializable' });
  expect(await errorOf(audit.sealed(receipt, result))).toMatchObject({
    code: 'audit.unavailable',
    retryable: true,
  });
  down = false;
  expect((await audit.sealed(receipt, result)).orgSeq).toBe(1);
});

test('takes a result that is not the receipt’s for a mistake of the programmer', async () => {
  const foreign = { rows: [{ org: ORG_A, seq: 'many', hash: 'x' }] };
  await expect(f.audit.sealed(login(), foreign)).rejects.toThrow(TypeError);
});
