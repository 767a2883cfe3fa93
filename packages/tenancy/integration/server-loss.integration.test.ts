import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PostgresServer, startEmbedded } from '../../../tools/postgres.ts';
import { createTenancy, type OrgId, type Tenancy } from '../src/index.ts';
import { ALICE, type Fixture, fixture, ORG_A, ORG_B, type Tables } from '../test/fixture.ts';

let server: PostgresServer;
let restarted: ChildProcess | undefined;
let f: Fixture;
let pool: pg.Pool;
let tenancy: Tenancy<Tables>;
beforeAll(async () => {
  server = await startEmbedded();
  f = await fixture(server.url);
  pool = new pg.Pool({ connectionString: f.database.appUrl, max: 8 });
  pool.on('error', () => {});
  tenancy = createTenancy<Tables>({ pool, contextKey: f.contextKey });
});
afterAll(async () => {
  await pool.end();
  await f.close();
  restarted?.kill('SIGQUIT');
  await server.stop();
});

/** What the callers were told of their transactions, by the id of each. */
type Outcomes = Map<string, 'committed' | 'lost'>;

/** Writes pairs of rows, one transaction each, until told to stop; nothing but a lost connection may go wrong. */
async function write(org: OrgId, prefix: string, outcomes: Outcomes, going: () => boolean): Promise<void> {
  const db = tenancy.forOrg(org, ALICE);
  for (let n = 0; going(); n++) {
    const id = `${prefix}.${n}`;
    const run = db.transaction().execute(async (trx) => {
      const [seen] = await trx
        .insertInto('app.tag')
        .values({ org_id: undefined, id: `${id}.1`, label: prefix })
        .returning('org_id')
        .execute();
      expect(seen).toEqual({ org_id: org });
      expect(await trx.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: org }]);
      await trx
        .insertInto('app.tag')
        .values({ org_id: undefined, id: `${id}.2`, label: prefix })
        .execute();
    });
    try {
      await run;
      outcomes.set(id, 'committed');
    } catch (error) {
      expect(error).toMatchObject({ code: 'tenancy.connection_lost' });
      outcomes.set(id, 'lost');
    }
  }
}

/** Ten workers of two organisations write while `disturb` runs; then every transaction is whole or absent. */
async function underDisturbance(
  label: string,
  disturb: (committed: () => number) => Promise<number>,
): Promise<void> {
  const outcomes: Outcomes = new Map();
  const count = (outcome: string) => [...outcomes.values()].filter((one) => one === outcome).length;
  let going = true;
  const workers = Array.from({ length: 10 }, (_, n) =>
    write(n % 2 === 0 ? ORG_A : ORG_B, `${label}.${n}`, outcomes, () => going),
  );
  const disturbances = await disturb(() => count('committed')).finally(() => {
    going = false;
  });
  await Promise.all(workers);
  const there = new Map<string, number>();
  for (const org of [ORG_A, ORG_B]) {
    const rows = await tenancy
      .forOrg(org, ALICE)
      .selectFrom('app.tag')
      .select(['org_id', 'id'])
      .where('label', 'like', `${label}.%`)
      .execute();
    for (const row of rows) {
      expect(row.org_id).toBe(org);
      const id = row.id.slice(0, -2);
      there.set(id, (there.get(id) ?? 0) + 1);
    }
  }
  for (const [id, outcome] of outcomes) {
    const rows = there.get(id) ?? 0;
    if (outcome === 'committed') expect([id, rows]).toEqual([id, 2]);
    else expect([0, 2], id).toContain(rows);
  }
  const kept = [...outcomes].filter(([id, outcome]) => outcome === 'lost' && there.has(id)).length;
  expect(count('lost')).toBeGreaterThan(0);
  process.stdout.write(
    `${label}: ${disturbances} disturbances, ${count('committed')} committed, ${count('lost')} lost, of which ${kept} took effect\n`,
  );
}

async function asSuperuser<T>(run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: f.database.superuserUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** Process ids of sessions in the middle of a transaction of the app role. */
async function sessions(client: pg.Client): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `select pid from pg_stat_activity where usename = $1 and state <> 'idle' order by random()`,
    [f.database.app],
  );
  return rows.map(({ pid }) => pid);
}

/** Resolves once the workers have committed more, so that each disturbance meets a pool that has recovered. */
async function progress(committed: () => number, more: number): Promise<void> {
  const target = committed() + more;
  while (committed() < target) await new Promise((resolve) => setImmediate(resolve));
}

test('sessions ended by an administrator in the middle of transactions', async () => {
  await underDisturbance('terminated', (committed) =>
    asSuperuser(async (client) => {
      let ended = 0;
      while (ended < 200) {
        for (const pid of (await sessions(client)).slice(0, 3)) {
          await client.query('select pg_terminate_backend($1)', [pid]);
          ended++;
        }
        await progress(committed, 3);
      }
      return ended;
    }),
  );
});

test('a killed server process, after which the server recovers from a crash', async () => {
  await underDisturbance('killed', async (committed) => {
    for (let round = 0; round < 5; round++) {
      const [pid] = await asSuperuser(async (client) => {
        for (;;) {
          const pids = await sessions(client);
          if (pids.length > 0) return pids;
        }
      });
      process.kill(pid as number, 'SIGKILL');
      await progress(committed, 30);
    }
    return 5;
  });
});

test('a whole server killed and started again', async () => {
  const { pid, cwd } = await asSuperuser(async (client) => {
    const { rows } = await client.query<{ pid: string; cwd: string }>(
      `select split_part(pg_read_file('postmaster.pid'), e'\\n', 1) as pid, current_setting('data_directory') as cwd`,
    );
    return rows[0] as { pid: string; cwd: string };
  });
  const exe = readlinkSync(`/proc/${pid}/exe`);
  const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1, -1);
  const children = () =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  const identity = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const started = async () => {
    const again = spawn(exe, args, { ...identity, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    restarted = again;
    let log = '';
    return await new Promise<boolean>((resolve, reject) => {
      again.once('error', reject);
      // `close`, not `exit`: its last words may still be in the pipe when a process exits.
      again.once('close', () =>
        log.includes('still in use') || log.includes('already exists')
          ? resolve(false)
          : reject(new Error(log)),
      );
      again.stderr?.on('data', (chunk: Buffer) => {
        log += chunk.toString();
        if (log.includes('ready to accept connections')) resolve(true);
      });
    });
  };
  await underDisturbance('restarted', async (committed) => {
    await progress(committed, 50);
    const all = [Number(pid), ...children()];
    for (const one of all) {
      try {
        process.kill(one, 'SIGKILL');
      } catch (error) {
        expect(error).toMatchObject({ code: 'ESRCH' }); // ended by itself
      }
    }
    // The last processes of the killed server may still hold its memory: then the new one refuses to start.
    while (!(await started())) restarted = undefined;
    await progress(committed, 50);
    return 1;
  });
  const { rows } = await sql<{ n: number }>`select count(*)::int as n from app.note`.execute(
    tenancy.forOrg(ORG_B, ALICE),
  );
  expect(rows).toEqual([{ n: 1 }]);
});
