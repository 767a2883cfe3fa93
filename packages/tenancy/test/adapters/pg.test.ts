import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createPgTenancy, type OrgPool } from '../../src/pg/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B } from '../fixture.ts';
import { countedPool } from './round-trips.ts';

/** One physical connection, so that whoever comes next borrows what came before. */
let f: Fixture;
let a: OrgPool;
let b: OrgPool;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
  const tenancy = createPgTenancy({ pool: f.pool, contextKey: f.contextKey });
  a = tenancy.forOrg(ORG_A, ALICE);
  b = tenancy.forOrg(ORG_B, { actor: 'user:bob' });
});
afterAll(() => f.close());

const OWN_A = [{ org_id: ORG_A, id: 'n1' }];
const OWN_B = [{ org_id: ORG_B, id: 'n1' }];
const notesOf = async (db: Pick<OrgPool, 'query'>) =>
  (await db.query('select org_id, id from app.note order by id')).rows;
const labelled = async (label: string) =>
  (await a.query('select id from app.tag where label = $1 order by id', [label])).rows.map(({ id }) => id);
const ADD_TAG = 'insert into app.tag (id, label) values ($1, $2)';

async function withClient<T>(run: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await a.connect();
  try {
    return await run(client);
  } finally {
    client.release();
  }
}

describe('the pool of an organisation', () => {
  test('sees the rows of its organisation only, whoever had the connection before', async () => {
    expect(await notesOf(a)).toEqual(OWN_A);
    expect(await notesOf(b)).toEqual(OWN_B);
    expect((await a.query('select id from app.note where org_id = $1', [ORG_B])).rows).toEqual([]);
  });

  test('refuses to write or move a row into another organisation, and is well after it', async () => {
    const insert = a.query('insert into app.note (org_id, id, body) values ($1, $2, $3)', [ORG_B, 'x', 'x']);
    expect(await codeOf(insert)).toBe('tenancy.cross_org_write');
    expect(await codeOf(a.query('update app.note set org_id = $1', [ORG_B]))).toBe('tenancy.cross_org_write');
    expect(await notesOf(b)).toEqual(OWN_B);
  });

  test('answers as the driver does: command, counts, fields, types, arrays', async () => {
    const plain = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    const parsers = { getTypeParser: () => (value: string) => `<${value}>` };
    const at = new Date(0);
    const queries: (pg.QueryConfig & { rowMode?: 'array' })[] = [
      {
        text: 'select $1::int as n, $2::timestamptz as at, $3::int[] as list, null as nothing',
        values: [7, at, [1, 2]],
      },
      { text: 'select 1 as x, 2 as x, true as y', rowMode: 'array' as const },
      { text: 'select n, n * 2.5 as m from generate_series(1, 3) n', types: parsers as never },
      { text: 'select $1::jsonb as j, $2::bytea as b', values: [{ a: [1] }, Buffer.from([0, 255])] },
      { text: 'select from generate_series(1, 2)' },
      { text: "set local work_mem = '1MB'" },
    ];
    for (const query of queries) {
      const { command, rowCount, fields, rows } = await plain.query(query);
      expect(await a.query(query)).toMatchObject({ command, rowCount, fields, rows });
    }
    await plain.end();
    const written = await a.query(`${ADD_TAG} returning id`, ['r1', 'result']);
    expect(written).toMatchObject({ command: 'INSERT', rowCount: 1, rows: [{ id: 'r1' }] });
  });

  test('does not carry the parsers or the row mode of one query over to the next with the same text', async () => {
    const text = 'select 1 as n';
    const parsers = { getTypeParser: () => () => 'parsed' };
    expect((await a.query({ text, rowMode: 'array', types: parsers as never })).rows).toEqual([['parsed']]);
    expect((await a.query(text)).rows).toEqual([{ n: 1 }]);
  });

  test.each(['begin', 'COMMIT', ' rollback;', '/* x */ start transaction', '-- x\nsavepoint s'])(
    'refuses %j, whose connection would be another than the next statement’s',
    async (text) => {
      await expect(a.query(text)).rejects.toThrow(/use the client of connect/);
    },
  );

  test('refuses what it cannot carry instead of ignoring it', async () => {
    const query = a.query.bind(a) as (...given: unknown[]) => Promise<unknown>;
    await expect(query('select 1', () => {})).rejects.toThrow(/callbacks/);
    await expect(query('select 1', [], () => {})).rejects.toThrow(/callbacks/);
    await expect(query(new pg.Query('select 1'))).rejects.toThrow(/streams/);
    await expect(query({ text: 'select 1', binary: true })).rejects.toThrow(/binary/);
    await expect(query(undefined)).rejects.toThrow(TypeError);
    await expect(query('copy app.note to stdout')).rejects.toThrow(/COPY/);
    await expect(query('listen x')).rejects.toThrow(/LISTEN/);
    expect(await codeOf(query('select 1; select 2'))).toBe('42601');
    await expect(
      Reflect.apply(a.connect as unknown as (callback: unknown) => Promise<unknown>, a, [() => {}]),
    ).rejects.toThrow(/callbacks/);
    expect(await notesOf(b)).toEqual(OWN_B);
  });

  test('reaches neither the shared pool nor a client of it, and makes no connection of its own', async () => {
    expect(a).toBeInstanceOf(pg.Pool);
    const inherited = pg.Pool.prototype.connect as unknown as () => unknown;
    expect(() => inherited.call(a)).toThrow(/makes no connections/);
    expect(a.totalCount).toBe(0);
    const seen = new Set<unknown>();
    const search = (value: unknown): boolean => {
      if (typeof value !== 'object' || value === null || seen.has(value)) return false;
      seen.add(value);
      if (value === f.pool || value instanceof pg.Client) return true;
      return Reflect.ownKeys(value).some((key) => search(Reflect.get(value, key)));
    };
    expect(search(a)).toBe(false);
    expect(await withClient(async (client) => search(client))).toBe(false);
  });

  test('runs nothing after end(), and leaves the connections to the others', async () => {
    const own = createPgTenancy({ pool: f.pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    await own.end();
    await expect(own.query('select 1')).rejects.toThrow(/closed/);
    await expect(own.connect()).rejects.toThrow(/closed/);
    expect(await notesOf(b)).toEqual(OWN_B);
  });
});

describe('a transaction', () => {
  test('commits and rolls back', async () => {
    await withClient(async (client) => {
      for (const [id, end] of [
        ['c1', 'commit'],
        ['c2', 'ROLLBACK'],
        ['c3', 'END;'],
        ['c4', 'abort work'],
      ]) {
        expect(await client.query('begin')).toMatchObject({ command: 'BEGIN', rowCount: null, rows: [] });
        await client.query(ADD_TAG, [id, 'ends']);
        await client.query(end as string);
      }
    });
    expect(await labelled('ends')).toEqual(['c1', 'c3']);
  });

  test('undoes to a savepoint, whatever the spelling of its name', async () => {
    await withClient(async (client) => {
      await client.query('begin');
      await client.query('savepoint One');
      await client.query(ADD_TAG, ['s1', 'saved']);
      expect(await codeOf(client.query('select 1/0'))).toBe('22012');
      await client.query('rollback to savepoint ONE');
      await client.query('savepoint "Two ""2"""');
      await client.query(ADD_TAG, ['s2', 'saved']);
      await client.query('release savepoint "Two ""2"""');
      await client.query('commit');
    });
    expect(await labelled('saved')).toEqual(['s2']);
  });

  test('takes its isolation level from BEGIN or from SET TRANSACTION right after it', async () => {
    const levelAfter = (...statements: string[]) =>
      withClient(async (client) => {
        for (const statement of statements) await client.query(statement);
        const { rows } = await client.query('show transaction_isolation');
        await client.query('commit');
        return rows[0].transaction_isolation;
      });
    expect(await levelAfter('begin isolation level serializable, read only')).toBe('serializable');
    expect(await levelAfter('START TRANSACTION', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')).toBe(
      'repeatable read',
    );
    const late = withClient(async (client) => {
      await client.query('begin');
      await client.query('select 1');
      await client.query('set transaction isolation level serializable');
    });
    expect(await codeOf(late)).toBe('25001');
  });

  test.each([
    'commit and chain',
    'commit prepared $1',
    "prepare transaction 'x'",
    'begin; select 1',
    'rollback to',
    'savepoint a b',
    'set transaction snapshot $1',
  ])('refuses %j: it would end or change the transaction past what the client knows', async (text) => {
    await withClient(async (client) => {
      await client.query('begin');
      await expect(client.query(text)).rejects.toThrow(/not supported/);
      await client.query('rollback');
    });
  });

  test('refuses to begin twice, and to end what has not begun', async () => {
    await withClient(async (client) => {
      await expect(client.query('commit')).rejects.toThrow(/no transaction/);
      await expect(client.query('savepoint s')).rejects.toThrow(/no transaction/);
      await client.query('begin');
      await expect(client.query('begin')).rejects.toThrow(/open already/);
      await client.query('rollback');
    });
  });

  test('keeps call order for statements that are not awaited', async () => {
    await withClient(async (client) => {
      const all = ['begin', `insert into app.tag (id, label) values ('o1', 'order')`, 'commit', 'begin'].map(
        (text) => client.query(text),
      );
      all.push(client.query(ADD_TAG, ['o2', 'order']), client.query('rollback'));
      await Promise.all(all);
    });
    expect(await labelled('order')).toEqual(['o1']);
  });

  test('reports a swallowed failure instead of pretending to commit, and rolls back cleanly', async () => {
    await withClient(async (client) => {
      await client.query('begin');
      await client.query(ADD_TAG, ['w1', 'swallowed']);
      await client.query('select 1/0').catch(() => {});
      expect(await codeOf(client.query('commit'))).toBe('tenancy.transaction_aborted');
      await client.query('rollback');
      expect(await notesOf(client)).toEqual(OWN_A);
    });
    expect(await labelled('swallowed')).toEqual([]);
  });

  test('that is still open when its client is released is undone', async () => {
    await withClient(async (client) => {
      await client.query('begin');
      await client.query(ADD_TAG, ['l1', 'left']);
    });
    expect(await labelled('left')).toEqual([]);
    expect(await notesOf(b)).toEqual(OWN_B);
  });

  test('runs nothing on a client that was released', async () => {
    const late = await a.connect();
    late.release();
    late.release();
    await b.connect().then(async (next) => {
      await next.query('begin');
      await expect(late.query('select * from app.note')).rejects.toThrow(/given back/);
      expect(await notesOf(next)).toEqual(OWN_B);
      await next.query('rollback');
      next.release();
    });
  });

  test.each([
    ['an odd comment', '/* /* nested */ */ begin'],
    ['a block', "do $$ begin execute 'commit'; end $$"],
  ])('hidden in %s gives the next borrower nothing', async (_, text) => {
    await withClient(async (client) => {
      await client.query(text).catch(() => {});
      expect(await notesOf(client)).toEqual(OWN_A);
    });
    expect(await notesOf(b)).toEqual(OWN_B);
    expect(await labelled('hidden')).toEqual([]);
  });

  test('ended behind its back runs no statement without a context', async () => {
    await withClient(async (client) => {
      await client.query('begin');
      await client.query('select 1');
      await client.query('/* /* nested */ */ commit');
      expect(await codeOf(client.query('select * from app.note'))).toBe('tenancy.no_context');
    });
    expect(await notesOf(b)).toEqual(OWN_B);
  });
});

test('round trips: a statement 1, a transaction of n statements n + 1, an empty transaction 0, a savepoint 1', async () => {
  const { pool, trips } = countedPool(f.database.appUrl);
  const db = createPgTenancy({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
  const transaction = async (...statements: string[]) => {
    const client = await db.connect();
    for (const statement of ['begin', ...statements, 'commit']) await client.query(statement);
    client.release();
  };
  await notesOf(db);
  expect(await trips(() => notesOf(db))).toBe(1);
  expect(await trips(() => transaction())).toBe(0);
  expect(await trips(() => transaction('select 1', 'select 2'))).toBe(3);
  expect(await trips(() => transaction('set transaction read only', 'select 1'))).toBe(2);
  expect(await trips(() => transaction('savepoint s', 'select 1', 'release s'))).toBe(4);
  await pool.end();
});
