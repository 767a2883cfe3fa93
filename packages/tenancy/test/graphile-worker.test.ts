import { randomUUID } from 'node:crypto';
import { Logger, makeWorkerUtils, runOnce, type WorkerUtils } from 'graphile-worker';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { addJob, jobTask } from '../src/graphile-worker/index.ts';
import { codeOf, ORG_A, ORG_B } from './fixture.ts';
import { BOB, type JobsFixture, jobsFixture } from './jobs-fixture.ts';

let f: JobsFixture;
let utils: WorkerUtils;
/** Owner of the queue's schema. To the jobs it is an attacker: it holds no key. */
let pool: pg.Pool;
const logger = new Logger(() => () => {});

beforeAll(async () => {
  f = await jobsFixture(inject('databaseUrl'));
  pool = new pg.Pool({ connectionString: f.database.ownerUrl, max: 4 });
  pool.on('error', () => {});
  pool.on('connect', () => {}); // Graphile Worker asks for both listeners
  utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
});
afterAll(async () => {
  await utils.release();
  await pool.end();
  await f.close();
});
beforeEach(async () => {
  f.refused.length = 0;
  await pool.query('delete from graphile_worker._private_jobs');
});

const request = (org = ORG_A) => ({ org, principal: BOB, payload: { id: randomUUID(), body: 'x' } });
const add = (org = ORG_A) => addJob(f.jobs, utils.addJob, 'note.add', request(org));

/** Runs everything that is due, once; then what has been put off by a failure, until nothing is left to run. */
async function work(taskList?: Record<string, ReturnType<typeof jobTask>>): Promise<string[]> {
  const ran: string[] = [];
  const tasks = taskList ?? {
    'note.add': jobTask(f.jobs, 'note.add', async ({ job }) => void ran.push(job.id)),
    'note.drop': jobTask(f.jobs, 'note.drop', async ({ job }) => void ran.push(job.id)),
  };
  for (;;) {
    await pool.query('update graphile_worker._private_jobs set run_at = now()');
    await runOnce({ pgPool: pool, taskList: tasks, logger, noHandleSignals: true });
    const { rows } = await pool.query(
      'select from graphile_worker._private_jobs where attempts < max_attempts',
    );
    if (rows.length === 0) return ran;
  }
}

const jobsLeft = async () =>
  (await pool.query('select key, attempts, max_attempts, last_error from graphile_worker._private_jobs'))
    .rows;

describe('a job on Graphile Worker', () => {
  test('runs for the organisation it was added for', async () => {
    const [a, b] = [await add(ORG_A), await add(ORG_B)];
    const orgs: Record<string, string> = {};
    const task = jobTask(f.jobs, 'note.add', async ({ db, payload, job }) => {
      await db
        .insertInto('app.note')
        .values({ org_id: undefined, ...payload })
        .execute();
      orgs[job.id] = db.org;
    });
    await work({ 'note.add': task });
    expect(orgs).toEqual({ [a]: ORG_A, [b]: ORG_B });
    expect(await jobsLeft()).toEqual([]);
    expect(f.refused).toEqual([]);
  });

  test('is retried after an error of its handler, and its effect committed once', async () => {
    const id = await add();
    const effects: boolean[] = [];
    const task = jobTask(f.jobs, 'note.add', async ({ payload, once }) => {
      const { ran } = await once((trx) =>
        trx
          .insertInto('app.note')
          .values({ org_id: undefined, ...payload })
          .execute(),
      );
      effects.push(ran);
      if (effects.length < 3) throw new Error('not yet');
    });
    await work({ 'note.add': task });
    expect(effects).toEqual([true, false, false]);
    expect(await f.marksOf(id)).toEqual(['effect', 'completed']);
    expect(await jobsLeft()).toEqual([]);
  });

  test('names its schema in a plain way', () => {
    expect(() => jobTask(f.jobs, 'note.add', async () => {}, { schema: 'x"; drop' })).toThrow(
      expect.objectContaining({ code: 'tenancy.invalid_identifier' }),
    );
  });
});

describe('whoever writes to the tables of Graphile Worker without a key', () => {
  const set = async (expression: string, key: string, ...values: unknown[]) => {
    await pool.query(`update graphile_worker._private_jobs set ${expression} where key = $1`, [
      key,
      ...values,
    ]);
    return key;
  };
  const inEnvelope = (from: string, to: string) => (key: string) =>
    set('payload = replace(payload::text, $2, $3)::json', key, from, to);

  test.each<[string, string, (key: string) => Promise<string | null>]>([
    ['moves a job to another organisation', 'altered', inEnvelope(ORG_A, ORG_B)],
    ['extends the life of a job', 'altered', inEnvelope('|approver|', '0|approver|')],
    ['lets a job act for someone else', 'altered', inEnvelope('user:bob', 'user:eve')],
    ['changes a payload', 'altered', inEnvelope('\\"body\\":\\"x\\"', '\\"body\\":\\"eve\\"')],
    [
      'strips an envelope',
      'envelope_missing',
      (key) => set(`payload = (payload::jsonb - 'envelope')::json`, key),
    ],
    ['makes a batch of a job', 'envelope_missing', (key) => set('payload = json_build_array(payload)', key)],
    [
      'renames the task of a job',
      'wrong_queue',
      async (key) => {
        await utils.addJob('note.drop', {});
        const task = `(select id from graphile_worker._private_tasks where identifier = 'note.drop')`;
        await pool.query(`delete from graphile_worker._private_jobs where task_id = ${task}`);
        return await set(`task_id = ${task}`, key);
      },
    ],
    [
      'gives the job of one organisation the data of another',
      'wrong_id',
      async (key) => {
        const other = await add(ORG_B);
        await set('payload = (select payload from graphile_worker._private_jobs where key = $2)', key, other);
        await pool.query('delete from graphile_worker._private_jobs where key = $1', [other]);
        return key;
      },
    ],
    [
      'enqueues a captured job a second time',
      'wrong_id',
      async (key) => {
        const copy = randomUUID();
        await set('key = $2', key, copy);
        return copy;
      },
    ],
    [
      'takes the key off a job',
      'wrong_id',
      async (key) => {
        await set('key = null', key);
        return null;
      },
    ],
  ])('%s: refused, not run, not retried', async (_, code, attack) => {
    const key = await attack(await add());
    expect(await work()).toEqual([]);
    expect(f.refused).toMatchObject([{ code: `tenancy.job_${code}`, jobId: key ?? undefined }]);
    const left = await jobsLeft();
    expect(left).toMatchObject([{ key, attempts: 25, max_attempts: 25 }]);
    expect(left[0].last_error).not.toBe('');
  });

  test('swaps the data of two jobs: neither runs', async () => {
    const keys = [await add(ORG_A), await add(ORG_B)];
    await pool.query(
      `update graphile_worker._private_jobs j set payload = o.payload from graphile_worker._private_jobs o
        where j.key = any($1) and o.key = any($1) and j.key <> o.key`,
      [keys],
    );
    expect(await work()).toEqual([]);
    expect(f.refused.map(({ code }) => code)).toEqual(['tenancy.job_wrong_id', 'tenancy.job_wrong_id']);
  });

  test('adds a completed job again under its own key: it does not run a second time', async () => {
    const key = await add();
    const { rows } = await pool.query('select payload from graphile_worker._private_jobs where key = $1', [
      key,
    ]);
    expect(await work()).toEqual([key]);
    await utils.addJob('note.add', rows[0].payload, { jobKey: key });
    expect(await work()).toEqual([]);
    expect(f.refused).toMatchObject([{ code: 'tenancy.job_replayed', jobId: key, org: ORG_A }]);
    expect(await jobsLeft()).toMatchObject([{ attempts: 25, max_attempts: 25 }]);
  });

  test('is not one of the application: its own login has no way into the tables of the queue', async () => {
    const app = new pg.Client({ connectionString: f.database.appUrl });
    await app.connect();
    expect(await codeOf(app.query('select from graphile_worker._private_jobs'))).toBe('42501');
    await app.end();
  });
});
