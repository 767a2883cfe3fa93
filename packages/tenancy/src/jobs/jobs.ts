/**
 * The entry point of jobs: `seal` where a job is enqueued, `worker` where it runs. Between the two lies a queue that is
 * not trusted: whoever writes to it can delay, drop and repeat jobs, but can neither make one nor change whose it is.
 *
 * Invariant: nothing is ambient. The organisation travels in the envelope, and the handler gets handles bound to it.
 */
import { randomUUID } from 'node:crypto';
import type { RingfenceTenancyError } from '../errors.ts';
import { parseOrgId } from '../org-id.ts';
import type { Tenancy } from '../tenancy.ts';
import { refuseTooLarge, writeEnvelope } from './envelope.ts';
import type {
  DeliveredJob,
  JobHandler,
  JobRefusal,
  JobRequest,
  JobStorage,
  JobWorkerOptions,
  SealedJob,
} from './job.ts';
import { type JobKey, jobKeys } from './job-keys.ts';
import { runJob } from './worker.ts';

/** Checks and types a payload; a zod schema is one. */
export interface JobSchema<Payload> {
  /** The payload, or an exception when it is none. */
  parse(value: unknown): Payload;
}

/** Settings of `createJobs`. */
export type JobsOptions<Queues, DB, Storage = undefined> = {
  /** The tenancy that makes the handlers' handles, and keeps the record of what has been done. */
  readonly tenancy: Pick<Tenancy<DB>, 'forOrg'>;
  /** Keys that are accepted. */
  readonly keys: readonly JobKey[];
  /** Id of the key that signs. */
  readonly signingKeyId: string;
  /** Hears of every refused job. A report that throws makes the queue deliver the job again. */
  readonly onRefused: (refusal: JobRefusal) => void | Promise<void>;
  /** The schema of each queue's payload. */
  readonly schemas?: { readonly [Q in keyof Queues]?: JobSchema<Queues[Q]> };
  /** Time until a job is refused, ms; covers its delay and all its retries. Default 7 days, at most 90. */
  readonly lifetimeMs?: number;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
} & ([Storage] extends [undefined]
  ? {
      /** Makes the handlers' storage handles. */
      readonly storage?: undefined;
    }
  : {
      /** Makes the handlers' storage handles. */
      readonly storage: JobStorage<Storage>;
    });

/** Seals jobs and runs them. `Queues` maps each queue's name to its payload. */
export interface Jobs<Queues, DB, Storage = undefined> {
  /**
   * Seals a job for a queue. Give the queue both: `id` as the job's id, `data` as its data. The adapters do.
   *
   * @throws RingfenceTenancyError `tenancy.job_invalid_field`, `tenancy.job_payload_too_large`.
   * @throws TypeError when the payload has no JSON text, or `lifetimeMs` is out of bounds.
   */
  seal<Queue extends keyof Queues & string>(queue: Queue, request: JobRequest<Queues[Queue]>): SealedJob;
  /** A worker of one queue. The adapters connect it to a queue's own worker. */
  worker<Queue extends keyof Queues & string>(
    queue: Queue,
    handler: JobHandler<Queues[Queue], DB, Storage, Queue>,
    options?: JobWorkerOptions,
  ): JobWorker;
}

/** Runs delivered jobs of one queue. */
export interface JobWorker {
  /** Name of the queue. */
  readonly queue: string;
  /**
   * Verifies a delivered job and runs its handler. Resolves with the refusal, already reported, when the job must not
   * run and must not be delivered again; rejects when the handler failed and the queue may retry.
   */
  run(delivered: DeliveredJob): Promise<RingfenceTenancyError | undefined>;
}

const DAY_MS = 86_400_000;

/**
 * Makes the jobs of one deployment.
 *
 * @throws TypeError when the keys or `lifetimeMs` are malformed.
 * @example
 * ```ts
 * const jobs = createJobs<{ statement: { month: string } }, Database>({
 *   tenancy,
 *   keys: [{ id: 'j1', secret }],
 *   signingKeyId: 'j1',
 *   onRefused: (refusal) => log.warn(refusal),
 * });
 * const sealed = jobs.seal('statement', { org, principal: { actor: 'user:alice' }, payload: { month: '2026-02' } });
 * const worker = jobs.worker('statement', async ({ db, payload, once }) => {
 *   await once((trx) => trx.insertInto('ledger.statement').values({ month: payload.month }).execute());
 * });
 * await worker.run(sealed);
 * ```
 */
export function createJobs<Queues, DB, Storage = undefined>(
  options: JobsOptions<Queues, DB, Storage>,
): Jobs<Queues, DB, Storage> {
  const keys = jobKeys(options.keys, options.signingKeyId);
  const now = options.now ?? Date.now;
  const defaultLifetimeMs = checkedLife(options.lifetimeMs ?? 7 * DAY_MS);
  return {
    seal: (queue, { org, principal, payload, lifetimeMs }) => {
      const text: string | undefined = JSON.stringify(payload);
      if (text === undefined) throw new TypeError(`the payload for ${queue} has no JSON text`);
      refuseTooLarge(text);
      const id = randomUUID();
      const issuedAtMs = Math.floor(now());
      const claims = {
        keyId: keys.signingId,
        org: parseOrgId(org),
        queue,
        jobId: id,
        issuedAtMs,
        expiresAtMs: issuedAtMs + (lifetimeMs === undefined ? defaultLifetimeMs : checkedLife(lifetimeMs)),
        kind: principal.kind ?? 'member',
        actor: principal.actor,
        requestId: principal.requestId ?? '',
      };
      return { id, data: { envelope: writeEnvelope(claims, text, keys.signing), payload: text } };
    },
    worker: (queue, handler, { org } = {}) => {
      const parts = {
        queue,
        handler,
        keys,
        now,
        org: org === undefined ? undefined : parseOrgId(org),
        tenancy: options.tenancy,
        storage: options.storage as JobStorage<Storage> | undefined,
        schema: options.schemas?.[queue],
        onRefused: options.onRefused,
      };
      return { queue, run: (delivered) => runJob(parts, delivered) };
    },
  };
}

function checkedLife(lifetimeMs: number): number {
  if (Number.isInteger(lifetimeMs) && lifetimeMs >= 1 && lifetimeMs <= 90 * DAY_MS) return lifetimeMs;
  throw new TypeError('lifetimeMs must be a whole number from 1 to 7 776 000 000');
}
