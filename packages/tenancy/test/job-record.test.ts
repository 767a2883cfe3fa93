/** What is remembered of jobs: replays, effects that commit once, and the table of marks. */
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { pruneJobMarks, type SealedJob } from '../src/jobs/index.ts';
import { codeOf, ORG_A, ORG_B } from './fixture.ts';
import { BOB, type JobsFixture, jobsFixture } from './jobs-fixture.ts';

let f: JobsFixture;
beforeAll(async () => {
  f = await jobsFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(() => {
  f.refused.length = 0;
});

const seal = (org = ORG_A): SealedJob =>
  f.jobs.seal('note.add', { org, principal: BOB, payload: { id: randomUUID(), body: 'by a job' } });

/** A worker that notes what it ran. */
function noting() {
  const ran: string[] = [];
  const worker = f.jobs.worker('note.add', async ({ job }) => {
    ran.push(job.id);
  });
  return { ran, run: worker.run };
}

describe('a replay', () => {
  test('of a completed job is refused', async () => {
    const { ran, run } = noting();
    const sealed = seal();
    expect(await run(sealed)).toBeUndefined();
    expect((await run(sealed))?.code).toBe('tenancy.job_replayed');
    expect(ran).toHaveLength(1);
    expect(f.refused).toEqual([
      { code: 'tenancy.job_replayed', queue: 'note.add', jobId: sealed.id, org: ORG_A },
    ]);
    expect(await f.marksOf(sealed.id)).toEqual(['completed']);
  });

  test('is not what a retry after an error of the handler is', async () => {
    let attempts = 0;
    const worker = f.jobs.worker('note.add', async () => {
      if (++attempts < 3) throw new Error('not yet');
    });
    const sealed = seal();
    await expect(worker.run(sealed)).rejects.toThrow('not yet');
    await expect(worker.run(sealed)).rejects.toThrow('not yet');
    expect(await worker.run(sealed)).toBeUndefined();
    expect(f.refused).toEqual([]);
  });

  test('cannot be had by an error of the handler that looks like a refusal', async () => {
    const { ran, run } = noting();
    const worker = f.jobs.worker('note.add', async () => {
      throw await run({ id: 'x', data: {} });
    });
    expect(await codeOf(worker.run(seal()))).toBe('tenancy.job_envelope_missing');
    expect(ran).toEqual([]);
  });
});

describe('once', () => {
  const notes = (id: string) =>
    f.tenancy.forOrg(ORG_A, BOB).selectFrom('app.note').select('body').where('id', '=', id).execute();
  const adding = (after: (ran: boolean) => void) =>
    f.jobs.worker('note.add', async ({ payload, once }) => {
      const { ran } = await once((trx) =>
        trx
          .insertInto('app.note')
          .values({ org_id: undefined, ...payload })
          .execute(),
      );
      after(ran);
    });
  const idOf = (sealed: SealedJob) => (JSON.parse(sealed.data.payload) as { id: string }).id;

  test('commits its effect one time, while the rest of the handler is retried', async () => {
    const sealed = seal();
    const rest: boolean[] = [];
    const worker = adding((ran) => {
      rest.push(ran);
      if (rest.length === 1) throw new Error('mail server down');
    });
    await expect(worker.run(sealed)).rejects.toThrow('mail server down');
    expect(await worker.run(sealed)).toBeUndefined();
    expect(rest).toEqual([true, false]);
    expect(await notes(idOf(sealed))).toHaveLength(1);
    expect(await f.marksOf(sealed.id)).toEqual(['effect', 'completed']);
  });

  test('runs again when its effect did not commit', async () => {
    const sealed = seal();
    let attempts = 0;
    const worker = f.jobs.worker('note.add', async ({ payload, once }) => {
      await once(async (trx) => {
        await trx
          .insertInto('app.note')
          .values({ org_id: undefined, ...payload })
          .execute();
        if (++attempts === 1) throw new Error('rolled back');
      });
    });
    await expect(worker.run(sealed)).rejects.toThrow('rolled back');
    expect(await notes(idOf(sealed))).toEqual([]);
    expect(await f.marksOf(sealed.id)).toEqual([]);
    expect(await worker.run(sealed)).toBeUndefined();
    expect(await notes(idOf(sealed))).toHaveLength(1);
  });

  test('commits its effect one time when the job is delivered to two workers at the same time', async () => {
    const sealed = seal();
    const ran: boolean[] = [];
    const worker = adding((each) => ran.push(each));
    await Promise.all([worker.run(sealed), worker.run(sealed), worker.run(sealed)]);
    expect(ran.filter(Boolean)).toHaveLength(1);
    expect(await notes(idOf(sealed))).toHaveLength(1);
  });

  test('refuses to be called twice in one run', async () => {
    const worker = f.jobs.worker('note.add', async ({ once }) => {
      await once(async () => 1);
      await once(async () => 2);
    });
    await expect(worker.run(seal())).rejects.toThrow(TypeError);
  });
});

describe('the record of jobs', () => {
  const marks = (org = ORG_A) => f.tenancy.forOrg(org, BOB);

  test('is isolated: the mark of one organisation stops no job of another', async () => {
    const sealed = seal(ORG_A);
    await sql`insert into tenancy.job_mark (job_id, mark, expires_at)
      values (${sealed.id}::uuid, 'completed', now() + interval '1 day')`.execute(marks(ORG_B));
    const { ran, run } = noting();
    expect(await run(sealed)).toBeUndefined();
    expect(ran).toHaveLength(1);
    expect(
      await codeOf(
        sql`insert into tenancy.job_mark (org_id, job_id, mark, expires_at)
          values (${ORG_A}::uuid, ${randomUUID()}::uuid, 'completed', now())`.execute(marks(ORG_B)),
      ),
    ).toBe('tenancy.cross_org_write');
  });

  test('cannot be changed, nor lose a mark whose job may still be delivered', async () => {
    const { run } = noting();
    const sealed = seal();
    await run(sealed);
    expect(await codeOf(sql`update tenancy.job_mark set mark = 'effect'`.execute(marks()))).toBe('42501');
    expect(
      await codeOf(sql`delete from tenancy.job_mark where job_id = ${sealed.id}::uuid`.execute(marks())),
    ).toBe('42501');
    expect(await codeOf(sql`truncate tenancy.job_mark`.execute(marks()))).toBe('42501');
    expect((await run(sealed))?.code).toBe('tenancy.job_replayed');
  });

  test('is pruned a day after the job has expired, per organisation', async () => {
    const old = randomUUID();
    const recent = randomUUID();
    for (const org of [ORG_A, ORG_B]) {
      await sql`insert into tenancy.job_mark (job_id, mark, expires_at) values
        (${old}::uuid, 'completed', now() - interval '25 hours'),
        (${recent}::uuid, 'completed', now() - interval '23 hours')`.execute(marks(org));
    }
    expect(await pruneJobMarks(marks(ORG_A))).toBe(1);
    expect(await f.marksOf(old)).toEqual(['completed']);
    expect(await f.marksOf(recent)).toEqual(['completed', 'completed']);
    expect(await pruneJobMarks(marks(ORG_A))).toBe(0);
  });

  test('is needed: a job does not run where it cannot be read', async () => {
    const { ran, run } = noting();
    await sql`alter table tenancy.job_mark rename to moved`.execute(f.owner);
    try {
      expect(await codeOf(run(seal()))).toBe('42P01');
    } finally {
      await sql`alter table tenancy.moved rename to job_mark`.execute(f.owner);
    }
    expect(ran).toEqual([]);
    expect(f.refused).toEqual([]);
  });
});
