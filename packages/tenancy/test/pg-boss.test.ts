import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { sendJob, workJobs } from '../src/pg-boss/index.ts';
import { ORG_A, ORG_B } from './fixture.ts';
import { BOB, type JobsFixture, jobsFixture } from './jobs-fixture.ts';

let f: JobsFixture;
let boss: PgBoss;
/** Someone who may write to the tables of the queue, and holds no key. */
let attacker: pg.Client;

const POLL = { pollingIntervalSeconds: 0.5 };
const WAIT = { timeout: 15_000, interval: 50 };

beforeAll(async () => {
  f = await jobsFixture(inject('databaseUrl'));
  boss = new PgBoss({
    connectionString: f.database.ownerUrl,
    supervise: false,
    schedule: false,
    monitorIntervalSeconds: 1,
  });
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue('dead');
  await boss.createQueue('note.add', { retryLimit: 3, retryDelay: 0 });
  await boss.createQueue('note.drop', { retryLimit: 3, retryDelay: 0, deadLetter: 'dead' });
  attacker = new pg.Client({ connectionString: f.database.ownerUrl });
  await attacker.connect();
});
afterAll(async () => {
  await attacker.end();
  await boss.stop({ graceful: false });
  await f.close();
});
beforeEach(async () => {
  f.refused.length = 0;
  await boss.deleteAllJobs();
});

const request = (org = ORG_A) => ({ org, principal: BOB, payload: { id: randomUUID(), body: 'x' } });
const send = async (org = ORG_A) => (await sendJob(f.jobs, boss, 'note.add', request(org))) ?? '';

interface Row {
  readonly name: string;
  readonly state: string;
  readonly retry_count: number;
  readonly output: { code?: string; value?: { code?: string } } | null;
}
async function rowOf(id: string): Promise<Row | undefined> {
  const { rows } = await attacker.query<Row>(
    'select name, state, retry_count, output from pgboss.job where id = $1',
    [id],
  );
  return rows[0];
}

/** Runs workers of both queues until all of these jobs are refused or done. */
async function work(ids: readonly string[]): Promise<string[]> {
  const ran: string[] = [];
  for (const queue of ['note.add', 'note.drop'] as const) {
    await workJobs(f.jobs, boss, queue, async ({ job }) => void ran.push(job.id), POLL);
  }
  try {
    for (const id of ids)
      await expect.poll(async () => (await rowOf(id))?.state, WAIT).toMatch(/completed|failed/);
  } finally {
    for (const queue of ['note.add', 'note.drop']) await boss.offWork(queue);
  }
  return ran;
}

describe('a job on pg-boss', () => {
  test('runs for the organisation it was sent for', async () => {
    const ids = [await send(ORG_A), await send(ORG_B)];
    const orgs: Record<string, string> = {};
    await workJobs(
      f.jobs,
      boss,
      'note.add',
      async ({ db, payload, job }) => {
        await db
          .insertInto('app.note')
          .values({ org_id: undefined, ...payload })
          .execute();
        orgs[job.id] = db.org;
      },
      POLL,
    );
    for (const id of ids) await expect.poll(async () => (await rowOf(id))?.state, WAIT).toBe('completed');
    await boss.offWork('note.add');
    expect(orgs).toEqual({ [ids[0] ?? '']: ORG_A, [ids[1] ?? '']: ORG_B });
    expect(f.refused).toEqual([]);
  });

  test('is retried after an error of its handler, and its effect committed once', async () => {
    const id = await send();
    const effects: boolean[] = [];
    await workJobs(
      f.jobs,
      boss,
      'note.add',
      async ({ payload, once }) => {
        const { ran } = await once((trx) =>
          trx
            .insertInto('app.note')
            .values({ org_id: undefined, ...payload })
            .execute(),
        );
        effects.push(ran);
        if (effects.length < 3) throw new Error('not yet');
      },
      POLL,
    );
    await expect.poll(async () => (await rowOf(id))?.state, WAIT).toBe('completed');
    await boss.offWork('note.add');
    expect(effects).toEqual([true, false, false]);
    expect(await f.marksOf(id)).toEqual(['effect', 'completed']);
    expect(f.refused).toEqual([]);
  });

  test('whose worker is killed behind the commit of its effect runs again, without the effect', async () => {
    const id = (await sendJob(f.jobs, boss, 'note.add', request(), { expireInSeconds: 3 })) ?? '';
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
    const script = fileURLToPath(new URL('./pg-boss-child.ts', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=@ringfence/source', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        OWNER_URL: f.database.ownerUrl,
        APP_URL: f.database.appUrl,
        CONTEXT_SECRET: hex(f.contextKey.secret),
        JOB_SECRET: hex(f.key.secret),
      },
    });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(said.toString('utf8').trim()).toBe('committed');
    await expect
      .poll(async () => {
        await boss.supervise('note.add');
        return (await rowOf(id))?.state;
      }, WAIT)
      .toBe('retry');
    const effects: boolean[] = [];
    await workJobs(
      f.jobs,
      boss,
      'note.add',
      async ({ once: effectOnce }) => void effects.push((await effectOnce(async () => {})).ran),
      POLL,
    );
    await expect.poll(async () => (await rowOf(id))?.state, WAIT).toBe('completed');
    await boss.offWork('note.add');
    expect(new Set(effects)).toEqual(new Set([false]));
    expect(f.refused).toEqual([]);
  });

  /** pg-boss cuts time into slots from 1970 on: none of this length ends before 2033. */
  const SLOT = 1_000_000_000;
  test.each([
    ['of one singleton key', { singletonKey: '2026-02', singletonSeconds: SLOT }],
    ['throttled without a key', { singletonSeconds: SLOT }],
  ])('%s never takes the place of another organisation’s', async (_, options) => {
    const of = (org: typeof ORG_A) => sendJob(f.jobs, boss, 'note.add', request(org), options);
    const [first, again, other] = [await of(ORG_A), await of(ORG_A), await of(ORG_B)];
    expect(first).not.toBeNull();
    expect(again).toBeNull();
    expect(other).not.toBeNull();
    expect((await work([first ?? '', other ?? ''])).sort()).toEqual([first, other].sort());
  });

  test('fills a queue that holds one job for its own organisation alone', async () => {
    await boss.createQueue('note.drop.short', { policy: 'short' });
    const short = { send: (_: string, ...rest: [object, object]) => boss.send('note.drop.short', ...rest) };
    const of = (org: typeof ORG_A, options = {}) =>
      sendJob(f.jobs, short as never, 'note.drop', { org, principal: BOB, payload: { id: 'x' } }, options);
    expect(await of(ORG_A)).not.toBeNull();
    expect(await of(ORG_A)).toBeNull();
    expect(await of(ORG_B)).not.toBeNull();
    // A key that spells another organisation is still a key of one's own.
    expect(await of(ORG_A, { singletonKey: ORG_B })).not.toBeNull();
  });

  test('is sent in a transaction of the application, or not at all', async () => {
    const client = new pg.Client({ connectionString: f.database.ownerUrl });
    await client.connect();
    await client.query('begin');
    const db = { executeSql: (text: string, values: unknown[]) => client.query(text, values) };
    const id = await sendJob(f.jobs, boss, 'note.add', request(), { db } as never);
    await client.query('rollback');
    await client.end();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await rowOf(id ?? '')).toBeUndefined();
  });
});

describe('whoever writes to the tables of pg-boss without a key', () => {
  const set = (expression: string, id: string, ...values: unknown[]) =>
    attacker.query(`update pgboss.job set ${expression} where id = $1`, [id, ...values]);
  const inEnvelope = (from: string, to: string) => async (id: string) => {
    await set(
      `data = jsonb_set(data, '{envelope}', to_jsonb(replace(data->>'envelope', $2, $3)))`,
      id,
      from,
      to,
    );
    return id;
  };

  test.each<[string, string, (id: string) => Promise<string>]>([
    ['moves a job to another organisation', 'altered', inEnvelope(ORG_A, ORG_B)],
    ['extends the life of a job', 'altered', inEnvelope('|approver|', '0|approver|')],
    ['lets a job act for someone else', 'altered', inEnvelope('user:bob', 'user:eve')],
    [
      'changes a payload',
      'altered',
      async (id) => {
        await set(`data = jsonb_set(data, '{payload}', '"{\\"id\\":\\"x\\",\\"body\\":\\"eve\\"}"')`, id);
        return id;
      },
    ],
    [
      'strips an envelope',
      'envelope_missing',
      async (id) => {
        await set(`data = data - 'envelope'`, id);
        return id;
      },
    ],
    [
      'puts plain data in its place',
      'envelope_missing',
      async (id) => {
        await set('data = $2', id, { org: ORG_B, id: 'x', body: 'eve' });
        return id;
      },
    ],
    [
      'moves a job to another queue',
      'wrong_queue',
      async (id) => {
        await set(`name = 'note.drop'`, id);
        return id;
      },
    ],
    [
      'gives the job of one organisation the data of another',
      'wrong_id',
      async (id) => {
        await set('data = (select data from pgboss.job where id = $2)', id, await send(ORG_B));
        return id;
      },
    ],
    [
      'enqueues a captured job a second time',
      'wrong_id',
      async (id) => {
        const { rows } = await attacker.query('select data from pgboss.job where id = $1', [id]);
        const copy = randomUUID();
        await boss.send('note.add', rows[0].data, { id: copy });
        return copy;
      },
    ],
  ])('%s: refused, not run, not retried', async (_, code, attack) => {
    const target = await attack(await send());
    const ran = await work([target]);
    expect(ran).not.toContain(target);
    expect(f.refused).toMatchObject([{ code: `tenancy.job_${code}`, jobId: target }]);
    const row = await rowOf(target);
    expect(row).toMatchObject({ state: 'failed', retry_count: 0 });
    expect(row?.output?.code ?? row?.output?.value?.code).toBe(`tenancy.job_${code}`);
  });

  test('swaps the data of two jobs: neither runs', async () => {
    const ids = [await send(ORG_A), await send(ORG_B)];
    await attacker.query(
      `update pgboss.job j set data = o.data from pgboss.job o where j.id = any($1) and o.id = any($1) and j.id <> o.id`,
      [ids],
    );
    expect(await work(ids)).toEqual([]);
    expect(f.refused.map(({ code }) => code)).toEqual(['tenancy.job_wrong_id', 'tenancy.job_wrong_id']);
  });

  test('inserts a completed job again under its own id: it does not run a second time', async () => {
    const id = await send();
    const { rows } = await attacker.query('select data from pgboss.job where id = $1', [id]);
    expect(await work([id])).toEqual([id]);
    await boss.deleteJob('note.add', id);
    expect(await boss.send('note.add', rows[0].data, { id })).toBe(id);
    expect(await work([id])).toEqual([]);
    expect(f.refused).toMatchObject([{ code: 'tenancy.job_replayed', jobId: id, org: ORG_A }]);
    expect(await rowOf(id)).toMatchObject({ state: 'failed', retry_count: 0 });
  });

  test('gets a refused job no further than the dead letter queue, where it is not believed either', async () => {
    const id = (await sendJob(f.jobs, boss, 'note.drop', { ...request(), payload: { id: 'x' } })) ?? '';
    await inEnvelope(ORG_A, ORG_B)(id);
    await work([id]);
    const { rows } = await attacker.query(`select id, data from pgboss.job where name = 'dead'`);
    expect(rows).toHaveLength(1);
    const worker = f.jobs.worker('note.drop', async () => {});
    expect((await worker.run(rows[0]))?.code).toBe('tenancy.job_altered');
  });
});
