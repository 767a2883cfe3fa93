/** Attacks on the next borrower of a connection that need a function with dynamic SQL, a role's defaults or a shared name. */
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createTenancy, type OrgDb } from '../src/index.ts';
import { ours } from '../src/org-driver.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from './fixture.ts';

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

const run = async (db: OrgDb<Tables>, text: string) =>
  (await sql.raw<Record<string, unknown>>(text).execute(db)).rows;
const notesOf = (db: OrgDb<Tables>) => db.selectFrom('app.note').select(['org_id', 'id']).execute();
const ddl = (text: string) => sql.raw(text).execute(f.owner);

describe('dynamic SQL that the app role may not call itself', () => {
  /** Puts a thief in the place of the driver's `enter`, and gives what organisation A then holds of B. */
  async function stolen(execute: (code: string) => Promise<unknown>): Promise<unknown> {
    await run(a, 'show search_path'); // more than a plain query: the next check sees the function
    await notesOf(b);
    const [enter] = await run(
      a,
      `select name from pg_prepared_statements where statement like 'select tenancy.enter(%' and not from_sql`,
    );
    const name = String(enter?.['name']);
    await execute(
      `deallocate ${name}; prepare ${name}(text, bool, bool) as select set_config($c$ringfence.context$c$, case when set_config($c$x.loot$c$, $1, false) is null then $1 else $1 end, true) as context`,
    );
    expect(await notesOf(b)).toEqual([{ org_id: ORG_B, id: 'n1' }]);
    const [held] = await run(a, `select current_setting('x.loot', true) as loot`);
    return held?.['loot'] ?? '';
  }

  test('leaves nothing to the next one at any checkout, also between two whole checks', async () => {
    await ddl('create function app.run(text) returns void language plpgsql as $$ begin execute $1; end $$');
    const now = Date.now(); // no time passes: one whole check is all there is
    const still = createTenancy<Tables>({ pool: f.pool, contextKey: f.contextKey, now: () => now });
    const [first, next] = [still.forOrg(ORG_A, ALICE), still.forOrg(ORG_B, { actor: 'user:bob' })];
    const pid = async (db: OrgDb<Tables>) => (await run(db, 'select pg_backend_pid() as pid'))[0]?.['pid'];
    await run(first, 'show search_path'); // more than a plain query: the next check sees the function
    await pid(first);
    for (let round = 0; round < 3; round++) {
      await sql`select app.run('listen loot'), app.run('declare held cursor with hold for select 1')`.execute(
        first,
      );
      await pid(next); // UNLISTEN takes effect at its commit
      const left = await run(
        next,
        `select (select count(*) from pg_listening_channels())::int as channels,
                (select count(*) from pg_cursors where is_holdable)::int as cursors`,
      );
      expect(left).toEqual([{ channels: 0, cursors: 0 }]);
    }
    const before = await pid(first);
    await sql`select app.run('prepare planted as select 1')`.execute(first);
    expect(await pid(next)).not.toBe(before);
    await ddl('drop function app.run(text)');
  });

  test.each([
    ['five seconds later', 5_000],
    ['with a clock that was set back', -3_600_000],
  ])(
    'in a function made since the last whole check is found at the first checkout %s',
    async (_, passedMs) => {
      let now = Date.now();
      const ticking = createTenancy<Tables>({ pool: f.pool, contextKey: f.contextKey, now: () => now });
      const [first, next] = [ticking.forOrg(ORG_A, ALICE), ticking.forOrg(ORG_B, { actor: 'user:bob' })];
      const pid = async (db: OrgDb<Tables>) => (await run(db, 'select pg_backend_pid() as pid'))[0]?.['pid'];
      // A session of its own, and its whole check: there is no such function yet.
      await run(first, 'select pg_terminate_backend(pg_backend_pid())').catch(() => {});
      await pid(first);
      await ddl(
        'create or replace function app.run(text) returns void language plpgsql as $$ begin Execute $1; end $$',
      );
      try {
        const before = await pid(first);
        await sql`select app.run('prepare planted as select 1')`.execute(first); // a plain query, as far as the driver sees
        now += passedMs;
        expect(await pid(next)).not.toBe(before);
        // From that check on at every checkout, without any time passing.
        await sql`select app.run('declare held cursor with hold for select 1')`.execute(first);
        expect(await run(next, 'select count(*)::int as n from pg_cursors where is_holdable')).toEqual([
          { n: 0 },
        ]);
      } finally {
        await ddl('drop function app.run(text)');
      }
    },
  );

  test('in a language of somebody else counts, whatever its source says', async () => {
    const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    await superuser.query('create trusted language other_pl handler plpgsql_call_handler');
    await superuser.query('grant usage on language other_pl to public');
    const whole = async () => {
      const { rows } = await sql<{ found: boolean }>`select tenancy.assert_session(true) as found`.execute(
        f.owner,
      );
      return rows[0]?.found;
    };
    try {
      expect(await whole()).toBe(false);
      await ddl('create function app.quiet() returns void language other_pl as $$ begin end $$');
      expect(await whole()).toBe(true);
    } finally {
      await ddl('drop function if exists app.quiet()');
      await superuser.query('drop language other_pl');
      await superuser.end();
    }
  });

  test('a trigger whose function nobody may execute steals no context', async () => {
    await ddl(`create function app.audit() returns trigger language plpgsql as
        $$ begin execute 'select ''' || new.label || ''''; return new; end $$;
      revoke all on function app.audit() from public;
      create trigger t after insert on app.tag for each row execute function app.audit()`);
    const loot = await stolen((code) =>
      a
        .insertInto('app.tag')
        .values({ org_id: ORG_A, id: 't', label: `'; ${code}; --` })
        .execute(),
    );
    expect(loot).not.toContain(ORG_B);
    await ddl('drop trigger t on app.tag; drop function app.audit()');
  });

  test('a function with its owner’s rights in front of it steals no context', async () => {
    await ddl(`create function app.inner_run(text) returns void language plpgsql as $$ begin execute $1; end $$;
      revoke all on function app.inner_run(text) from public;
      create function app.front(text) returns void language plpgsql security definer
        set search_path = pg_catalog, pg_temp as $$ begin perform app.inner_run($1); end $$`);
    const loot = await stolen((code) => sql`select app.front(${code})`.execute(a));
    expect(loot).not.toContain(ORG_B);
    await ddl('drop function app.front(text); drop function app.inner_run(text)');
  });
});

describe('behind a pooler in transaction mode, where another process may have had the session', () => {
  test.each<[string, string, string, unknown]>([
    [
      'a cursor',
      'declare held cursor with hold for select 1',
      'select count(*)::int as n from pg_cursors where is_holdable',
      0,
    ],
    ['a channel', 'listen loot', 'select count(*)::int as n from pg_listening_channels()', 0],
    [
      'a prepared statement',
      'prepare planted as select 1',
      'select count(*)::int as n from pg_prepared_statements',
      0,
    ],
    [
      'a role',
      `select set_config('role', $other, false)`,
      `select (current_user = session_user)::int as n`,
      1,
    ],
  ])('%s is taken back at every checkout, and the session lives on', async (_, left, look, n) => {
    const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    const other = `pooled_${f.database.app}`;
    await superuser.query(`create role ${other}; grant ${other} to ${f.database.app}`);
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    // Two processes, and time that stands still: nothing that one knows of the session helps the other.
    const now = Date.now();
    const [mine, theirs] = [ORG_A, ORG_B].map((org) =>
      createTenancy<Tables>({
        ...{ pool, contextKey: f.contextKey, preparedStatements: 'unnamed', now: () => now },
      }).forOrg(org, ALICE),
    ) as [OrgDb<Tables>, OrgDb<Tables>];
    try {
      const pid = async (db: OrgDb<Tables>) => (await run(db, 'select pg_backend_pid() as pid'))[0]?.['pid'];
      const before = [await pid(theirs), await pid(mine)];
      for (let round = 0; round < 2; round++) {
        await run(mine, left.replace('$other', `'${other}'`));
        await pid(theirs); // UNLISTEN takes effect at its commit
        expect(await run(theirs, look)).toEqual([{ n }]);
      }
      expect([await pid(theirs), await pid(mine)]).toEqual(before);
    } finally {
      await pool.end();
      await superuser.query(`revoke ${other} from ${f.database.app}; drop role ${other}`);
      await superuser.end();
    }
  });
});

test('what a borrower of another tenancy over the same pool planted is found', async () => {
  const now = Date.now(); // no time passes: one whole check is all there is
  const over = () => createTenancy<Tables>({ pool: f.pool, contextKey: f.contextKey, now: () => now });
  const [attacker, victim] = [over().forOrg(ORG_A, ALICE), over().forOrg(ORG_B, { actor: 'user:bob' })];
  const spy = new pg.Client({ connectionString: f.database.appUrl });
  await spy.connect();
  const loot: unknown[] = [];
  spy.on('notification', ({ payload }) => loot.push(payload));
  await spy.query('listen loot');
  try {
    await notesOf(victim);
    const names = await run(
      attacker,
      `select name from pg_prepared_statements where statement like 'select tenancy.enter(%' order by prepare_time`,
    );
    const name = String(names.at(-2)?.['name']); // the last but one is the victim's, the last the attacker's own
    await run(
      attacker,
      `do $x$ begin
        execute 'deallocate ${name}';
        execute $c$prepare ${name}(text, bool, bool) as select set_config('ringfence.context',
          case when pg_notify('loot', $1) is null then '' else $1 end, true) as context$c$;
      end $x$`,
    );
    expect(await notesOf(victim)).toEqual([{ org_id: ORG_B, id: 'n1' }]);
    await spy.query('select 1'); // notifications come before its answer
    expect(loot).toEqual([]);
  } finally {
    await spy.end();
  }
});

test.each(['standard_conforming_strings = off', 'transform_null_equals = on', 'row_security = off'])(
  'a role that has set itself %s is refused on its next connection',
  async (setting) => {
    const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    await run(a, `alter role current_user set ${setting}`);
    await run(a, 'select pg_terminate_backend(pg_backend_pid())').catch(() => {});
    try {
      expect(await codeOf(notesOf(b))).toBe('tenancy.unsafe_role');
    } finally {
      await superuser.query(`alter role ${f.database.app} reset all`);
      await superuser.end();
    }
    expect(await notesOf(b)).toEqual([{ org_id: ORG_B, id: 'n1' }]);
  },
);

test.each([
  `select 'a\\d' as lit, timestamptz '2026-01-01 00:00' = timestamptz '2026-01-01 00:00+00' as utc`,
  'select timestamptz $$2026-01-01 00:00$$ = timestamptz $t$2026-01-01 00:00+00$t$ as utc',
])('a text with a literal is parsed under the settings of who runs it: %s', async (text) => {
  const clean = await run(b, `${text} `);
  await a.transaction().execute(async (trx) => {
    await sql
      .raw(
        `select set_config('standard_conforming_strings', 'off', true), set_config('TimeZone', 'Asia/Tokyo', true)`,
      )
      .execute(trx);
    await sql.raw(text).execute(trx);
  });
  expect(await run(b, text)).toEqual(clean);
});

test('a text with a NUL is refused: the server would read the rest of it as something else', async () => {
  const text = 'delete from app.note where false -- \0\0\u0001\0 and nothing of this';
  await expect(run(a, text)).rejects.toThrow(TypeError);
  expect(await notesOf(a)).toEqual([{ org_id: ORG_A, id: 'n1' }]);
});

test('the columns of a cursor are its own, whatever another one of its name had', async () => {
  const fetched = (db: OrgDb<Tables>, query: string) =>
    db.transaction().execute(async (trx) => {
      await sql.raw(`declare c cursor for ${query}`).execute(trx);
      return (await sql.raw('fetch all from c').execute(trx)).rows;
    });
  await fetched(a, `select true as is_admin, 'x'::text as note`);
  expect(await fetched(b, `select 'mine'::text as note, false as is_admin`)).toEqual([
    { note: 'mine', is_admin: false },
  ]);
});

test.each([
  [
    'isolation',
    'default_transaction_isolation',
    'serializable',
    () => b.transaction().setAccessMode('read write'),
  ],
  ['access', 'default_transaction_read_only', 'on', () => b.transaction().setIsolationLevel('serializable')],
])('the %s that BEGIN does not name is not a former borrower’s', async (_, setting, planted, transaction) => {
  await run(a, `select set_config('${setting}', '${planted}', false)`);
  const rows = await transaction().execute(
    async (trx) =>
      (await sql.raw<{ mode: string }>(`show ${setting.replace('default_', '')}`).execute(trx)).rows,
  );
  expect(Object.values(rows[0] ?? {})).toEqual([setting.includes('isolation') ? 'read committed' : 'off']);
});

test('nothing runs in a transaction whose BEGIN was refused', async () => {
  await notesOf(a);
  await a
    .connection()
    .execute((connection) =>
      connection.getExecutor().provideConnection(async (held) => {
        const raw = ours(held);
        raw.begin('begin isolation level bogus');
        const insert = (id: string) =>
          raw.executeQuery(sql.raw(`insert into app.note values ('${ORG_A}', '${id}', 'x')`).compile(a));
        expect(await codeOf(insert('e1'))).toBe('42601');
        expect(await codeOf(insert('e2'))).toBe('tenancy.connection_lost');
        await raw.rollback();
      }),
    )
    .catch(() => {});
  expect(await notesOf(a)).toEqual([{ org_id: ORG_A, id: 'n1' }]);
});

test('a statement that waited for its turn while the connection was given back is not run on the next borrower', async () => {
  // Kysely and the pg client have queues of their own in front of this one; here there is none.
  let second: Promise<unknown> | undefined;
  await a.connection().execute((connection) =>
    connection.getExecutor().provideConnection(async (held) => {
      const raw = ours(held);
      const query = (text: string) => raw.executeQuery(sql.raw(text).compile(a));
      await query('select 1');
      query('select pg_sleep(0.2)').catch(() => {});
      second = query('select org_id from app.note').catch((error: unknown) => error);
    }),
  );
  await b.transaction().execute(async (trx) => {
    const own = () => trx.selectFrom('app.note').select(['org_id', 'id']).execute();
    expect(await own()).toEqual([{ org_id: ORG_B, id: 'n1' }]);
    expect(await second).toMatchObject({ message: expect.stringMatching(/given back/) });
    expect(await own()).toEqual([{ org_id: ORG_B, id: 'n1' }]);
  });
});

test('a statement that raises the refusal of the session itself is run once', async () => {
  await ddl(`create sequence app.runs; grant usage on sequence app.runs to ${f.database.app}`);
  const raising = `do $$ begin perform nextval('app.runs'); raise exception 'x'
    using errcode = '42501', constraint = 'tenancy.unclean_session'; end $$`;
  expect(await codeOf(run(a, raising))).toBe('tenancy.unclean_session');
  const { rows } = await sql<{ n: number }>`select last_value::int as n from app.runs`.execute(f.owner);
  expect(rows).toEqual([{ n: 1 }]);
  await run(a, `select nextval('app.runs')`);
  expect(await codeOf(run(b, 'select lastval()'))).toBe('55000'); // what the former borrower drew is not told
});

test('a column named __proto__ is a column', async () => {
  const [row] = await run(a, `select '{"admin": true}'::json as "__proto__", 1 as x`);
  expect(Object.keys(row ?? {})).toEqual(['__proto__', 'x']);
  expect((row as { admin?: boolean }).admin).toBeUndefined();
});
