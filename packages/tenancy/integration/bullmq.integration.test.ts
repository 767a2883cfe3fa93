// #region bullmq_imports
import { addJob, jobProcessor } from '@ringfence/tenancy/bullmq';
import { Queue, Worker } from 'bullmq';
// #endregion

import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { JobHandler } from '../src/jobs/index.ts';
import { ORG_A, ORG_B, type Tables } from '../test/fixture.ts';
import { BOB, type JobsFixture, jobsFixture, type Queues } from '../test/jobs-fixture.ts';
import { type RedisServer, startRedis } from './redis.ts';

let f: JobsFixture;
let server: RedisServer;
/** Someone who may write to Redis, and holds no key. */
let attacker: Redis;
let notes: Queue;
let drops: Queue;

beforeAll(async () => {
  server = await startRedis();
  f = await jobsFixture(inject('databaseUrl'));
  attacker = new Redis(server.port, '127.0.0.1');
  notes = new Queue('note.add', { connection: connection() });
  drops = new Queue('note.drop', { connection: connection() });
});
afterAll(async () => {
  await notes?.close();
  await drops?.close();
  attacker?.disconnect();
  await f?.close();
  await server?.stop();
});
beforeEach(async () => {
  f.refused.length = 0;
  await notes.obliterate({ force: true });
  await drops.obliterate({ force: true });
});

const WAIT = { timeout: 15_000, interval: 20 };
const connection = () => ({ host: '127.0.0.1', port: server.port });
const request = (org = ORG_A) => ({ org, principal: BOB, payload: { id: randomUUID(), body: 'x' } });
const RETRIES = { attempts: 4 };
const add = async (org = ORG_A) => (await addJob(f.jobs, notes, 'note.add', request(org), RETRIES)) ?? '';

type NoteHandler = JobHandler<Queues['note.add'], Tables, undefined, 'note.add'>;

/** Runs a worker of the queue of notes until these jobs are over. */
async function work(ids: readonly string[], handler?: NoteHandler): Promise<string[]> {
  const ran: string[] = [];
  const processor = jobProcessor(f.jobs, 'note.add', handler ?? (async ({ job }) => void ran.push(job.id)));
  const worker = new Worker('note.add', processor, { connection: connection() });
  worker.on('error', () => {});
  try {
    for (const id of ids)
      await expect.poll(() => notes.getJobState(id), WAIT).toMatch(/^(completed|failed)$/);
  } finally {
    await worker.close();
  }
  return ran;
}

describe('a job on BullMQ', () => {
  test('runs for the organisation it was added for', async () => {
    const [a, b] = [await add(ORG_A), await add(ORG_B)];
    const orgs: Record<string, string> = {};
    await work([a, b], async ({ db, payload, job }) => {
      await db
        .insertInto('app.note')
        .values({ org_id: undefined, ...payload })
        .execute();
      orgs[job.id] = db.org;
    });
    expect(orgs).toEqual({ [a]: ORG_A, [b]: ORG_B });
    expect(f.refused).toEqual([]);
  });

  test('that is deduplicated never takes the place of another organisation’s, nor passes for added', async () => {
    const of = (org: typeof ORG_A, id = '2026-02') =>
      addJob(f.jobs, notes, 'note.add', request(org), { deduplication: { id } });
    const [first, again, other] = [await of(ORG_A), await of(ORG_A), await of(ORG_B)];
    expect(first).not.toBeNull();
    expect(again).toBeNull();
    expect(other).not.toBeNull();
    // An id that spells the other's is still one's own.
    expect(await of(ORG_A, `${ORG_B}/2026-02`)).not.toBeNull();
    expect(await work([first ?? '', other ?? ''])).toEqual(expect.arrayContaining([first, other]));
    expect(f.refused).toEqual([]);
  });

  test('is retried after an error of its handler, and its effect committed once', async () => {
    const id = await add();
    const effects: boolean[] = [];
    await work([id], async ({ payload, once }) => {
      const { ran } = await once((trx) =>
        trx
          .insertInto('app.note')
          .values({ org_id: undefined, ...payload })
          .execute(),
      );
      effects.push(ran);
      if (effects.length < 3) throw new Error('not yet');
    });
    expect(await notes.getJobState(id)).toBe('completed');
    expect(effects).toEqual([true, false, false]);
    expect(await f.marksOf(id)).toEqual(['effect', 'completed']);
  });

  test('runs as the guide shows', async () => {
    const jobs = f.jobs;
    const org = ORG_A;
    const principal = BOB;
    const payload = request().payload;
    // #region bullmq
    const queue = new Queue('note.add', { connection: connection() });
    const processor = jobProcessor(jobs, 'note.add', async ({ db, payload, once }) => {
      await once((trx) =>
        trx
          .insertInto('app.note')
          .values({ org_id: db.org, ...payload })
          .execute(),
      );
    });
    const worker = new Worker('note.add', processor, { connection: connection() });

    await addJob(jobs, queue, 'note.add', { org, principal, payload }, { attempts: 5 });
    // #endregion
    const added = () =>
      f.tenancy.forOrg(org, BOB).selectFrom('app.note').select('id').where('id', '=', payload.id).execute();
    await expect.poll(added, WAIT).toHaveLength(1);
    await worker.close();
    await queue.close();
  });

  test('is not added to a queue of another name', async () => {
    await expect(addJob(f.jobs, drops, 'note.add', request())).rejects.toThrow(TypeError);
  });
});

describe('whoever writes to Redis without a key', () => {
  const keyOf = (id: string) => `bull:note.add:${id}`;
  const setData = async (id: string, edit: (data: string) => string) => {
    await attacker.hset(keyOf(id), 'data', edit((await attacker.hget(keyOf(id), 'data')) ?? ''));
    return id;
  };
  const replacing = (from: string, to: string) => (id: string) =>
    setData(id, (data) => data.replace(from, to));

  test.each<[string, string, (id: string) => Promise<string>]>([
    ['moves a job to another organisation', 'altered', replacing(ORG_A, ORG_B)],
    ['extends the life of a job', 'altered', replacing('|approver|', '0|approver|')],
    ['lets a job act for someone else', 'altered', replacing('user:bob', 'user:eve')],
    ['changes a payload', 'altered', replacing('\\"body\\":\\"x\\"', '\\"body\\":\\"eve\\"')],
    [
      'strips an envelope',
      'envelope_missing',
      (id) => setData(id, (data) => JSON.stringify({ payload: JSON.parse(data).payload })),
    ],
    [
      'moves a job to another queue',
      'wrong_queue',
      async (id) => {
        const sealed = await addJob(f.jobs, drops, 'note.drop', { ...request(), payload: { id: 'x' } });
        const moved = (await attacker.hget(`bull:note.drop:${sealed}`, 'data')) ?? '';
        return await setData(id, () => moved);
      },
    ],
    [
      'gives the job of one organisation the data of another',
      'wrong_id',
      async (id) => {
        const other = await add(ORG_B);
        const data = (await attacker.hget(keyOf(other), 'data')) ?? '';
        await notes.remove(other);
        return await setData(id, () => data);
      },
    ],
    [
      'enqueues a captured job a second time',
      'wrong_id',
      async (id) => {
        const data = JSON.parse((await attacker.hget(keyOf(id), 'data')) ?? '');
        await notes.remove(id);
        const copy = randomUUID();
        await notes.add('note.add', data, { ...RETRIES, jobId: copy });
        return copy;
      },
    ],
  ])('%s: refused, not run, not retried', async (_, code, attack) => {
    const target = await attack(await add());
    expect(await work([target])).toEqual([]);
    expect(f.refused).toMatchObject([{ code: `tenancy.job_${code}`, jobId: target }]);
    const job = await notes.getJob(target);
    expect(job).toMatchObject({ attemptsMade: 1, opts: { attempts: 4 } });
    expect(job?.failedReason).toMatch(new RegExp(`^tenancy\\.job_${code}: `));
    expect(await notes.getJobState(target)).toBe('failed');
  });

  test('adds a completed job again under its own id: it does not run a second time', async () => {
    const id = await add();
    const data = JSON.parse((await attacker.hget(keyOf(id), 'data')) ?? '');
    expect(await work([id])).toEqual([id]);
    await notes.remove(id);
    await notes.add('note.add', data, { ...RETRIES, jobId: id });
    expect(await work([id])).toEqual([]);
    expect(f.refused).toMatchObject([{ code: 'tenancy.job_replayed', jobId: id, org: ORG_A }]);
    expect(await notes.getJobState(id)).toBe('failed');
  });

  test('makes a repeating job of it: no repetition runs', async () => {
    const id = await add();
    const data = JSON.parse((await attacker.hget(keyOf(id), 'data')) ?? '');
    await notes.remove(id);
    await notes.upsertJobScheduler('again', { every: 3_600_000 }, { name: 'note.add', data });
    const [delayed] = [...(await notes.getJobs(['delayed', 'waiting']))];
    await work([delayed?.id ?? '']);
    expect(f.refused.map(({ code }) => code)).toContain('tenancy.job_wrong_id');
  });
});
