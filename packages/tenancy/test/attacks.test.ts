import { createHmac, randomBytes } from 'node:crypto';
import { type AddressInfo, connect, createServer } from 'node:net';
import { type Compilable, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createTenancy } from '../src/index.ts';
import { installContextKey, removeContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { ALICE, codeOf, type Fixture, fixture, kyselyOf, ORG_A, ORG_B, type Tables } from './fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

/** Runs SQL on the app role's own connection, past every handle: what an attacker with the password has. */
async function bare(...statements: string[]): Promise<pg.QueryResult | undefined> {
  const client = new pg.Client({ connectionString: f.database.appUrl });
  await client.connect();
  try {
    let last: pg.QueryResult | undefined;
    for (const statement of statements) last = await client.query(statement);
    return last;
  } finally {
    await client.end();
  }
}

/** The constraint name the database refuses with. */
async function refusalOf(run: Promise<unknown>): Promise<unknown> {
  try {
    await run;
  } catch (error) {
    return (error as { constraint?: unknown }).constraint ?? (error as { code?: unknown }).code;
  }
  throw new Error('expected a rejection');
}

describe('a statement without context', () => {
  test.each([
    'select * from app.note',
    'select count(*) from app.note',
    "insert into app.note (id, body) values ('x', 'x')",
    "update app.note set body = 'x'",
    'delete from app.note',
  ])('is refused, not answered with nothing: %s', async (statement) => {
    expect(await refusalOf(bare(statement))).toBe('tenancy.no_context');
  });

  test('is refused again on a connection that had a context before', async () => {
    const context = await contextOf(ORG_A);
    const run = bare(
      `begin; select set_config('ringfence.context', '${context}', true); commit`,
      'select * from app.note',
    );
    expect(await refusalOf(run)).toBe('tenancy.no_context');
  });
});

/** The context of a live handle, as injected SQL could read it. */
async function contextOf(org: typeof ORG_A): Promise<string> {
  const asked = sql<{ context: string }>`select current_setting('ringfence.context') as context`;
  const { rows } = await asked.execute(f.tenancy.forOrg(org, ALICE));
  return rows[0]?.context ?? '';
}

describe('injected SQL that switches the organisation', () => {
  const injectInto = (predicate: string) =>
    f.tenancy
      .forOrg(ORG_A, ALICE)
      .selectFrom('app.note')
      .selectAll()
      .where(sql<boolean>`${sql.raw(predicate)}`)
      .execute();

  test.each([
    ['an unsigned context', () => `1|-|9999999999999|${ORG_B}|member|user:alice||`],
    ['the own context with another organisation', async () => (await contextOf(ORG_A)).replace(ORG_A, ORG_B)],
    ['a context signed by a key of the attacker', () => forged('k1', randomBytes(32))],
    ['a context that names an unknown key', () => forged('k2', f.contextKey.secret)],
    ['an empty mac', async () => (await contextOf(ORG_A)).replace(ORG_A, ORG_B).slice(0, -64)],
    ['garbage', () => 'x'.repeat(100)],
    ['fields of no type under a known key', () => `1|k1|soon|nobody|member|user:alice||${'0'.repeat(64)}`],
    [
      'the own fields behind those of another',
      async () => `1|k1|9999999999999|${ORG_B}|x|y||${await contextOf(ORG_A)}`,
    ],
    [
      'the own mac in the place of the last field',
      async () => {
        const own = await contextOf(ORG_A);
        return own.replace(ORG_A, ORG_B).replace('user:alice||', `user:alice||${own.slice(-64)}|`);
      },
    ],
    ['a delimiter behind the mac', async () => `${await contextOf(ORG_A)}|`.replace(ORG_A, ORG_B)],
  ])('is refused with %s', async (_, make) => {
    const context = await make();
    const predicate = `true and (select set_config('ringfence.context', '${context}', true)) is not null`;
    for (const shape of [predicate, `(${predicate}) or true`, `org_id = '${ORG_B}' or ${predicate}`]) {
      const seen = await injectInto(shape).catch((error: { code: string }) => error.code);
      // Where the plan verifies the policy before the injected call runs, only own rows are seen: never a foreign one.
      if (Array.isArray(seen)) expect(seen.filter((row) => row.org_id !== ORG_A)).toEqual([]);
      else expect(seen).toBe('tenancy.context_forged');
    }
    expect(
      await refusalOf(
        bare('begin', `select set_config('ringfence.context', '${context}', true)`, 'select * from app.note'),
      ),
    ).toBe('tenancy.context_forged');
  });

  test.each(['org_id()', 'kind()', 'actor()', 'request_id()', 'context()'])(
    'gets no field of it from tenancy.%s',
    async (call) => {
      const ask = `select tenancy.${call}`;
      const set = (context: string) => `select set_config('ringfence.context', '${context}', false)`;
      const own = await contextOf(ORG_A);
      expect((await bare(set(own), ask))?.rowCount).toBe(1);
      expect(await refusalOf(bare(ask))).toBe('tenancy.no_context');
      const foreign = own.replace(ORG_A, ORG_B);
      const refused = `do $$ begin perform tenancy.${call}; raise exception 'passed';
        exception when insufficient_privilege then null; end $$`;
      // Often enough for PostgreSQL to settle on a plan, whose context is then another one each time.
      const again = Array.from({ length: 8 }, () => [set(own), ask, set(foreign), refused]).flat();
      expect(await refusalOf(bare(...again, ask))).toBe('tenancy.context_forged');
      for (const changed of [foreign, own.replace(/\|\d+\|/, '|1|')])
        expect(await refusalOf(bare(set(changed), ask))).toBe('tenancy.context_forged');
    },
  );

  test('gains nothing when a whole injected statement runs inside the transaction', async () => {
    const context = (await contextOf(ORG_A)).replace(ORG_A, ORG_B);
    const run = f.tenancy
      .forOrg(ORG_A, ALICE)
      .transaction()
      .execute(async (trx) => {
        await sql`select set_config('ringfence.context', ${context}, true)`.execute(trx);
        return await trx.selectFrom('app.note').selectAll().execute();
      });
    expect(await codeOf(run)).toBe('tenancy.context_forged');
  });

  test('without signing, the same injection reads the other organisation: this is what the signature is for', async () => {
    const plain = await fixture(inject('databaseUrl'), { signed: false });
    const rows = await plain.tenancy
      .forOrg(ORG_A, ALICE)
      .transaction()
      .execute(async (trx) => {
        await sql`select set_config('ringfence.context', ${`1|-|9|${ORG_B}|member|x||`}, true)`.execute(trx);
        return await trx.selectFrom('app.note').select('org_id').execute();
      });
    expect(rows).toEqual([{ org_id: ORG_B }]);
    await plain.close();
  });
});

function forged(keyId: string, secret: Uint8Array): string {
  const body = `1|${keyId}|9999999999999|${ORG_B}|member|user:alice||`;
  return body + createHmac('sha256', secret).update(body).digest('hex');
}

describe('the key of the context', () => {
  test('is out of reach of the app role', async () => {
    expect(await refusalOf(bare('select * from tenancy.context_key'))).toBe('42501');
    expect(await refusalOf(bare("insert into tenancy.context_key values ('k9', '', '')"))).toBe('42501');
    const source = await bare("select prosrc from pg_proc where pronamespace = 'tenancy'::regnamespace");
    const secret = Buffer.from(f.contextKey.secret).toString('hex');
    expect(JSON.stringify(source?.rows)).not.toContain(secret);
  });

  test('can be rotated: the new one is accepted at once, the removed one refused at once', async () => {
    const next = { id: 'k_next', secret: new Uint8Array(randomBytes(32)) };
    const handle = createTenancy<Tables>({ pool: f.pool, contextKey: next }).forOrg(ORG_A, ALICE);
    expect(await codeOf(handle.selectFrom('app.note').selectAll().execute())).toBe('tenancy.context_forged');
    await installContextKey(f.owner as never, next);
    expect(await handle.selectFrom('app.note').selectAll().execute()).toHaveLength(1);
    await removeContextKey(f.owner as never, next.id);
    expect(await codeOf(handle.selectFrom('app.note').selectAll().execute())).toBe('tenancy.context_forged');
  });

  test('signs for a bounded time', async () => {
    const now = () => Date.now() - 120_000;
    const past = createTenancy<Tables>({ pool: f.pool, contextKey: f.contextKey, now });
    const run = past.forOrg(ORG_A, ALICE).selectFrom('app.note').selectAll().execute();
    expect(await codeOf(run)).toBe('tenancy.context_expired');
  });

  test('renews within a long transaction, so that an hour of work does not fail half way', async () => {
    let elapsed = -30_000;
    const tenancy = createTenancy<Tables>({
      pool: f.pool,
      contextKey: f.contextKey,
      now: () => Date.now() + elapsed,
    });
    await tenancy
      .forOrg(ORG_A, ALICE)
      .transaction()
      .execute(async (trx) => {
        const before = await trx.selectFrom('app.note').selectAll().execute();
        elapsed = 40_000;
        const { rows } = await sql<{
          expires: string;
        }>`select split_part(current_setting('ringfence.context'), '|', 3) as expires`.execute(trx);
        expect(Number(rows[0]?.expires)).toBeGreaterThan(Date.now() + 90_000);
        expect(await trx.selectFrom('app.note').selectAll().execute()).toEqual(before);
      });
  });
});

describe('the connection role', () => {
  test.each([
    ['a superuser', () => f.database.superuserUrl],
    ['the owner of the tables', () => f.database.ownerUrl],
  ])('is refused when it is %s, before a statement has run', async (_, url) => {
    const pool = new pg.Pool({ connectionString: url(), max: 1 });
    pool.on('error', () => {});
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    const write = handle.insertInto('app.note').values({ org_id: ORG_A, id: 'unsafe', body: 'x' }).execute();
    expect(await codeOf(write)).toBe('tenancy.unsafe_role');
    expect(pool.totalCount).toBe(0);
    await pool.end();
    const rows = await f.tenancy
      .forOrg(ORG_A, ALICE)
      .selectFrom('app.note')
      .selectAll()
      .where('id', '=', 'unsafe')
      .execute();
    expect(rows).toEqual([]);
  });

  test('is refused on a server that does not enforce row-level security in every plan', async () => {
    const [migration] = tenancyMigrations({ appRole: f.database.app, signedContext: true });
    const [check = ''] =
      /create function tenancy\.assert_app_role[\s\S]*?end \$\$;/.exec(migration?.up ?? '') ?? [];
    const as = (version: string) =>
      sql
        .raw(
          check
            .replace('create function', 'create or replace function')
            .replace(`current_setting('server_version_num')::int`, version),
        )
        .execute(f.owner);
    const answers: Record<string, unknown> = {};
    for (const version of ['140013', '150008', '150009', '160004', '160005', '170000', '170001', '180000']) {
      await as(version);
      const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
      const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
      answers[version] = await codeOf(
        handle
          .selectFrom('app.note')
          .select('id')
          .execute()
          .then(() => Promise.reject({ code: 'runs' })),
      );
      await pool.end();
    }
    await as(`current_setting('server_version_num')::int`);
    expect(answers).toEqual({
      '140013': 'tenancy.unsafe_server',
      '150008': 'tenancy.unsafe_server',
      '150009': 'runs',
      '160004': 'tenancy.unsafe_server',
      '160005': 'runs',
      '170000': 'tenancy.unsafe_server',
      '170001': 'runs',
      '180000': 'runs',
    });
  });

  test('cannot truncate, turn row-level security off, or disable the policy', async () => {
    for (const statement of [
      'truncate app.note',
      'alter table app.note disable row level security',
      'alter table app.note no force row level security',
      'drop policy ringfence_org on app.note',
      'create policy open on app.note using (true)',
      `set role ${f.database.owner}`,
      'create function tenancy.org_id() returns uuid language sql as $$ select null::uuid $$',
    ]) {
      expect(await refusalOf(bare(statement))).toBe('42501');
    }
    // row_security = off makes a policy an error, not a hole
    expect(await refusalOf(bare('set row_security = off', 'select * from app.note'))).toBe('42501');
  });

  test('the owner, too, is bound by the policy', async () => {
    const owner = kyselyOf<Tables>(f.database.ownerUrl, 1);
    expect(await owner.selectFrom('app.note').selectAll().execute()).toEqual([]);
    await owner.destroy();
  });
});

/** Divides by zero, as a statement of a batch. */
function divideQuery(handle: ReturnType<Fixture['tenancy']['forOrg']>): Compilable<unknown> {
  return { compile: () => sql`select 1 / 0 as q`.compile(handle) };
}

/**
 * A pooler that answers a client with the session of another organisation: rewrites the id on the way back; or that counts
 * flights otherwise than the client: answers one that holds `early` with the end of the flight before it.
 */
async function lyingPooler(
  target: string,
  { from = ORG_A, to = ORG_A, early = '\0no text' }: { from?: string; to?: string; early?: string },
): Promise<{ url: string; close(): void }> {
  const upstream = new URL(target);
  const port = Number(upstream.port);
  const server = createServer((client) => {
    const real = connect(port, upstream.hostname);
    client.on('data', (chunk) => {
      if (chunk.includes(early)) client.write('Z\0\0\0\u0005T'); // ReadyForQuery, in a transaction
      real.write(chunk);
    });
    real.on('data', (chunk) =>
      client.write(Buffer.from(chunk.toString('latin1').replaceAll(from, to), 'latin1')),
    );
    for (const socket of [client, real]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        real.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstream.port = String((server.address() as AddressInfo).port);
  return { url: upstream.href, close: () => server.close() };
}

describe('a connection in an unknown state', () => {
  test('is destroyed when the server echoes another context than was sent', async () => {
    const pooler = await lyingPooler(f.database.appUrl, { from: ORG_A, to: ORG_B });
    const pool = new pg.Pool({ connectionString: pooler.url, max: 1 });
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    expect(await codeOf(sql`select 1`.execute(handle))).toBe('tenancy.context_mismatch');
    expect(pool.totalCount).toBe(0);
    await pool.end();
    pooler.close();
  });

  test('is destroyed when a flight ends that was not answered, instead of answering nothing', async () => {
    const pooler = await lyingPooler(f.database.appUrl, { early: '/* mixed up */' });
    const pool = new pg.Pool({ connectionString: pooler.url, max: 1 });
    pool.on('error', () => {}); // what comes after the end of the flight is unexpected
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    const run = handle.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      return await sql`/* mixed up */ select id from app.note`.execute(trx);
    });
    expect(await codeOf(run)).toBe('tenancy.connection_lost');
    expect(pool.totalCount).toBe(0);
    await pool.end();
    pooler.close();
  });

  test('is destroyed when it is lost in a transaction, and the error says so', async () => {
    const handle = f.tenancy.forOrg(ORG_A, ALICE);
    const run = handle.transaction().execute(async (trx) => {
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'gone', label: 'x' }).execute();
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(trx);
    });
    expect(await codeOf(run)).toMatch(/57P01|tenancy\.connection_lost/);
    expect(await handle.selectFrom('app.tag').selectAll().where('id', '=', 'gone').execute()).toEqual([]);
  });

  test('is destroyed when raw SQL left a transaction open on it', async () => {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    await sql`select 1`.execute(handle);
    await sql`begin`.execute(handle);
    expect(pool.totalCount).toBe(0);
    await pool.end();
  });

  test('leaves the prepared statements usable after an error in the flight that made them', async () => {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    const tenancy = createTenancy<Tables>({
      pool,
      contextKey: f.contextKey,
      preparedStatements: { limit: 3 },
    });
    const handle = tenancy.forOrg(ORG_A, ALICE);
    const divide = (n: number) => sql<{ q: number }>`select 10 / ${n}::int as q`.execute(handle);
    expect(await codeOf(divide(0))).toBe('22012');
    expect((await divide(5)).rows).toEqual([{ q: 2 }]);
    const skipped = sql<{ ok: number }>`select 1 as ok`.compile(handle);
    expect(await codeOf(handle.batch([divideQuery(handle), { compile: () => skipped }]))).toBe('22012');
    expect((await handle.executeQuery(skipped)).rows).toEqual([{ ok: 1 }]);
    for (let n = 0; n < 20; n++)
      expect((await sql`select ${sql.lit(n)} as n`.execute(handle)).rows).toEqual([{ n }]);
    const { rows } = await sql<{ n: string }>`select count(*) as n from pg_prepared_statements`.execute(
      handle,
    );
    expect(Number(rows[0]?.n)).toBeLessThanOrEqual(3);
    await pool.end();
  });
});
