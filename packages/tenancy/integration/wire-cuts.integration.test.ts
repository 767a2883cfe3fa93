import { type CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { atCommit, createTenancy, type OrgDb } from '../src/index.ts';
import { ALICE, type Fixture, fixture, ORG_A, ORG_B, type Tables } from '../test/fixture.ts';
import { type Direction, startWireProxy, type WireProxy } from '../test/wire-proxy.ts';

let f: Fixture;
let proxy: WireProxy;
let pool: pg.Pool;
let a: OrgDb<Tables>;
let b: OrgDb<Tables>;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  proxy = await startWireProxy(f.database.appUrl);
  pool = new pg.Pool({ connectionString: proxy.url, max: 1 });
  pool.on('error', () => {});
  const tenancy = createTenancy<Tables>({ pool, contextKey: f.contextKey });
  a = tenancy.forOrg(ORG_A, ALICE);
  b = tenancy.forOrg(ORG_B, { actor: 'user:bob' });
});
afterAll(async () => {
  await pool.end();
  proxy.close();
  await f.close();
});

const tag = (db: Pick<OrgDb<Tables>, 'insertInto'>, id: string) =>
  db.insertInto('app.tag').values({ org_id: undefined, id, label: 'cut' });
const notes = (db: Pick<OrgDb<Tables>, 'selectFrom'>) => db.selectFrom('app.note').select('org_id');
const own = (rows: readonly { org_id?: unknown }[]) => rows.every(({ org_id }) => org_id === ORG_A);

/** Each answers whether it saw only rows of its organisation, and writes the row `id` unless it only reads. */
const SCENARIOS: Record<string, (id: string) => Promise<boolean>> = {
  'a statement': async (id) => (await tag(a, id).execute()).length === 1,
  'a batch': async (id) => {
    const [first, , last] = await a.batch([notes(a), tag(a, id), notes(a)]);
    return own([...first.rows, ...last.rows]);
  },
  'a transaction': async (id) => {
    const { rows, queued } = await a.transaction().execute(async (trx) => ({
      rows: [
        ...(await notes(trx).execute()),
        await tag(trx, id)
          .execute()
          .then(() => ({ org_id: ORG_A })),
      ],
      queued: await atCommit(trx, notes(a).compile()),
    }));
    return own([...rows, ...((await queued.result).rows as { org_id?: unknown }[])]);
  },
  'a stream': async () => {
    const query = sql<{ org_id: string }>`select org_id from app.note, generate_series(1, 5)`.compile(a);
    const stream = a.getExecutor().stream(query as CompiledQuery<{ org_id: string }>, 2);
    let only = true;
    for await (const { rows } of stream) only &&= own(rows);
    return only;
  },
};

/** How often the row is there once the server has ended the session that wrote it. */
async function written(id: string): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from app.tag where id = ${id}`.execute(f.tenancy.forOrg(ORG_A, ALICE));
  return rows[0]?.n ?? -1;
}

test.each(Object.entries(SCENARIOS))(
  '%s that is cut off at any message is whole or lost, and the connection is not lent again',
  async (name, run) => {
    await run(`${name} unprepared`);
    proxy.arm();
    await run(`${name} counted`);
    const messages = { ...proxy.passed };
    expect(messages.toServer).toBeGreaterThanOrEqual(5); // two Binds, two Executes and a Sync at least
    const lost = { toServer: 0, toClient: 0 };
    const writes = name === 'a stream' ? 0 : 1;
    const commits = name === 'a transaction';
    for (const direction of ['toServer', 'toClient'] satisfies Direction[]) {
      for (let index = 0; index < messages[direction]; index++) {
        for (const within of [false, true]) {
          const id = `${name} ${direction} ${index} ${within}`;
          // A warm connection, and a statement prepared on it, so that the messages are those that were counted.
          await run(`${id} warm`);
          const { sessions, cuts } = proxy;
          proxy.arm({ direction, index, within });
          const outcome = await run(id).catch((error: { code?: unknown }) => error.code);
          expect(proxy.cuts, id).toBe(cuts + 1);
          expect(outcome === true ? outcome : [id, outcome]).toEqual([id, 'tenancy.connection_lost']);
          lost[direction]++;
          expect(await notes(b).execute(), id).toEqual([{ org_id: ORG_B }]);
          expect(proxy.sessions, id).toBe(sessions + 1);
          // Committed is what the server was asked to commit: by the Sync, or by a COMMIT in front of the last Sync.
          const asked = direction === 'toClient' || (commits && index === messages.toServer - 1);
          expect([0, asked ? writes : 0], id).toContain(await written(id));
        }
      }
    }
    expect(lost).toEqual({ toServer: 2 * messages.toServer, toClient: 2 * messages.toClient });
    process.stdout.write(`${name}: ${JSON.stringify(lost)}\n`);
  },
  120_000,
);
