/** Events recorded together: one chain, each answered on its own, nothing acknowledged that is not there. */
import { CompiledQuery, type QueryResult, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import {
  createAudit,
  type EventInput,
  type OrgId,
  parseOrgId,
  type QueryExecutor,
  type SealedEvent,
} from '../src/index.ts';
import { events, type Fixture, fixture, ORG_A, ORG_B, waitingForLocks } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

type Posted = EventInput<(typeof events)['entry.posted']>;

const posted = (id: number): Posted => ({
  target: `e${id}`,
  outcome: 'success',
  data: { amount: '12.50' },
});

const orgOf = (n: number): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(n).padStart(12, '0')}`);

/** An audit log whose own executor counts statements and can be hooked before each. */
function counted(before?: (sql: string, turn: number) => Promise<void>) {
  const statements: string[] = [];
  const db: QueryExecutor = {
    isTransaction: false,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      statements.push(/append_batch|seal_pending/.exec(query.sql)?.[0] ?? query.sql);
      await before?.(query.sql, statements.length);
      return await f.app.executeQuery(query);
    },
  };
  return { audit: createAudit({ events, db }), statements };
}

async function verified(org: OrgId): Promise<number> {
  const report = await f.inOrg(org, (trx) => f.audit.verify(trx, org));
  expect(report).toMatchObject({ ok: true, findings: [] });
  return report.checked;
}

test('a hundred events at once are one statement, sealed in the order of the calls', async () => {
  const org = orgOf(1);
  const { audit, statements } = counted();
  const db = f.handle(org);
  const record = (n: number) => audit.record(db, 'entry.posted', posted(n));
  const first = await Promise.all(Array.from({ length: 100 }, (_, n) => record(n)));
  const second = await Promise.all(Array.from({ length: 100 }, (_, n) => record(100 + n)));
  expect([...first, ...second].map(({ orgSeq }) => orgSeq)).toEqual(
    Array.from({ length: 200 }, (_, n) => n + 1),
  );
  // The very first batch begins the chain, so the sealer takes it.
  expect(statements).toEqual(['append_batch', 'seal_pending', 'append_batch']);
  const { rows } = await sql<{ target: string }>`
    select e.target from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
     where s.org_id = ${org} order by s.seq`.execute(f.superuser);
  expect(rows.map(({ target }) => target)).toEqual(Array.from({ length: 200 }, (_, n) => `entry:e${n}`));
  expect(await verified(org)).toBe(200);
});

test('what comes while a statement is under way shares the next one', async () => {
  const org = orgOf(2);
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await f.append(org, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  const { audit, statements } = counted((_, turn) => (turn === 1 ? held : Promise.resolve()));
  const db = f.handle(org);
  const alone = audit.record(db, 'entry.posted', posted(0));
  await Promise.resolve();
  await Promise.resolve();
  const later = Array.from({ length: 40 }, (_, n) => audit.record(db, 'entry.posted', posted(n + 1)));
  release();
  await Promise.all([alone, ...later]);
  expect(statements).toHaveLength(2);
  expect(await verified(org)).toBe(42);
});

test('takes organisation and actor of a batch from the context alone', async () => {
  const db = f.handle(ORG_A);
  const sealed = await Promise.all([1, 2, 3].map((n) => f.audit.record(db, 'entry.posted', posted(n))));
  const { rows } = await sql<{ org_id: string; actor: string; canon: string }>`
    select org_id, actor, canon from audit.event where id = any(${sealed.map(({ id }) => id)}::uuid[])`.execute(
    f.superuser,
  );
  expect(rows).toHaveLength(3);
  for (const { org_id, actor, canon } of rows) {
    expect({ org_id, actor }).toEqual({ org_id: ORG_A, actor: 'user:alice' });
    expect(JSON.parse(canon)).toMatchObject({ org: ORG_A, actor: 'user:alice', request: 'req-1' });
  }
});

test('the records of a batch have the bytes they would have one by one', async () => {
  const org = orgOf(3);
  const db = f.handle(org);
  const text = 'quote " backslash \\ control \u0001 emoji 😀 line \u2028';
  const both = await Promise.all([
    f.audit.record(db, 'note.taken', { outcome: 'success', data: { text } }),
    f.audit.record(db, 'note.taken', { outcome: 'success', data: { text } }),
  ]);
  const { contextSettings: _, ...alone } = db;
  const one = await f.audit.record(alone, 'note.taken', { outcome: 'success', data: { text } });
  const { rows } = await sql<{ id: string; canon: string; at: string }>`
    select id, canon from audit.event where org_id = ${org}`.execute(f.superuser);
  const shape = (id: string) =>
    rows
      .find((row) => row.id === id)
      ?.canon.replace(id, 'ID')
      .replace(/"at":"[^"]+"/, '"at":"T"');
  expect(shape(both[0].id)).toBe(shape(one.id));
  expect(shape(both[1].id)).toBe(shape(one.id));
  expect(await verified(org)).toBe(3);
});

test('one bad event fails alone: a duplicate, between good ones', async () => {
  const org = orgOf(4);
  let turn = 0;
  // Every third event has the same random bytes and the same time, so the same id.
  const audit = createAudit({
    events,
    db: f.app,
    now: () => 1_790_000_000_000,
    random: (length) => new Uint8Array(length).fill(turn++ % 3 === 0 ? 0 : turn),
  });
  const answers = await Promise.allSettled(
    Array.from({ length: 7 }, (_, n) => audit.record(f.handle(org), 'entry.posted', posted(n))),
  );
  expect(answers.map(({ status }) => status === 'fulfilled')).toEqual([
    true,
    true,
    true,
    false,
    true,
    true,
    false,
  ]);
  for (const answer of answers)
    if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'audit.duplicate_event' });
  expect(await verified(org)).toBe(5);
});

test('an event that does not fit its definition never reaches the batch', async () => {
  const org = orgOf(5);
  const db = f.handle(org);
  const answers = await Promise.allSettled([
    f.audit.record(db, 'entry.posted', posted(1)),
    f.audit.record(db, 'entry.posted', { outcome: 'success' } as never),
    f.audit.record(db, 'note.taken', { outcome: 'success', data: { text: 'x'.repeat(70_000) } }),
    f.audit.record(db, 'entry.posted', posted(2)),
  ]);
  expect(answers.map((answer) => (answer.status === 'rejected' ? answer.reason.code : 'sealed'))).toEqual([
    'sealed',
    'audit.invalid_event',
    'audit.event_too_large',
    'sealed',
  ]);
  expect(await verified(org)).toBe(2);
});

test('is queued, and sealed later, while a transaction holds the chain', async () => {
  const org = orgOf(6);
  await f.append(org, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  const db = f.handle(org);
  let pending: Promise<SealedEvent>[] = [];
  await f.inOrg(org, async (trx) => {
    await trx.executeQuery(f.audit.prepare('login.succeeded', { outcome: 'success' }).query);
    pending = [1, 2, 3].map((n) => f.audit.record(db, 'entry.posted', posted(n)));
    const queued = async () => (await f.audit.stats()).pending;
    while ((await queued()) < 3) expect(await waitingForLocks(f.superuser)).toBe(0);
  });
  expect((await Promise.all(pending)).map(({ orgSeq }) => orgSeq)).toEqual([3, 4, 5]);
  expect(await verified(org)).toBe(5);
});

test('a batch waits for no batch of another process that holds some of its chains, and seals the others', async () => {
  const [held, free] = [[orgOf(11), orgOf(12)], [orgOf(13)]];
  const login = () => f.audit.prepare('login.succeeded', { outcome: 'success' });
  for (const org of [...held, ...free]) await f.append(org, login());
  const names = ['ringfence.org_id', 'ringfence.actor'];
  const bodies = held.map(() => '{"outcome":"success","type":"other.process"}');
  const other = CompiledQuery.raw(
    `select seq from audit.append_batch(array(select gen_random_uuid() from unnest($1::text[])),
       $1::text[], $2::int[], $3::text[], $4::text[], true) order by place`,
    [bodies, [1, 2], names, held.flatMap((org) => [org, 'user:other'])],
  );
  let answers: Promise<SealedEvent>[] = [];
  let atOnce: SealedEvent | undefined;
  await f.app.transaction().execute(async (trx) => {
    expect((await trx.executeQuery(other)).rows).toEqual([{ seq: '2' }, { seq: '2' }]); // and holds both chains
    answers = [...held, ...free].map((org) => f.audit.record(f.handle(org), 'entry.posted', posted(1)));
    void answers[2]?.then((sealed) => {
      atOnce = sealed;
    });
    const queued = async () => (await f.audit.stats()).pending;
    while (atOnce === undefined || (await queued()) < 2) expect(await waitingForLocks(f.superuser)).toBe(0);
  });
  expect((await Promise.all(answers)).map(({ orgSeq }) => orgSeq)).toEqual([3, 3, 2]);
  for (const org of held) expect(await verified(org)).toBe(3);
  expect(await verified(orgOf(13))).toBe(2);
});

test('a batch does not overtake an event that waits to be sealed', async () => {
  const org = orgOf(14);
  await f.append(org, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  const first = await f.inOrg(org, (trx) =>
    sql`select audit.append(gen_random_uuid(), '{"type":"waits"}', false)`.execute(trx),
  );
  expect(first.rows).toHaveLength(1);
  const together = await Promise.all(
    [1, 2].map((n) => f.audit.record(f.handle(org), 'entry.posted', posted(n))),
  );
  expect(together.map(({ orgSeq }) => orgSeq)).toEqual([3, 4]);
  const { rows } = await sql<{ seq: string }>`select s.seq from audit.seal s join audit.event e
    on e.org_id = s.org_id and e.id = s.event_id where s.org_id = ${org} and e.action = 'waits'`.execute(
    f.superuser,
  );
  expect(rows).toEqual([{ seq: '2' }]);
});

test('a batch in a stricter isolation leaves sealing to the sealer: its snapshot may be older than the chain', async () => {
  const org = orgOf(15);
  await f.append(org, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  const strict: QueryExecutor = {
    isTransaction: false,
    executeQuery: <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> =>
      query.sql.includes('append_batch')
        ? f.app
            .transaction()
            .setIsolationLevel('repeatable read')
            .execute(async (trx) => {
              const result = await trx.executeQuery(query);
              expect(result.rows).toMatchObject([{ seq: null }, { seq: null }]);
              return result;
            })
        : f.app.executeQuery(query),
  };
  const audit = createAudit({ events, db: strict });
  const sealed = await Promise.all([1, 2].map((n) => audit.record(f.handle(org), 'entry.posted', posted(n))));
  expect(sealed.map(({ orgSeq }) => orgSeq)).toEqual([2, 3]);
  expect(await verified(org)).toBe(3);
});

test('a lost connection rejects every event of the batch, and none of them is there', async () => {
  const org = orgOf(7);
  const { audit } = counted(async () => {
    throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
  });
  const db = f.handle(org);
  const answers = await Promise.allSettled([1, 2, 3].map((n) => audit.record(db, 'entry.posted', posted(n))));
  for (const answer of answers)
    expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'audit.outcome_unknown' } });
  expect(answers).toHaveLength(3);
  expect(await verified(org)).toBe(0);
});

test('the backend is killed in the middle of a batch: nothing half-written, and recording goes on', async () => {
  const org = orgOf(8);
  let kill = true;
  const db: QueryExecutor = {
    isTransaction: false,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> =>
      await f.app.transaction().execute(async (trx) => {
        const result = await trx.executeQuery(query);
        if (kill) await sql`select pg_terminate_backend(pg_backend_pid())`.execute(trx);
        return result;
      }),
  };
  const audit = createAudit({ events, db });
  const record = (n: number) => audit.record(f.handle(org), 'entry.posted', posted(n));
  const answers = await Promise.allSettled([1, 2, 3].map(record));
  for (const answer of answers)
    expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'audit.outcome_unknown' } });
  expect(answers).toHaveLength(3);
  expect(await verified(org)).toBe(0);
  kill = false;
  await Promise.all([4, 5].map(record));
  expect(await verified(org)).toBe(2);
});

test('refuses a transaction, and an executor without context', async () => {
  await f.inOrg(ORG_B, async (trx) => {
    await expect(f.audit.record(trx, 'entry.posted', posted(1))).rejects.toThrow(TypeError);
  });
  await expect(f.audit.record(f.app, 'entry.posted', posted(1))).rejects.toMatchObject({
    code: 'audit.no_context',
  });
});
