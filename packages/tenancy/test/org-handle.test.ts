import type { EventEmitter } from 'node:events';
import { type CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { atCommit, createTenancy } from '../src/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from './fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

describe('a handle', () => {
  test('sees the rows of its organisation only', async () => {
    const rows = await f.tenancy.forOrg(ORG_A, ALICE).selectFrom('app.note').selectAll().execute();
    expect(rows).toEqual([{ org_id: ORG_A, id: 'n1', body: `note of ${ORG_A}` }]);
  });

  test('finds nothing when it asks for a row of another organisation by id', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const rows = await a.selectFrom('app.note').selectAll().where('org_id', '=', ORG_B).execute();
    expect(rows).toEqual([]);
    const updated = await a
      .updateTable('app.note')
      .set({ body: 'x' })
      .where('org_id', '=', ORG_B)
      .executeTakeFirst();
    expect(updated.numUpdatedRows).toBe(0n);
  });

  test('fills org_id from the context', async () => {
    const b = f.tenancy.forOrg(ORG_B, ALICE);
    await b.insertInto('app.tag').values({ org_id: undefined, id: 't1', label: 'x' }).execute();
    expect(await b.selectFrom('app.tag').select('org_id').execute()).toEqual([{ org_id: ORG_B }]);
  });

  test('refuses to write or move a row into another organisation', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const foreign = { org_id: ORG_B, id: 'stolen', body: 'x' };
    expect(await codeOf(a.insertInto('app.note').values(foreign).execute())).toBe('tenancy.cross_org_write');
    const move = a.updateTable('app.note').set({ org_id: ORG_B }).execute();
    expect(await codeOf(move)).toBe('tenancy.cross_org_write');
  });

  test('reports affected rows, types and SQL errors as plain Kysely does', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const { rows } = await sql<{ n: number; at: Date; list: number[] }>`
      select 7 as n, ${new Date(0)}::timestamptz as at, ${[1, 2]}::int[] as list`.execute(a);
    expect(rows).toEqual([{ n: 7, at: new Date(0), list: [1, 2] }]);
    const touched = await a
      .updateTable('app.note')
      .set({ body: `note of ${ORG_A}` })
      .executeTakeFirst();
    expect(touched.numUpdatedRows).toBe(1n);
    expect(await codeOf(sql`select 1/0`.execute(a))).toBe('22012');
    expect(await codeOf(sql`selekt`.execute(a))).toBe('42601');
    expect((await sql`select 1 as ok`.execute(a)).rows).toEqual([{ ok: 1 }]);
  });

  test('hands the actor and the request to the database', async () => {
    const a = f.tenancy.forOrg(ORG_A, { actor: 'user:alice', requestId: 'req-1', kind: 'job' });
    const { rows } =
      await sql`select tenancy.actor() as actor, tenancy.request_id() as request, tenancy.kind() as kind`.execute(
        a,
      );
    expect(rows).toEqual([{ actor: 'user:alice', request: 'req-1', kind: 'job' }]);
  });

  test.each(['a|b', '', 'x'.repeat(201), "a'b", 'a\nb', 'ü'])('refuses the actor %j', async (actor) => {
    expect(() => f.tenancy.forOrg(ORG_A, { actor })).toThrow(
      expect.objectContaining({
        code: 'tenancy.invalid_context',
        message: expect.stringContaining('such as user:ada'),
      }),
    );
  });

  test.each(['127.0.0.1', 'localhost', 'no-such-host.invalid'])(
    'says that nothing was sent when %s cannot be reached',
    async (host) => {
      const pool = new pg.Pool({ connectionString: `postgres://app:a-secret@${host}:1/x` });
      const handle = createTenancy<{ 'app.note': { id: string } }>({ pool }).forOrg(ORG_A, ALICE);
      const refused = await handle
        .selectFrom('app.note')
        .selectAll()
        .execute()
        .catch((error: Error) => error);
      expect(refused).toMatchObject({ code: 'tenancy.connection_lost' });
      expect((refused as Error).message).toMatch(/nothing was sent/);
      expect((refused as Error).message).not.toContain('a-secret');
      await pool.end();
    },
  );

  test('serves many organisations over one pool without mixing them up', async () => {
    const runs = Array.from({ length: 200 }, async (_, index) => {
      const org = index % 2 === 0 ? ORG_A : ORG_B;
      const rows = await f.tenancy.forOrg(org, ALICE).selectFrom('app.note').select('org_id').execute();
      return rows.every((row) => row.org_id === org);
    });
    expect(new Set(await Promise.all(runs))).toEqual(new Set([true]));
  });

  test('streams rows in chunks, and closes its transaction when the consumer stops early', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const numbers = sql<{ n: number }>`select n from generate_series(1, 250) n`.compile(a);
    let seen = 0;
    for await (const chunk of a
      .getExecutor()
      .stream<{ n: number }>(numbers as CompiledQuery<{ n: number }>, 100)) {
      seen += chunk.rows.length;
    }
    expect(seen).toBe(250);
    for await (const _ of a.getExecutor().stream(numbers, 10)) break;
    expect((await sql`select 1 as ok`.execute(a)).rows).toEqual([{ ok: 1 }]);
    expect(f.pool.idleCount).toBe(f.pool.totalCount);
  });
});

describe('the settings of a handle', () => {
  const asOrg = async (settings: Readonly<Record<string, string>>): Promise<unknown> => {
    const client = await f.pool.connect();
    try {
      await client.query('begin');
      for (const [name, value] of Object.entries(settings))
        await client.query('select set_config($1, $2, true)', [name, value]);
      const { rows } = await client.query('select c.org_id, c.actor from tenancy.context() c');
      return rows[0];
    } finally {
      await client.query('rollback');
      client.release();
    }
  };

  test('are what its statements run under, and name its own organisation and principal', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const b = f.tenancy.forOrg(ORG_B, { actor: 'user:bob' });
    expect(await asOrg(a.contextSettings())).toEqual({ org_id: ORG_A, actor: 'user:alice' });
    expect(await asOrg(b.contextSettings())).toEqual({ org_id: ORG_B, actor: 'user:bob' });
  });

  test('are signed: another organisation in them is refused, and so are they once they are old', async () => {
    const [[name = '', value = ''] = []] = Object.entries(f.tenancy.forOrg(ORG_A, ALICE).contextSettings());
    const run = asOrg({ [name]: value.replace(ORG_A, ORG_B) });
    await expect(run).rejects.toMatchObject({ constraint: 'tenancy.context_forged' });
    const past = createTenancy<Tables>({
      pool: f.pool,
      contextKey: f.contextKey,
      contextLifetimeMs: 1_000,
      now: () => Date.now() - 2_000,
    });
    await expect(asOrg(past.forOrg(ORG_A, ALICE).contextSettings())).rejects.toMatchObject({
      constraint: 'tenancy.context_expired',
    });
  });

  test('are renewed with the clock, so that a handle that lives long gives no old ones', () => {
    let nowMs = 1_790_000_000_000;
    const { pool, contextKey } = f;
    const handle = createTenancy<Tables>({ pool, contextKey, now: () => nowMs }).forOrg(ORG_A, ALICE);
    const first = handle.contextSettings();
    expect(handle.contextSettings()).toEqual(first);
    nowMs += 31_000;
    expect(handle.contextSettings()).not.toEqual(first);
  });
});

describe('a batch', () => {
  test('runs its statements in order and answers each', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const [inserted, found] = await a.batch([
      a.insertInto('app.tag').values({ org_id: ORG_A, id: 'b1', label: 'one' }),
      a.selectFrom('app.tag').select('label').where('id', '=', 'b1'),
    ]);
    expect(inserted.numAffectedRows).toBe(1n);
    expect(found.rows).toEqual([{ label: 'one' }]);
  });

  test('is atomic: a failing statement undoes the ones before it', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const insert = a.insertInto('app.tag').values({ org_id: ORG_A, id: 'b2', label: 'two' });
    expect(await codeOf(a.batch([insert, insert]))).toBe('23505');
    expect(await a.selectFrom('app.tag').selectAll().where('id', '=', 'b2').execute()).toEqual([]);
  });
});

describe('a transaction', () => {
  test('commits, and rolls back when its callback throws', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const add = (id: string, fail: boolean) =>
      a.transaction().execute(async (trx) => {
        await trx.insertInto('app.tag').values({ org_id: ORG_A, id, label: 'tx' }).execute();
        if (fail) throw new Error('changed my mind');
      });
    await add('tx1', false);
    await expect(add('tx2', true)).rejects.toThrow('changed my mind');
    const ids = await a.selectFrom('app.tag').select('id').where('label', '=', 'tx').execute();
    expect(ids).toEqual([{ id: 'tx1' }]);
  });

  test('honours isolation level and access mode although BEGIN travels with the first statement', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const level = await a
      .transaction()
      .setIsolationLevel('serializable')
      .setAccessMode('read only')
      .execute(
        async (trx) =>
          (await sql<{ transaction_isolation: string }>`show transaction_isolation`.execute(trx)).rows,
      );
    expect(level).toEqual([{ transaction_isolation: 'serializable' }]);
  });

  test('keeps statements in order when they are issued at once', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const seen = await a.transaction().execute(async (trx) => {
      const ids = [1, 2, 3].map((n) =>
        sql<{ id: string }>`select pg_current_xact_id()::text as id, ${n}::int`.execute(trx),
      );
      return new Set((await Promise.all(ids)).map((result) => result.rows[0]?.id));
    });
    expect(seen.size).toBe(1);
  });

  test('reports a swallowed failure instead of pretending to commit', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const run = a.transaction().execute(async (trx) => {
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'lost', label: 'x' }).execute();
      await sql`select 1/0`.execute(trx).catch(() => {});
    });
    expect(await codeOf(run)).toBe('tenancy.transaction_aborted');
  });

  test('rolls back to a savepoint and goes on', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const trx = await a.startTransaction().execute();
    const afterSavepoint = await trx.savepoint('before').execute();
    expect(await codeOf(sql`select 1/0`.execute(afterSavepoint))).toBe('22012');
    await afterSavepoint.rollbackToSavepoint('before').execute();
    await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'sp', label: 'sp' }).execute();
    await trx.commit().execute();
    expect(await a.selectFrom('app.tag').select('id').where('id', '=', 'sp').execute()).toHaveLength(1);
  });

  test('sends a statement queued for commit last, and only when it commits', async () => {
    const a = f.tenancy.forOrg(ORG_A, ALICE);
    const insert = (id: string) =>
      a.insertInto('app.tag').values({ org_id: ORG_A, id, label: 'queued' }).compile();
    const queued = await a.transaction().execute((trx) => atCommit(trx, insert('q1')));
    expect((await queued.result).numAffectedRows).toBe(1n);
    const failed = a.transaction().execute(async (trx) => {
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'q2', label: 'x' }).execute();
      await atCommit(trx, insert('q1'));
    });
    expect(await codeOf(failed)).toBe('23505');
    expect(await a.selectFrom('app.tag').select('id').where('id', '=', 'q2').execute()).toEqual([]);
    let dropped: Promise<unknown> | undefined;
    const thrown = a.transaction().execute(async (trx) => {
      dropped = (await atCommit(trx, insert('q3'))).result;
      throw new Error('no');
    });
    await expect(thrown).rejects.toThrow('no');
    expect(await codeOf(dropped as Promise<unknown>)).toBe('tenancy.transaction_aborted');
  });
});

describe('round trips', () => {
  /** Counts the trips to the server: each ends in the message that it is ready again. */
  async function trips(run: () => Promise<unknown>): Promise<number> {
    let count = 0;
    const counted = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    counted.on('connect', (client) => {
      const { connection } = client as unknown as { connection: EventEmitter };
      connection.on('readyForQuery', () => {
        count++;
      });
    });
    const tenancy = createTenancy<Tables>({ pool: counted, contextKey: f.contextKey });
    db = tenancy.forOrg(ORG_A, ALICE);
    await db.selectFrom('app.note').selectAll().execute();
    count = 0;
    await run();
    await counted.end();
    return count;
  }
  let db: ReturnType<Fixture['tenancy']['forOrg']>;

  test('a statement costs 1, a transaction of n costs n + 1, a batch 1, an empty transaction 0', async () => {
    const read = (of: typeof db) => of.selectFrom('app.note').selectAll();
    expect(await trips(() => read(db).execute())).toBe(1);
    expect(await trips(() => db.batch([read(db), read(db), read(db)]))).toBe(1);
    expect(await trips(() => db.transaction().execute(async () => {}))).toBe(0);
    const two = await trips(() =>
      db.transaction().execute(async (trx) => {
        await trx.selectFrom('app.note').selectAll().execute();
        await trx.selectFrom('app.note').selectAll().execute();
      }),
    );
    expect(two).toBe(3);
  });
});
