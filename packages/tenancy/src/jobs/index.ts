/**
 * Jobs that carry their organisation under a signature, and handlers that reach no other.
 *
 * @packageDocumentation
 */
export type {
  DeliveredJob,
  JobContext,
  JobHandler,
  JobInfo,
  JobRefusal,
  JobRequest,
  JobStorage,
  JobWorkerOptions,
  SealedJob,
  SealedJobData,
} from './job.ts';
export type { JobKey } from './job-keys.ts';
export { type OnceOutcome, pruneJobMarks } from './job-marks.ts';
export { createJobs, type JobSchema, type Jobs, type JobsOptions, type JobWorker } from './jobs.ts';
