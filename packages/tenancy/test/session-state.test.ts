import { type CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createTenancy, type OrgDb } from '../src/index.ts';
import {
  ALICE,
  BIGINT_UNPARSABLE,
  codeOf,
  type Fixture,
  fixture,
  ORG_A,
  ORG_B,
  type Tables,
} from './fixture.ts';

/** One physical connection, so that whoever comes next borrows what the attacker had. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

let f: Fixture;
let a: OrgDb<Tables>;
let b: OrgDb<Tables>;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
});
afterAll(() => f.close());
beforeEach(() => {
  a = f.tenancy.forOrg(ORG_A, ALICE);
  b = f.tenancy.forOrg(ORG_B, { actor: 'user:bob' });
});

const notesOf = (db: OrgDb<Tables>) =>
  db.selectFrom('app.note').select(['org_id', 'id']).orderBy('id').execute();
const OWN_B = [{ org_id: ORG_B, id: 'n1' }];

describe('what a former borrower left', () => {
  test('a prepared statement replaced under its name does not run with the next context', async () => {
    await notesOf(b); // prepared by the driver
    await sql`
      do $$ declare victim record; begin
        for victim in select name, statement from pg_prepared_statements where not from_sql loop
          execute format('deallocate %I', victim.name);
          execute format('prepare %I as select set_config(''x.loot'', current_setting(''ringfence.context''), false) as org_id', victim.name);
        end loop;
      end $$`.execute(a);
    expect(await notesOf(b)).toEqual(OWN_B);
    const loot = await sql<{ loot: string | null }>`select current_setting('x.loot', true) as loot`.execute(
      a,
    );
    expect(loot.rows[0]?.loot ?? '').not.toContain(ORG_B);
  });

  test('statements deallocated behind the driver are prepared again', async () => {
    await notesOf(b);
    await sql`deallocate all`.execute(a);
    expect(await codeOf(notesOf(b)).catch(() => 'none')).toMatch(/none|26000/);
    expect(await notesOf(b)).toEqual(OWN_B);
  });

  test('statements outlive a migration that changes their result', async () => {
    await a.selectFrom('app.tag').selectAll().execute();
    await sql`alter table app.tag add column colour text`.execute(f.owner);
    await a
      .selectFrom('app.tag')
      .selectAll()
      .execute()
      .catch(() => {}); // may say: cached plan must not change result type
    expect(await a.selectFrom('app.tag').selectAll().execute()).toEqual([]);
  });

  test.each([
    ['string syntax', `select set_config('standard_conforming_strings', 'off', false)`],
    ['a time limit', `select set_config('statement_timeout', '1', false)`],
    ['a search path', `select set_config('search_path', 'evil', false)`],
    ['row security', `select set_config('row_security', 'off', false)`],
    [
      'its own context',
      `select set_config('ringfence.context', current_setting('ringfence.context'), false)`,
    ],
  ])('%s is reset before the next statement', async (_, injected) => {
    await sql.raw(injected).execute(a);
    expect(await notesOf(b)).toEqual(OWN_B);
    const { rows } = await sql<{ strings: string; path: string }>`
      select current_setting('standard_conforming_strings') as strings, current_setting('search_path') as path`.execute(
      b,
    );
    expect(rows).toEqual([{ strings: 'on', path: '"$user", public' }]);
  });

  test.each([
    ['a read-only default', 'default_transaction_read_only', 'on', 'off'],
    ['an isolation level', 'default_transaction_isolation', 'serializable', 'read committed'],
  ])('%s does not apply to the transaction of the next one', async (_, setting, planted, own) => {
    const mode = sql<{ mode: string }>`select current_setting(${setting.replace('default_', '')}) as mode`;
    for (const run of [
      () => mode.execute(b),
      () => b.transaction().execute((trx) => mode.execute(trx)),
      () => b.batch([b.insertInto('app.tag').values({ org_id: ORG_B, id: setting, label: 'x' })]),
    ]) {
      await sql`select set_config(${setting}, ${planted}, false)`.execute(a);
      const result = await run();
      if ('rows' in result) expect(result.rows).toEqual([{ mode: own }]);
    }
  });

  test('a temporary table is not there for the next one', async () => {
    const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    await superuser.query(
      `grant temporary on database ${new URL(f.database.appUrl).pathname.slice(1)} to ${f.database.app}`,
    );
    await superuser.end();
    await sql`create temp table work as select * from app.note`.execute(a);
    expect(await codeOf(sql`select * from work`.execute(b))).toBe('42P01');
  });

  test('a failed transaction opened by raw SQL does not fail the next statement', async () => {
    const raw = (text: string) => ({ compile: () => sql.raw(text).compile(a) });
    await a.batch([raw('begin'), raw('select 1/0')]).catch(() => {});
    expect(await notesOf(b)).toEqual(OWN_B);
  });

  test('a prepared statement replaced through a function with dynamic SQL does not run with the next context', async () => {
    await sql
      .raw(`create function app.run(text) returns void language plpgsql as $$ begin execute $1; end $$`)
      .execute(f.owner);
    await sql.raw('show search_path').execute(a); // more than a plain query: the next check sees the function
    for (let round = 0; round < 2; round++) {
      await notesOf(b);
      const { rows } = await sql<{ name: string }>`
        select name from pg_prepared_statements where statement like 'select "org_id"%' and not from_sql`.execute(
        a,
      );
      for (const { name } of rows) {
        const swap = [`deallocate ${name}`, `prepare ${name} as select 'stolen' as org_id`];
        await sql`select app.run(${swap[0]}), app.run(${swap[1]})`.execute(a);
      }
      expect(rows).not.toEqual([]);
      expect(await notesOf(b)).toEqual(OWN_B);
    }
    await sql.raw('drop function app.run(text)').execute(f.owner);
  });

  test('an advisory lock taken by an expression is gone', async () => {
    await sql`select id from app.note where pg_advisory_lock(4711) is not null`.execute(a);
    const { rows } = await sql<{ held: number }>`
      select count(*)::int as held from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`.execute(
      b,
    );
    expect(rows).toEqual([{ held: 0 }]);
  });

  test.each([
    ['may not enter a session', ''],
    ['may', 'grant usage on schema tenancy to $; grant execute on all functions in schema tenancy to $;'],
  ])('a role changed by an expression does not stay for the next one, when it %s', async (_, grants) => {
    const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    const other = `other_${f.database.app}`;
    await superuser.query(`create role ${other}; grant ${other} to ${f.database.app};
      ${grants.replaceAll('$', other)}`);
    await sql.raw(`select set_config('role', '${other}', false)`).execute(a);
    expect(await notesOf(b)).toEqual(OWN_B);
    const { rows } = await sql<{ role: string }>`select current_user as role`.execute(b);
    expect(rows).toEqual([{ role: f.database.app }]);
    await superuser.query(`drop owned by ${other}; drop role ${other}`);
    await superuser.end();
  });

  test('a listener and a cursor that outlives its transaction are gone', async () => {
    await sql.raw('listen loot').execute(a);
    await sql.raw('declare held cursor with hold for select * from app.note').execute(a);
    const { rows } = await sql<{ left: number }>`
      select ((select count(*) from pg_listening_channels()) + (select count(*) from pg_cursors where is_holdable))::int as left`.execute(
      b,
    );
    expect(rows).toEqual([{ left: 0 }]);
  });

  test('the rows of a cursor that injected SQL left open are read by nobody of another organisation', async () => {
    const open = 'declare held cursor with hold for select org_id, id from app.note';
    await sql.raw(open).execute(a);
    expect(await codeOf(sql.raw('fetch all from held').execute(b))).toBe('34000');
    // The other way round: it was opened to catch what the next one reads under its name.
    await sql.raw(open).execute(a);
    const { rows } = await b.transaction().execute(async (trx) => {
      await sql.raw(`${open.replace('with hold ', '')}`).execute(trx);
      return await sql.raw('fetch all from held').execute(trx);
    });
    expect(rows).toEqual(OWN_B);
  });

  test('a statement that injected SQL prepared answers to no name, of the driver or of the next one', async () => {
    const pid = async (db: OrgDb<Tables>) =>
      (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]?.pid;
    const before = await pid(a);
    await sql.raw(`prepare report as select org_id, id from app.note`).execute(a);
    expect(await codeOf(sql.raw('execute report').execute(b))).toBe('26000');
    expect(await pid(b)).not.toBe(before); // the session was refused, not cleaned: names of the driver's may be among them
    // A name that the driver would give next, before it does.
    const names = sql<{
      name: string;
    }>`select name from pg_prepared_statements where not from_sql and name like 'rf%'`;
    const taken = (await names.execute(a)).rows.map(({ name }) => name);
    const prefix = taken[0]?.replace(/\d+$/, '');
    const last = Math.max(...taken.map((name) => Number(/\d+$/.exec(name)?.[0])));
    expect(last).toBeGreaterThan(0);
    for (let next = last + 1; next <= last + 20; next++)
      await sql.raw(`prepare ${prefix}${next} as select 'planted' as org_id, 'planted' as id`).execute(a);
    expect(await notesOf(b)).toEqual(OWN_B);
    expect(await b.selectFrom('app.note').select(['id', 'org_id']).execute()).toEqual(OWN_B);
  });

  test('COPY neither works nor hangs the connection', async () => {
    await sql
      .raw(`create table app.shared (n int); grant insert on app.shared to ${f.database.app}`)
      .execute(f.owner);
    // The driver gives up a connection that says nothing for so long: what hangs is red here, and holds up no other test.
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1, query_timeout: 5_000 });
    pool.on('error', () => {});
    const tenancy = createTenancy<Tables>({ pool, contextKey: f.contextKey });
    const [first, next] = [tenancy.forOrg(ORG_A, ALICE), tenancy.forOrg(ORG_B, { actor: 'user:bob' })];
    const pid = sql<{ pid: number }>`select pg_backend_pid() as pid`;
    const { rows: before } = await pid.execute(first);
    expect(await codeOf(sql`copy app.shared from stdin`.execute(first))).toBe('57014');
    expect(await notesOf(next)).toEqual(OWN_B);
    expect((await pid.execute(next)).rows).toEqual(before);
    await pool.end();
  });

  test('COPY within a batch ends the connection, also where a parser of the application failed before it', async () => {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1, types: BIGINT_UNPARSABLE });
    pool.on('error', () => {});
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    await sql`select 1`.execute(handle);
    for (const first of ['select 1', 'select 1::int8']) {
      const texts = [first, 'copy app.shared from stdin', 'select 2'];
      const batch = texts.map((text) => ({ compile: () => sql.raw(text).compile(handle) }));
      // The server has answered two Syncs: who took the connection next would read the second as its own answer.
      expect(await codeOf(handle.batch(batch))).toBe('tenancy.connection_lost');
      expect(pool.totalCount).toBe(0);
    }
    await pool.end();
  });

  test('what random() gives is not what a former borrower chose', async () => {
    const drawn = sql<{ r: number }>`select random() as r`;
    const seen: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      await sql`select setseed(0.5)`.execute(a);
      seen.push((await drawn.execute(b)).rows[0]?.r);
    }
    expect(new Set(seen).size).toBe(3);
  });
});

test('a session that cannot be replaced is an error, once, and the next one is well', async () => {
  const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
  const login = (allowed: boolean) =>
    superuser.query(`alter role ${f.database.app} ${allowed ? 'login' : 'nologin'}`);
  await notesOf(b);
  await sql`prepare planted as select 1`.execute(a);
  await login(false);
  try {
    expect(
      await codeOf(b.transaction().execute((trx) => trx.selectFrom('app.note').select('id').execute())),
    ).toBe('28000');
    expect(f.pool.totalCount).toBe(0);
  } finally {
    await login(true);
    await superuser.end();
  }
  expect(await notesOf(b)).toEqual(OWN_B);
});

describe('an object that outlived its connection', () => {
  test('cannot run a statement on the next borrower', async () => {
    let late: OrgDb<Tables> | undefined;
    await a.connection().execute(async (db) => {
      late = db as OrgDb<Tables>;
      await notesOf(late);
    });
    await b.transaction().execute(async (trx) => {
      await trx.selectFrom('app.note').select('id').execute();
      const stolen = (late as OrgDb<Tables>).selectFrom('app.note').select('org_id').execute();
      await expect(stolen).rejects.toThrow(/given back/);
      expect(await trx.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: ORG_B }]);
    });
  });

  test('cannot run a statement that was issued before, and waited for its turn, on the next borrower', async () => {
    let first: Promise<unknown> | undefined;
    let second: Promise<unknown> | undefined;
    await a.connection().execute(async (db) => {
      await notesOf(db as OrgDb<Tables>);
      first = sql`select pg_sleep(0.2)`.execute(db);
      second = notesOf(db as OrgDb<Tables>).catch((error: unknown) => error);
    }); // neither was awaited: the connection goes back with one under way and one behind it
    await b.transaction().execute(async (trx) => {
      const own = () => trx.selectFrom('app.note').select(['org_id', 'id']).execute();
      expect(await own()).toEqual(OWN_B);
      expect(await second).toMatchObject({ message: expect.stringMatching(/given back/) });
      expect(await own()).toEqual(OWN_B);
    });
    await first;
  });

  test('leaves nothing to the next borrower by a statement that was under way', async () => {
    let held: Promise<unknown> | undefined;
    await a.connection().execute(async (db) => {
      await notesOf(db as OrgDb<Tables>);
      held = sql`declare held cursor with hold for select org_id from app.note`.execute(db);
      await nextTurn(); // it is on the wire, and not answered
    });
    expect(await codeOf(sql`fetch all from held`.execute(b))).toBe('34000');
    await held;
  });

  test('whose session is replaced after it was given back loses no connection', async () => {
    await sql`prepare planted as select 1`.execute(a);
    let rows: Promise<unknown> | undefined;
    await b.connection().execute(async (db) => {
      rows = notesOf(db as OrgDb<Tables>);
      await nextTurn();
    });
    expect(await rows).toEqual(OWN_B);
    expect(await notesOf(b)).toEqual(OWN_B);
    expect([f.pool.totalCount, f.pool.idleCount]).toEqual([1, 1]);
  });

  test('cannot go on streaming from the next borrower', async () => {
    const rowsOf = (db: OrgDb<Tables>) =>
      sql<{ n: string }>`select org_id::text || n as n from app.note, generate_series(1, 5) n`.compile(
        db,
      ) as CompiledQuery<{ n: string }>;
    let kept: AsyncIterableIterator<unknown> | undefined;
    await a.transaction().execute(async (trx) => {
      kept = trx.getExecutor().stream(rowsOf(a), 1) as AsyncIterableIterator<unknown>;
      await kept.next();
    });
    const stream = b.getExecutor().stream(rowsOf(b), 1);
    await stream.next();
    try {
      await expect(kept?.next()).rejects.toThrow(/ending|given back/);
      let left = 0;
      for await (const _ of stream) left++;
      expect(left).toBe(4);
    } finally {
      await stream.return?.(); // gives the only connection back, or every test behind this one waits for it
    }
  });
});

test('a read time-out destroys the connection instead of lending it busy', async () => {
  const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1, query_timeout: 200 });
  pool.on('error', () => {});
  const slow = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
  expect(await codeOf(sql`select pg_sleep(2)`.execute(slow))).toBe('tenancy.connection_lost');
  expect((await sql`select 1 as ok`.execute(slow)).rows).toEqual([{ ok: 1 }]);
  await pool.end();
});

test('a role that may become one that bypasses row-level security is refused', async () => {
  const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
  const bypass = `bypass_${f.database.app}`;
  await superuser.query(`create role ${bypass} bypassrls nologin; grant ${bypass} to ${f.database.app}`);
  try {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    expect(await codeOf(notesOf(handle))).toBe('tenancy.unsafe_role');
    await pool.end();
  } finally {
    await superuser.query(`revoke ${bypass} from ${f.database.app}; drop role ${bypass}`);
    await superuser.end();
  }
});

test.each([0, -1, 1.5, Number.NaN])('refuses a limit of %d prepared statements at once', (limit) => {
  expect(() => createTenancy({ pool: f.pool, preparedStatements: { limit } })).toThrow(TypeError);
});
