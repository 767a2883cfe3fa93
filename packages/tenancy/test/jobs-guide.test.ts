/** The guide docs/jobs.md, run: each of its marked snippets is a region of this file, or of the tests on Redis. */
// #region imports
import { createJobs, pruneJobMarks } from '@ringfence/tenancy/jobs';
// #endregion

// #region boss_imports
import { sendJob, workJobs } from '@ringfence/tenancy/pg-boss';
import { PgBoss } from 'pg-boss';
// #endregion

// #region graphile_imports
import { addJob, jobTask } from '@ringfence/tenancy/graphile-worker';
import { runOnce } from 'graphile-worker';
// #endregion

import { Logger, makeWorkerUtils } from 'graphile-worker';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import type { JobRefusal, Jobs } from '../src/jobs/index.ts';
import { ORG_A as org, type Tables } from './fixture.ts';
import { type JobsFixture, jobsFixture } from './jobs-fixture.ts';

// #region queues
interface Queues {
  statement: { month: string };
}
// #endregion

let f: JobsFixture;
let jobs: Jobs<Queues, Tables>;
const log: JobRefusal[] = [];
beforeAll(async () => {
  f = await jobsFixture(inject('databaseUrl'));
  const { tenancy } = f;
  const secret = f.key.secret;
  // #region create
  jobs = createJobs<Queues, Tables>({
    tenancy,
    keys: [{ id: 'j1', secret }],
    signingKeyId: 'j1',
    onRefused: (refusal) => {
      log.push(refusal);
    },
  });
  // #endregion
});
afterAll(() => f.close());

const notes = async () =>
  (await f.tenancy.forOrg(org, { actor: 'user:alice' }).selectFrom('app.note').select('body').execute()).map(
    ({ body }) => body,
  );

it('seals a job, runs it, and prunes', async () => {
  const { tenancy } = f;
  const principal = { actor: 'user:alice', kind: 'member', requestId: 'req-1' };
  // #region bare
  const sealed = jobs.seal('statement', { org, principal, payload: { month: '2026-02' } });
  const worker = jobs.worker('statement', async ({ db, payload, job, once }) => {
    await once((trx) =>
      trx.insertInto('app.note').values({ org_id: db.org, id: job.id, body: payload.month }).execute(),
    );
  });
  const refusal = await worker.run(sealed); // undefined: it ran
  // #endregion
  expect(refusal).toBeUndefined();
  expect(await notes()).toContain('2026-02');
  // #region prune
  await pruneJobMarks(tenancy.forOrg(org, { actor: 'job:prune', kind: 'system' }));
  // #endregion
});

it('runs on pg-boss', async () => {
  const connectionString = f.database.ownerUrl;
  const principal = { actor: 'user:alice' };
  // #region boss
  const boss = new PgBoss({ connectionString });
  await boss.start();
  await boss.createQueue('statement', { retryLimit: 5, retryBackoff: true });

  await workJobs(jobs, boss, 'statement', async ({ db, payload, job, once }) => {
    await once((trx) =>
      trx.insertInto('app.note').values({ org_id: db.org, id: job.id, body: payload.month }).execute(),
    );
  });

  await sendJob(jobs, boss, 'statement', { org, principal, payload: { month: '2026-03' } });
  // #endregion
  await expect.poll(notes, { timeout: 15_000 }).toContain('2026-03');
  await boss.stop({ graceful: false });
});

it('runs on Graphile Worker', async () => {
  const pgPool = new pg.Pool({ connectionString: f.database.ownerUrl, max: 4 });
  for (const event of ['error', 'connect'] as const) pgPool.on(event, () => {});
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  const principal = { actor: 'user:alice' };
  // #region graphile
  const statement = jobTask(jobs, 'statement', async ({ db, payload, job, once }) => {
    await once((trx) =>
      trx.insertInto('app.note').values({ org_id: db.org, id: job.id, body: payload.month }).execute(),
    );
  });

  await addJob(jobs, utils.addJob, 'statement', { org, principal, payload: { month: '2026-04' } });
  await runOnce({ pgPool, logger, taskList: { statement } });
  // #endregion
  expect(await notes()).toContain('2026-04');
  await utils.release();
  await pgPool.end();
});

it('every snippet of the guide is a region of a test', () => {
  const sources = ['./jobs-guide.test.ts', '../integration/bullmq.integration.test.ts'];
  const guide = new URL('../../../docs/jobs.md', import.meta.url);
  expect(
    snippetDrift(
      guide,
      sources.map((path) => new URL(path, import.meta.url)),
    ),
  ).toEqual([]);
});
