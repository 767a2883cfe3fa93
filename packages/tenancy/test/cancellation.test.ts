import { type CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { createTenancy, type OrgDb } from '../src/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from './fixture.ts';
import { startWireProxy, type WireProxy } from './wire-proxy.ts';

const CANCEL = 'cancel query';

let f: Fixture;
let proxy: WireProxy;
let superuser: pg.Client;
let pool: pg.Pool;
let a: OrgDb<Tables>;
let b: OrgDb<Tables>;
beforeAll(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {}); // Kysely reports the cancelled statement there
  f = await fixture(inject('databaseUrl'));
  proxy = await startWireProxy(f.database.appUrl);
  superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
  await superuser.query('grant execute on function pg_sleep to public');
});
afterAll(async () => {
  proxy.close();
  await superuser.end();
  await f.close();
});
beforeEach(() => {
  pool = new pg.Pool({ connectionString: proxy.url, max: 1 });
  pool.on('error', () => {});
  const tenancy = createTenancy<Tables>({ pool, contextKey: f.contextKey });
  a = tenancy.forOrg(ORG_A, ALICE);
  b = tenancy.forOrg(ORG_B, { actor: 'user:bob' });
});
afterEach(async () => {
  await pool.end();
});

const SLEEP = 'select pg_sleep(60)';
const sleep = (db: OrgDb<Tables>) => sql.raw(SLEEP).compile(db);
const tag = (db: Pick<OrgDb<Tables>, 'insertInto'>, id: string) =>
  db.insertInto('app.tag').values({ org_id: undefined, id, label: 'x' });

/** Sessions of the app role that run a statement with this text. */
async function running(text: string): Promise<number> {
  const { rows } = await superuser.query(
    `select pid from pg_stat_activity where usename = $1 and state = 'active' and query like $2`,
    [f.database.app, `%${text}%`],
  );
  return rows.length;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}

async function tagged(id: string): Promise<number> {
  const { rows } = await superuser.query('select from app.tag where id = $1', [id]);
  return rows.length;
}

/** Starts, waits until the server runs it, aborts; the reason the run rejects with is that of the signal. */
async function aborted(run: (signal: AbortSignal) => Promise<unknown>, text = SLEEP): Promise<void> {
  const controller = new AbortController();
  const reason = new Error('the user went away');
  const result = run(controller.signal).catch((error: unknown) => error);
  await until(async () => (await running(text)) === 1);
  controller.abort(reason);
  expect(await result).toBe(reason);
  await until(async () => (await running(text)) === 0);
}

describe('an abort that cancels', () => {
  test('ends the statement on the server and its connection, and the next one is well', async () => {
    await aborted((signal) => a.executeQuery(sleep(a), { signal, inflightQueryAbortStrategy: CANCEL }));
    expect(await b.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: ORG_B }]);
    expect(proxy.sessions).toBeGreaterThanOrEqual(3); // the statement, its cancel request, the next statement
  });

  test('ends a batch as a whole', async () => {
    await aborted((signal) =>
      a.batch([tag(a, 'batch'), { compile: () => sleep(a) }], { signal, inflightQueryAbortStrategy: CANCEL }),
    );
    expect(await tagged('batch')).toBe(0);
  });

  test('ends a stream that waits for rows, and not only when they come', async () => {
    await aborted(async (signal) => {
      const slow = sql<{ n: number }>`select 1 as n, pg_sleep(60)`.compile(a) as CompiledQuery<{ n: number }>;
      for await (const _ of a.getExecutor().stream(slow, 10, { signal }));
    }, 'fetch 10');
    expect(pool.totalCount).toBeLessThanOrEqual(1);
    expect(await b.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: ORG_B }]);
  });

  test('leaves nothing of its transaction, also when the callback swallows the abort', async () => {
    const swallowed: unknown[] = [];
    const committed = aborted((signal) =>
      a.transaction().execute(async (trx) => {
        await tag(trx, 'before').execute();
        await trx
          .executeQuery(sleep(a), { signal, inflightQueryAbortStrategy: CANCEL })
          .catch((error: unknown) => swallowed.push(error));
        expect(await codeOf(tag(trx, 'after').execute())).toBe('tenancy.transaction_aborted');
        throw swallowed[0];
      }),
    );
    await committed;
    const controller = new AbortController();
    const commit = a.transaction().execute(async (trx) => {
      await tag(trx, 'before').execute();
      const slow = trx.executeQuery(sleep(a), {
        signal: controller.signal,
        inflightQueryAbortStrategy: CANCEL,
      });
      const done = slow.catch(() => {});
      await until(async () => (await running(SLEEP)) === 1);
      controller.abort();
      await done;
    });
    expect(await codeOf(commit)).toBe('tenancy.transaction_aborted');
    expect(await tagged('before')).toBe(0);
    expect(await tagged('after')).toBe(0);
  });

  test('sends nothing when it comes before the statement was sent', async () => {
    await a.transaction().execute(async (trx) => {
      await tag(trx, 'first').execute();
      proxy.arm();
      const signal = AbortSignal.abort(new Error('too late'));
      await expect(tag(trx, 'unsent').execute({ signal })).rejects.toThrow('too late');
      const waiting = new AbortController();
      const queued = tag(b, 'unsent').execute({ signal: waiting.signal }); // the pool has one connection
      waiting.abort(new Error('gave up waiting'));
      await expect(queued).rejects.toThrow('gave up waiting');
      expect(proxy.passed).toEqual({ toServer: 0, toClient: 0 });
    });
    await a.getExecutor().provideConnection(async (connection) => {
      const waiting = new AbortController();
      const first = connection.executeQuery(sql`select 1`.compile(a));
      const second = connection.executeQuery(tag(a, 'unsent').compile(), { signal: waiting.signal });
      waiting.abort(new Error('gave up its turn'));
      await expect(second).rejects.toThrow('gave up its turn');
      await first;
    });
    expect(await tagged('first')).toBe(1);
    expect(await tagged('unsent')).toBe(0);
  });

  test('does not reach the next borrower, however late the request arrives', async () => {
    const deliver = proxy.holdCancels();
    const controller = new AbortController();
    const quick = sql.raw('select pg_sleep(0.3)').compile(a);
    const first = a.executeQuery(quick, { signal: controller.signal, inflightQueryAbortStrategy: CANCEL });
    const settled = first.catch((error: unknown) => error);
    await until(async () => (await running('pg_sleep(0.3)')) === 1);
    controller.abort();
    await settled;
    const next = sql<{ org: string }>`select org_id as org from app.note, pg_sleep(1)`.execute(b);
    const answer = next.catch((error: unknown) => error);
    await until(async () => (await running('app.note, pg_sleep(1)')) === 1);
    expect(await deliver()).toBeGreaterThan(0);
    expect(await answer).toMatchObject({ rows: [{ org: ORG_B }] });
  });
});

test('an abort that does not cancel leaves the statement and its connection alone', async () => {
  const controller = new AbortController();
  const run = a.executeQuery(sql.raw('select pg_sleep(0.2)').compile(a), { signal: controller.signal });
  const settled = run.catch((error: unknown) => error);
  await until(async () => (await running('pg_sleep(0.2)')) === 1);
  const before = proxy.sessions;
  controller.abort();
  expect(await settled).toBe(controller.signal.reason);
  expect(await b.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: ORG_B }]);
  expect(proxy.sessions).toBe(before);
});

test('many aborts at random moments cancel no statement of another organisation', async () => {
  const shared = new pg.Pool({ connectionString: f.database.appUrl, max: 4 });
  shared.on('error', () => {});
  const tenancy = createTenancy<Tables>({ pool: shared, contextKey: f.contextKey });
  const outcomes = { cancelled: 0, finished: 0, foreign: 0 };
  const impatient = async () => {
    const db = tenancy.forOrg(ORG_A, ALICE);
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), Math.random() * 8);
    const query = sql<{ org: string }>`select org_id as org from app.note, pg_sleep(0.002)`.compile(db);
    const options = { signal: controller.signal, inflightQueryAbortStrategy: CANCEL } as const;
    try {
      const { rows } = await db.executeQuery(query, options);
      outcomes.finished++;
      if (rows.some(({ org }) => org !== ORG_A)) outcomes.foreign++;
    } catch (error) {
      expect(error).toBe(controller.signal.reason);
      outcomes.cancelled++;
    } finally {
      clearTimeout(timer);
    }
  };
  const patient = async () => {
    const db = tenancy.forOrg(ORG_B, { actor: 'user:bob' });
    const { rows } = await sql<{ org: string }>`select org_id as org from app.note, pg_sleep(0.001)`.execute(
      db,
    );
    expect(rows).toEqual([{ org: ORG_B }]);
  };
  const repeat = async (times: number, run: () => Promise<void>) => {
    for (let time = 0; time < times; time++) await run();
  };
  await Promise.all(
    Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? repeat(50, impatient) : repeat(50, patient))),
  );
  expect(outcomes.foreign).toBe(0);
  expect(outcomes.cancelled + outcomes.finished).toBe(200);
  expect(outcomes.cancelled).toBeGreaterThan(0);
  await shared.end();
});
