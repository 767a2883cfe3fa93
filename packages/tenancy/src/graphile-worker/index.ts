/**
 * Jobs on Graphile Worker. A job's id is its job key, since the database chooses the other one; a refused job fails
 * permanently, whatever attempts are left.
 *
 * @packageDocumentation
 */
import type { AddJobFunction, JobHelpers, TaskSpec } from 'graphile-worker';
import { identifier } from '../identifier.ts';
import type { JobHandler, JobRequest, Jobs, JobWorkerOptions } from '../jobs/index.ts';

/** Options of `addJob` in Graphile Worker; the job key is the sealed id. */
export type AddJobSpec = Omit<TaskSpec, 'jobKey' | 'jobKeyMode'>;

/** Settings of a task. */
export interface JobTaskOptions extends JobWorkerOptions {
  /** Schema of Graphile Worker. Default `graphile_worker`. */
  readonly schema?: string;
}

/**
 * Seals a job and adds it through any `addJob` of Graphile Worker: of `makeWorkerUtils`, of a runner, or of a task's
 * helpers. Resolves with the sealed id.
 *
 * @throws RingfenceTenancyError as `seal` does.
 * @example
 * ```ts
 * await addJob(jobs, utils.addJob, 'statement', { org, principal, payload: { month: '2026-02' } }, { maxAttempts: 5 });
 * ```
 */
export async function addJob<Queues, DB, Storage, Queue extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  add: AddJobFunction,
  queue: Queue,
  request: JobRequest<Queues[Queue]>,
  spec: AddJobSpec = {},
): Promise<string> {
  const { id, data } = jobs.seal(queue, request);
  await add<string>(queue, data, { ...spec, jobKey: id });
  return id;
}

/**
 * The task of a queue, for a runner's task list.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when the schema is not a plain SQL name.
 * @example
 * ```ts
 * await run({ pgPool, taskList: { statement: jobTask(jobs, 'statement', handler) } });
 * ```
 */
export function jobTask<Queues, DB, Storage, Queue extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  queue: Queue,
  handler: JobHandler<Queues[Queue], DB, Storage, Queue>,
  { schema = 'graphile_worker', ...options }: JobTaskOptions = {},
): (data: unknown, helpers: Pick<JobHelpers, 'job' | 'query'>) => Promise<void> {
  const worker = jobs.worker(queue, handler, options);
  // What `permanently_fail_jobs` does; that function leaves a running job alone, and ours is running.
  const failPermanently = `update ${identifier(schema)}._private_jobs set attempts = max_attempts where id = $1`;
  return async (data, { job, query }) => {
    const refusal = await worker.run({ id: job.key, data });
    if (refusal === undefined) return;
    await query(failPermanently, [job.id]);
    throw refusal;
  };
}
