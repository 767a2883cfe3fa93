/**
 * Jobs on BullMQ. The job's id in BullMQ is the one it was sealed for; a refused job is unrecoverable: it fails for
 * good, whatever attempts are left.
 *
 * @packageDocumentation
 */
import { type Job, type JobsOptions, type Queue, UnrecoverableError } from 'bullmq';
import type { JobHandler, JobRequest, Jobs, JobWorkerOptions } from '../jobs/index.ts';

/**
 * Options of `add` in BullMQ; the id is the sealed one, and a repeated job would carry one envelope many times.
 * `deduplication.id` becomes `<org>/<id>`: jobs of two organisations are never duplicates of each other.
 */
export type AddJobOptions = Omit<JobsOptions, 'jobId' | 'repeat' | 'repeatJobKey'>;

/**
 * Seals a job and adds it. Resolves with its id, or with null when BullMQ kept an earlier job of the same organisation in
 * its place (`deduplication`; under `keepLastIfActive` it may follow that job later).
 *
 * @throws RingfenceTenancyError as `seal` does.
 * @throws TypeError when the BullMQ queue has another name.
 * @example
 * ```ts
 * await addJob(jobs, new Queue('statement', { connection }), 'statement', { org, principal, payload }, { attempts: 5 });
 * ```
 */
export async function addJob<Queues, DB, Storage, Name extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  queue: Pick<Queue, 'name' | 'add'>,
  name: Name,
  request: JobRequest<Queues[Name]>,
  { deduplication, ...options }: AddJobOptions = {},
): Promise<string | null> {
  if (queue.name !== name) throw new TypeError(`the BullMQ queue is "${queue.name}", not "${name}"`);
  const { id, data } = jobs.seal(name, request);
  // BullMQ drops what collides: under an id of the whole queue, one organisation's job would displace another's.
  const own =
    deduplication === undefined
      ? {}
      : { deduplication: { ...deduplication, id: `${request.org}/${deduplication.id}` } };
  const added = await queue.add(name, data, { ...options, ...own, jobId: id });
  return added.id === id ? id : null;
}

/**
 * The processor of a queue, for BullMQ's `Worker` of the same name.
 *
 * @example
 * ```ts
 * const worker = new Worker('statement', jobProcessor(jobs, 'statement', handler), { connection });
 * ```
 */
export function jobProcessor<Queues, DB, Storage, Name extends keyof Queues & string>(
  jobs: Jobs<Queues, DB, Storage>,
  queue: Name,
  handler: JobHandler<Queues[Name], DB, Storage, Name>,
  options: JobWorkerOptions = {},
): (job: Pick<Job, 'id' | 'data'>) => Promise<void> {
  const worker = jobs.worker(queue, handler, options);
  return async ({ id, data }) => {
    const refusal = await worker.run({ id, data });
    if (refusal !== undefined) throw new UnrecoverableError(`${refusal.code}: ${refusal.message}`);
  };
}
