/**
 * Sealings that do not end: a transaction of the app role that called a sealing function and stays open, by accident or
 * because injected SQL wants it so. It stops the chains it took, and no other.
 */
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { createAudit, type OrgId, parseOrgId, type QueryExecutor } from '../src/index.ts';
import { errorOf, events, type Fixture, fixture, withoutLockWait } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

beforeEach(() => f.audit.sealPending());

let orgs = 0;
const newOrg = () => parseOrgId(`0190f5d2-7b1c-7d34-9a53-${String(++orgs).padStart(12, '0')}`);
const login = () => f.audit.prepare('login.succeeded', { outcome: 'success' });

/** An organisation whose chain has a first event. */
async function orgWithChain(): Promise<OrgId> {
  const org = newOrg();
  await f.append(org, login());
  return org;
}

/** Commits an event that nobody seals, and gives its id. */
async function leave(org: OrgId): Promise<string> {
  const { id, query } = login();
  await f.inOrg(org, (trx) => trx.executeQuery({ ...query, parameters: query.parameters.with(-1, false) }));
  return id;
}

/** A session of the app role that may stay in a transaction; what it holds goes with it. */
async function inSession<T>(run: (session: pg.Client) => Promise<T>): Promise<T> {
  const session = new pg.Client({ connectionString: f.database.appUrl });
  session.on('error', () => {});
  await session.connect();
  try {
    return await run(session);
  } finally {
    await session.end();
  }
}

/** Organisations among these whose chain somebody holds. */
async function heldOf(...these: readonly OrgId[]): Promise<OrgId[]> {
  const { rows } = await sql<{ org_id: OrgId }>`
    with free as materialized (select h.org_id from audit.head h for update skip locked)
    select o.org_id from unnest(${these}::uuid[]) o(org_id) where o.org_id not in (select org_id from free)`.execute(
    f.superuser,
  );
  return rows.map(({ org_id }) => org_id);
}

const verified = (org: OrgId) => f.inOrg(org, (trx) => f.audit.verify(trx, org));

const SEAL = 'select seq from audit.seal_pending($1::uuid[], $2::uuid[])';

test('a transaction that sealed an event of one organisation and stays open stops no other', async () => {
  const [held, free] = [await orgWithChain(), await orgWithChain()];
  const [first, alsoQueued] = [await leave(held), await leave(free)];
  const later = login();
  const place = await inSession(async (session) => {
    await session.query('begin');
    expect((await session.query(SEAL, [[first], [held]])).rows).toEqual([{ seq: '2' }]);
    expect(await heldOf(held, free)).toEqual([held]);
    expect((await withoutLockWait(f.superuser, f.append(free, login()))).orgSeq).toBe(3);
    // Its own events commit, and wait.
    const result = await withoutLockWait(
      f.superuser,
      f.inOrg(held, (trx) => trx.executeQuery(later.query)),
    );
    await withoutLockWait(f.superuser, f.audit.sealPending());
    expect(await f.audit.stats()).toMatchObject({ pending: 2 }); // both of the chain that is held
    const waiting = f.audit.sealed(later, result);
    await session.query('commit');
    return await waiting;
  });
  expect(place.orgSeq).toBe(3);
  const { rows } = await sql`select seq from audit.seal where event_id = ${alsoQueued}`.execute(f.superuser);
  expect(rows).toEqual([{ seq: '2' }]);
  for (const org of [held, free]) expect(await verified(org)).toMatchObject({ ok: true, checked: 3 });
});

test('a transaction takes one chain of those that wait, however often it tries', async () => {
  const waiting = [await orgWithChain(), await orgWithChain(), await orgWithChain()];
  for (const org of waiting) await leave(org);
  await inSession(async (session) => {
    const refused = { constraint: 'audit.sealer_transaction' };
    const all = 'select audit.seal_next(0) from generate_series(1, 3)';
    expect(await errorOf(session.query(all))).toMatchObject(refused);
    await session.query('begin'); // the error is told before its transaction is over; this is answered behind it
    expect(await heldOf(...waiting)).toEqual([]);
    await session.query('select audit.seal_next(0)');
    await session.query('savepoint again');
    expect(await errorOf(session.query('select audit.seal_next(0)'))).toMatchObject(refused);
    await session.query('rollback to again');
    expect(await heldOf(...waiting)).toHaveLength(1);
    await withoutLockWait(f.superuser, f.audit.sealPending());
    expect(await f.audit.stats()).toMatchObject({ pending: 1 });
  });
  await f.audit.sealPending();
  expect(await f.audit.stats()).toMatchObject({ pending: 0 });
});

test('a statement that seals and then sleeps stops no other organisation', async () => {
  const [one, other, untouched] = [await orgWithChain(), await orgWithChain(), await orgWithChain()];
  for (const org of [one, other]) await leave(org);
  await inSession(async (session) => {
    const sleeping = errorOf(session.query('select audit.seal_next(0), pg_sleep(600)'));
    const asleep = () =>
      sql<{ pid: number }>`select pid from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'`.execute(f.superuser);
    while ((await asleep()).rows.length === 0);
    expect(await heldOf(one, other)).toHaveLength(1);
    await withoutLockWait(f.superuser, f.audit.sealPending());
    expect(await f.audit.stats()).toMatchObject({ pending: 1 });
    expect((await withoutLockWait(f.superuser, f.append(untouched, login()))).orgSeq).toBe(2);
    await sql`select pg_cancel_backend(${(await asleep()).rows[0]?.pid})`.execute(f.superuser);
    expect(await sleeping).toMatchObject({ code: '57014' });
  });
  await f.audit.sealPending();
  for (const org of [one, other]) expect(await verified(org)).toMatchObject({ ok: true, checked: 2 });
});

test('who knows an organisation but none of its queued events cannot take its chain', async () => {
  const [mine, other] = [await orgWithChain(), await orgWithChain()];
  const [queued, sealed] = [await leave(mine), await leave(other)];
  await f.audit.sealPending();
  const kept = [await leave(mine), await leave(other)];
  await inSession(async (session) => {
    await session.query('begin');
    const guesses = [queued, sealed, kept[0], crypto.randomUUID(), null];
    expect((await session.query(SEAL, [guesses, guesses.map(() => other)])).rows).toEqual([{ seq: '2' }]);
    expect((await session.query(SEAL, [[], []])).rows).toEqual([]);
    expect((await session.query(SEAL, [[], [other, mine]])).rows).toEqual([]);
    expect(await heldOf(mine, other)).toEqual([]);
    expect(await f.audit.stats()).toMatchObject({ pending: 2 });
  });
  await f.audit.sealPending();
});

test.each(['repeatable read', 'serializable'])('nobody seals in %s', async (isolation) => {
  const org = await orgWithChain();
  const id = await leave(org);
  await inSession(async (session) => {
    for (const query of [{ text: SEAL, values: [[id], [org]] }, { text: 'select audit.seal_next(0)' }]) {
      await session.query(`begin isolation level ${isolation}`);
      const refused = await errorOf(session.query(query));
      expect(refused).toMatchObject({ constraint: 'audit.sealer_isolation' });
      await session.query('rollback');
    }
  });
  await f.audit.sealPending();
});

test('refuses to seal in a transaction that has written, which would hold the chain while the rest of it runs', async () => {
  const org = await orgWithChain();
  const id = await leave(org);
  await f.inOrg(org, async (trx) => {
    await sql`insert into app.entry values (${id}, 'draft')`.execute(trx);
    const audit = createAudit({ events, db: trx });
    const receipt = { ...login(), id };
    for (const run of [() => audit.sealed(receipt), () => audit.sealPending()]) {
      await sql`savepoint before`.execute(trx);
      expect(await errorOf(run())).toMatchObject({ code: 'audit.sealer_transaction', retryable: false });
      await sql`rollback to before`.execute(trx);
    }
    expect(await heldOf(org)).toEqual([]);
  });
  await f.audit.sealPending();
});

test('a session that sealed and forgets to commit is ended, and its events are sealed by another', async () => {
  const org = await orgWithChain();
  const id = await leave(org);
  await inSession(async (session) => {
    const ended = new Promise((resolve) => session.once('end', resolve));
    await session.query('begin');
    await session.query(SEAL, [[id], [org]]);
    await ended;
  });
  const later = await f.append(org, login());
  expect(later.orgSeq).toBe(3);
  expect(await verified(org)).toMatchObject({ ok: true, checked: 3 });
});

test('who asks for a chain that is held is told so, before the session that holds it is ended', async () => {
  const org = await orgWithChain();
  const first = await leave(org);
  await inSession(async (session) => {
    await session.query('begin');
    await session.query(SEAL, [[first], [org]]);
    const second = await leave(org);
    await inSession(async (other) => {
      expect((await other.query(SEAL, [[second], [org]])).rows).toEqual([{ seq: null }]);
    });
  });
});

test('leaves a limit for idle transactions that the operator has set as it is', async () => {
  const org = await orgWithChain();
  const show = 'show idle_in_transaction_session_timeout';
  await inSession(async (session) => {
    for (const [own, meanwhile] of [
      ['0', '5s'],
      ['1min', '1min'],
    ]) {
      await session.query(`set idle_in_transaction_session_timeout = '${own}'`);
      await session.query('begin');
      await session.query(SEAL, [[await leave(org)], [org]]);
      expect((await session.query(show)).rows).toEqual([{ idle_in_transaction_session_timeout: meanwhile }]);
      await session.query('commit');
      expect((await session.query(show)).rows).toEqual([{ idle_in_transaction_session_timeout: own }]);
    }
  });
});

test('a sealing whose session is killed leaves its events to the next one', async () => {
  const org = await orgWithChain();
  const ids = [await leave(org), await leave(org)];
  await inSession(async (session) => {
    const { rows } = await session.query<{ pid: number }>('select pg_backend_pid() as pid');
    await session.query('begin');
    expect((await session.query(SEAL, [[ids[1]], [org]])).rows).toEqual([{ seq: '3' }]);
    const ended = new Promise((resolve) => session.once('end', resolve));
    await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(f.superuser);
    await ended;
  });
  await f.audit.sealPending();
  const { rows } =
    await sql`select event_id, seq from audit.seal where org_id = ${org} and seq > 1 order by seq`.execute(
      f.superuser,
    );
  expect(rows).toEqual([
    { event_id: ids[0], seq: '2' },
    { event_id: ids[1], seq: '3' },
  ]);
  expect(await verified(org)).toMatchObject({ ok: true, checked: 3 });
});

test('a chain that somebody begins and does not commit stops no other, not even another that begins', async () => {
  const [begun, other] = [newOrg(), newOrg()];
  const first = await leave(begun);
  await inSession(async (session) => {
    await session.query('begin');
    expect((await session.query(SEAL, [[first], [begun]])).rows).toEqual([{ seq: '1' }]);
    const [second, receipt] = [await leave(begun), login()];
    const result = await f.inOrg(other, (trx) => trx.executeQuery(receipt.query), {
      isolation: 'serializable',
    });
    // One call for both.
    const [waiting, sealed] = [f.audit.sealed({ ...login(), id: second }), f.audit.sealed(receipt, result)];
    expect((await sealed).orgSeq).toBe(1);
    await session.query('commit');
    expect((await waiting).orgSeq).toBe(2);
  });
  expect(await verified(begun)).toMatchObject({ ok: true, checked: 2 });
});

test('sealing what is left comes to an end while others go on committing', async () => {
  const org = await orgWithChain();
  let calls = 0;
  const db: QueryExecutor = {
    isTransaction: false,
    executeQuery: async (query) => {
      expect(++calls).toBeLessThan(10);
      await leave(org);
      return await f.app.executeQuery(query);
    },
  };
  await leave(org);
  await createAudit({ events, db }).sealPending();
  await f.audit.sealPending();
  expect(await f.audit.stats()).toMatchObject({ pending: 0 });
});

test('an event that another sealing puts into the chain in the middle of a call is not taken for lost', async () => {
  const org = await orgWithChain();
  const [sealed, moving] = [login(), login()];
  await f.append(org, sealed);
  const result = await f.inOrg(org, (trx) => trx.executeQuery(moving.query), { isolation: 'serializable' });
  // A call that reads a link stops there for as long as the superuser holds the lock.
  await sql`create function app.gate() returns boolean language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(1); return true; end $$`.execute(f.owner);
  await sql`alter policy look_up on audit.seal using (app.gate())`.execute(f.owner);
  await sql`select pg_advisory_lock(1)`.execute(f.superuser);
  try {
    const places = await inSession(async (session) => {
      await session.query('begin');
      await session.query('select audit.seal_next(0)'); // reads no link
      const call = Promise.all([f.audit.sealed(sealed, result), f.audit.sealed(moving, result)]); // both queued, as far as it knows
      call.catch(() => {}); // awaited below
      const stopped = () =>
        sql`select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`.execute(
          f.superuser,
        );
      while ((await stopped()).rows.length === 0);
      await session.query('commit');
      await sql`select pg_advisory_unlock(1)`.execute(f.superuser);
      return await call;
    });
    expect(places.map(({ orgSeq }) => orgSeq)).toEqual([2, 3]);
  } finally {
    await sql`select pg_advisory_unlock_all()`.execute(f.superuser);
    await sql`alter policy look_up on audit.seal using (true)`.execute(f.owner);
  }
});

test('two processes that ask for one event are told the same, whichever seals it', async () => {
  const org = await orgWithChain();
  const processes = [createAudit({ events, db: f.app }), createAudit({ events, db: f.app })];
  for (let round = 0; round < 150; round++) {
    const receipt = login();
    const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query), {
      isolation: 'serializable',
    });
    const told = await Promise.all(processes.map((audit) => audit.sealed(receipt, result)));
    expect(told.map(({ orgSeq }) => orgSeq)).toEqual([round + 2, round + 2]);
  }
});
