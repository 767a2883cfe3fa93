/**
 * Jobs on pg-boss. The job's id in pg-boss is the one it was sealed for; a refused job fails for good, without retries,
 * and goes to the queue's dead letter queue if it has one.
 *
 * @packageDocumentation
 */
import type { PgBoss, SendOptions, WorkOptions } from 'pg-boss';
import type { JobHandler, JobRequest, Jobs, JobWorkerOptions } from '../jobs/index.ts';

/**
 * Options of `send` in pg-boss; the id is the sealed one. `singletonKey` becomes `<org>/<singletonKey>`, and `<org>` when
 * there is none: throttling and the policies of queues count for each organisation by itself.
 */
export type SendJobOptions = Omit<SendOptions, 'id'>;

/** Options of `work` in pg-boss, for one job at a time, and of the worker. */
export type WorkJobsOptions = JobWorkerOptions &
  Pick<
    WorkOptions,
    | 'pollingIntervalSeconds'
    | 'localConcurrency'
    | 'localGroupConcurrency'
    | 'groupConcurrency'
    | 'heartbeatRefreshSeconds'
  >;

/**
 * Seals a job and sends it. Resolves with its id, or with null when pg-boss did not take it (singleton, throttled).
 * With `options.db` it is sent in a transaction of yours.
 *
 * What keeps pg-boss from taking it is only ever a job of the same organisation.
 *
 * @throws RingfenceTenancyError as `seal` does.
 * @example
 * ```ts
 * await sendJob(jobs, boss, 'statement', { org, principal, payload: { month: '2026-02' } }, { retryLimit: 5 });
 * ```
 */
export async function sendJob<Queues, DB, Storage, Queue extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  boss: Pick<PgBoss, 'send'>,
  queue: Queue,
  request: JobRequest<Queues[Queue]>,
  { singletonKey: key, ...options }: SendJobOptions = {},
): Promise<string | null> {
  const { id, data } = jobs.seal(queue, request);
  // pg-boss drops what collides: under a key of the whole queue, one organisation's job would displace another's.
  const singletonKey = key === undefined ? request.org : `${request.org}/${key}`;
  return await boss.send(queue, data, { ...options, singletonKey, id });
}

/**
 * Starts a worker of a queue. Resolves with pg-boss's id of the worker.
 *
 * @example
 * ```ts
 * await workJobs(jobs, boss, 'statement', async ({ db, payload, once }) => {
 *   await once((trx) => trx.insertInto('ledger.statement').values({ month: payload.month }).execute());
 * });
 * ```
 */
export async function workJobs<Queues, DB, Storage, Queue extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  boss: Pick<PgBoss, 'work'>,
  queue: Queue,
  handler: JobHandler<Queues[Queue], DB, Storage, Queue>,
  { org, ...options }: WorkJobsOptions = {},
): Promise<string> {
  const worker = jobs.worker(queue, handler, org === undefined ? {} : { org });
  // `deadletter` is pg-boss's only terminal failure of a job that has retries left.
  const settled = { ...options, perJobResults: true, batchSize: 1 } as const;
  return await boss.work(queue, settled, async ([delivered]) => {
    if (delivered === undefined) return [];
    const refusal = await worker.run(delivered);
    if (refusal === undefined) return [{ id: delivered.id, status: 'completed' }];
    const output = { code: refusal.code, message: refusal.message };
    return [{ id: delivered.id, status: 'deadletter', output }];
  });
}
