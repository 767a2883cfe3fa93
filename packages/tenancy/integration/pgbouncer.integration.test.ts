import { type CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import type { PostgresServer } from '../../../tools/postgres.ts';
import { startPostgres15 } from '../../../tools/postgres-15.ts';
import { createTenancy, type OrgDb, type OrgId, parseOrgId } from '../src/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from '../test/fixture.ts';
import { type Pgbouncer, startPgbouncer } from './pgbouncer.ts';

let oldest: PostgresServer;
beforeAll(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {}); // Kysely reports cancelled statements there
  oldest = await startPostgres15();
});
afterAll(() => oldest.stop());

const SERVERS = [
  ['PostgreSQL 15', () => oldest.url],
  ['PostgreSQL 18', () => inject('databaseUrl')],
] as const;

describe.each(SERVERS)('behind pgbouncer in transaction mode, on %s', (_, serverUrl) => {
  let f: Fixture;
  let pooler: Pgbouncer;
  let superuser: pg.Client;
  const pools: pg.Pool[] = [];

  /** A handle over a connection of its own to the pooler: other clients share its sessions of the server. */
  const handle = (org: OrgId, url = pooler.through(f.database.appUrl), max = 1) => {
    const pool = new pg.Pool({ connectionString: url, max });
    pool.on('error', () => {});
    pools.push(pool);
    const tenancy = createTenancy<Tables>({
      pool,
      contextKey: f.contextKey,
      preparedStatements: 'unnamed',
    });
    return tenancy.forOrg(org, ALICE);
  };
  const orgsOf = async (db: OrgDb<Tables>) =>
    new Set((await db.selectFrom('app.note').select('org_id').execute()).map(({ org_id }) => org_id));

  beforeAll(async () => {
    f = await fixture(serverUrl());
    superuser = new pg.Client({ connectionString: f.database.superuserUrl });
    await superuser.connect();
    const name = new URL(f.database.appUrl).pathname.slice(1);
    await superuser.query(`grant temporary on database ${name} to ${f.database.app}`);
    pooler = await startPgbouncer(f.database.appUrl, 3);
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await pooler.stop();
    await superuser.end();
    await f.close();
  });

  test('a session-level setting, as many helpers make it, leaks to whoever comes next', async () => {
    const clients = [ORG_A, ORG_B].map(
      () => new pg.Client({ connectionString: pooler.through(f.database.appUrl) }),
    );
    for (const client of clients) await client.connect();
    const [first, second] = clients as [pg.Client, pg.Client];
    await first.query(`select set_config('app.org', $1, false)`, [ORG_A]);
    const { rows } = await second.query(`select current_setting('app.org', true) as org`);
    expect(rows).toEqual([{ org: ORG_A }]);
    for (const client of clients) await client.end();
  });

  test('40 handles of 20 organisations see no foreign row in any of their statements', async () => {
    const orgs = Array.from({ length: 20 }, (_, n) =>
      parseOrgId(`0190f5d2-7b1c-7d34-9a51-3f2e8c1b80${String(n).padStart(2, '0')}`),
    );
    let statements = 0;
    const seen = (org: OrgId, rows: readonly { org_id?: unknown }[]) => {
      statements++;
      expect(rows.length).toBeGreaterThan(0);
      for (const { org_id } of rows) expect(org_id).toBe(org);
    };
    const work = async (org: OrgId, worker: number) => {
      const db = handle(org);
      const notes = (of: Pick<OrgDb<Tables>, 'selectFrom'>) => of.selectFrom('app.note').select('org_id');
      const note = (of: Pick<OrgDb<Tables>, 'insertInto'>, id: string) =>
        of.insertInto('app.note').values({ org_id: undefined, id, body: '' }).returning('org_id');
      for (let round = 0; round < 8; round++) {
        const id = `${worker}.${round}`;
        seen(org, await note(db, id).execute());
        const [one, two] = await db.batch([notes(db), note(db, `${id}.batch`)]);
        seen(org, one.rows);
        seen(org, two.rows);
        await db.transaction().execute(async (trx) => {
          seen(org, await note(trx, `${id}.trx`).execute());
          seen(org, await notes(trx).execute());
        });
        const stream = db.getExecutor().stream(notes(db).compile() as CompiledQuery<{ org_id: string }>, 7);
        for await (const { rows } of stream) seen(org, rows);
      }
    };
    await Promise.all(
      [...orgs, ...orgs].map((org, worker) => {
        return work(org, worker);
      }),
    );
    expect(statements).toBeGreaterThanOrEqual(2000);
    process.stdout.write(`${statements} statements\n`);
  });

  describe('what one client left in the session of the server does not reach the next', () => {
    let one: Pgbouncer;
    let a: OrgDb<Tables>;
    let b: OrgDb<Tables>;
    // One session of the server: whoever comes next borrows what the attacker had, on another client connection.
    beforeAll(async () => {
      one = await startPgbouncer(f.database.appUrl, 1);
      const url = one.through(f.database.appUrl);
      a = handle(ORG_A, url);
      b = handle(ORG_B, url);
      await orgsOf(a);
      await orgsOf(b); // both have seen a clean session before the attack
    });
    afterAll(() => one.stop());
    beforeEach(async () => expect(await orgsOf(b)).toEqual(new Set([ORG_B])));

    const value = async (db: OrgDb<Tables>, expression: string) =>
      (await sql<{ value: unknown }>`select ${sql.raw(expression)} as value`.execute(db)).rows[0]?.value;

    test.each([
      [
        'a search path',
        `select set_config('search_path', 'evil', false)`,
        `current_setting('search_path')`,
        '"$user", public',
      ],
      [
        'a time limit',
        `select set_config('statement_timeout', '1', false)`,
        `current_setting('statement_timeout')`,
        '0',
      ],
      [
        'a read-only default',
        `select set_config('default_transaction_read_only', 'on', false)`,
        `current_setting('transaction_read_only')`,
        'off',
      ],
      [
        'an isolation level',
        `select set_config('default_transaction_isolation', 'serializable', false)`,
        `current_setting('transaction_isolation')`,
        'read committed',
      ],
      [
        'a lock',
        'select pg_advisory_lock(4711)',
        `(select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())`,
        0,
      ],
      [
        'a prepared statement',
        'prepare loot as select 1',
        '(select count(*)::int from pg_prepared_statements where from_sql)',
        0,
      ],
      [
        'a cursor',
        'declare loot cursor with hold for select * from app.note',
        '(select count(*)::int from pg_cursors where is_holdable)',
        0,
      ],
      [
        'its context',
        `select set_config('ringfence.context', current_setting('ringfence.context'), false)`,
        'tenancy.org_id()',
        ORG_B,
      ],
      [
        'a temporary table',
        'create temp table note as select * from app.note',
        `to_regclass('pg_temp.note')`,
        null,
      ],
    ])('%s', async (_, planted, probe, expected) => {
      await sql.raw(planted).execute(a);
      expect(await value(b, probe)).toBe(expected);
      expect(await orgsOf(b)).toEqual(new Set([ORG_B]));
      await b
        .insertInto('app.tag')
        .values({ org_id: undefined, id: planted.slice(0, 60), label: '' })
        .execute();
    });

    test('a listener, once the first statement of the next one has committed', async () => {
      await sql.raw('listen loot').execute(a);
      await orgsOf(b);
      expect(await value(b, '(select count(*)::int from pg_listening_channels())')).toBe(0);
    });

    test('a role', async () => {
      const other = `other_${f.database.app}`;
      await superuser.query(`create role ${other}; grant ${other} to ${f.database.app}`);
      await sql.raw(`select set_config('role', '${other}', false)`).execute(a);
      expect(await value(b, 'current_user')).toBe(f.database.app);
      await superuser.query(`drop role ${other}`);
    });

    test('a transaction that raw SQL left open', async () => {
      await sql.raw('begin').execute(a);
      expect(await orgsOf(b)).toEqual(new Set([ORG_B]));
    });
  });

  test('a cancelled statement ends; no other is cancelled in its place', async () => {
    const outcomes = { cancelled: 0, finished: 0 };
    const impatient = handle(ORG_A, undefined, 4);
    const patient = handle(ORG_B, undefined, 4);
    const run = async () => {
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(), Math.random() * 60);
      const query = sql`select org_id from app.note, pg_sleep(0.004) limit 1`.compile(impatient);
      await impatient
        .executeQuery(query, { signal: controller.signal, inflightQueryAbortStrategy: 'cancel query' })
        .then(
          () => outcomes.finished++,
          (error: unknown) => {
            expect(error).toBe(controller.signal.reason);
            outcomes.cancelled++;
          },
        );
      clearTimeout(timer);
    };
    const other = async () => {
      const { rows } = await sql<{ org_id: string }>`select org_id from app.note, pg_sleep(0.002)`.execute(
        patient,
      );
      expect(new Set(rows.map(({ org_id }) => org_id))).toEqual(new Set([ORG_B]));
    };
    const repeat = async (work: () => Promise<void>) => {
      for (let time = 0; time < 40; time++) await work();
    };
    await Promise.all([run, other, run, other, run, other, run, other].map(repeat));
    expect(outcomes.cancelled + outcomes.finished).toBe(160);
    expect(outcomes.cancelled).toBeGreaterThan(0);
    process.stdout.write(`${JSON.stringify(outcomes)}\n`);
  });

  test('a write into another organisation is refused as without a pooler', async () => {
    const db = handle(ORG_A);
    const foreign = db.insertInto('app.note').values({ org_id: ORG_B, id: 'stolen', body: '' }).execute();
    expect(await codeOf(foreign)).toBe('tenancy.cross_org_write');
  });
});
