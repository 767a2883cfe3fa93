/**
 * A job in its stages: requested, sealed, delivered by its queue, in its handler's hands, or refused.
 */
import type { Principal } from '../context.ts';
import type { RingfenceTenancyError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import type { OrgDb, OrgTransaction } from '../tenancy.ts';
import type { OnceOutcome } from './job-marks.ts';

/** What a sealed job is to its queue: an id to give to the job, and data to carry. */
export interface SealedJob {
  /** The id the job must have in its queue: a UUID. */
  readonly id: string;
  /** The data of the job. */
  readonly data: SealedJobData;
}

/** The data of a sealed job: two texts, so that no store of JSON can respell them. */
export interface SealedJobData {
  /** The envelope, docs/formats/job-envelope-v1.md. */
  readonly envelope: string;
  /** The payload, as JSON text. */
  readonly payload: string;
}

/** A job to seal. */
export interface JobRequest<Payload> {
  /** Organisation the job belongs to. */
  readonly org: OrgId;
  /** Who enqueues, for whom the worker's handle then acts. */
  readonly principal: Principal;
  /** Any value that survives `JSON.stringify`: at most 262 144 bytes of it. */
  readonly payload: Payload;
  /** Time until the job is refused, ms; covers its delay and all its retries. Default: `lifetimeMs` of `createJobs`. */
  readonly lifetimeMs?: number;
}

/** A job as its queue delivers it. */
export interface DeliveredJob {
  /** Id the queue knows the job by. */
  readonly id: string | null | undefined;
  /** Data the queue carried. */
  readonly data: unknown;
}

/** What the handler knows of its job. */
export interface JobInfo<Queue extends string = string> {
  /** Id of the job. */
  readonly id: string;
  /** Organisation it belongs to. */
  readonly org: OrgId;
  /** Queue it came from. */
  readonly queue: Queue;
  /** Who enqueued it; the handle acts as this principal. */
  readonly principal: Required<Principal>;
  /** Time of sealing, ms since epoch. */
  readonly issuedAtMs: number;
  /** Time from which it is refused, ms since epoch. */
  readonly expiresAtMs: number;
}

/** All a handler gets: handles that reach one organisation, and what to do. */
export interface JobContext<Payload, DB, Storage, Queue extends string = string> {
  /** Handle of the organisation's rows. It ends with the job. */
  readonly db: OrgDb<DB>;
  /** What `storage.forOrg` made for the organisation; undefined without `storage`. */
  readonly storage: Storage;
  /** The payload, verified, parsed, and accepted by the schema of the queue if it has one. */
  readonly payload: Payload;
  /** The job itself. */
  readonly job: JobInfo<Queue>;
  /**
   * Runs an effect at most once, however often the job runs: it commits in one transaction with its mark. Call it at
   * most once in a handler, with everything that must not happen twice.
   *
   * @throws TypeError when it is called a second time.
   */
  once<T>(effect: (trx: OrgTransaction<DB>) => Promise<T>): Promise<OnceOutcome<T>>;
}

/** Does the work of a job. What it throws goes to the queue, which retries as it is configured to. */
export type JobHandler<Payload, DB, Storage, Queue extends string = string> = (
  context: JobContext<Payload, DB, Storage, Queue>,
) => Promise<void>;

/** A refusal, as it is reported. */
export interface JobRefusal {
  /** Why, `tenancy.job_…`. */
  readonly code: RingfenceTenancyError['code'];
  /** Queue of the worker that refused. */
  readonly queue: string;
  /** Id the queue delivered the job under, if it has one. */
  readonly jobId: string | undefined;
  /** Organisation of the envelope, once its mac has been verified. */
  readonly org?: OrgId;
}

/** Makes storage handles bound to one organisation. */
export interface JobStorage<Storage> {
  /** A handle that reaches this organisation's objects and no other's. */
  forOrg(org: OrgId): Storage;
}

/** Settings of a worker. */
export interface JobWorkerOptions {
  /** The only organisation whose jobs this worker runs. Default: any. */
  readonly org?: OrgId;
}
