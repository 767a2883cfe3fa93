/**
 * One delivered job, from the queue's hands to the handler's. The order is: authentic, meant for here, still valid, not
 * done before, payload acceptable; only then does anything of the application run.
 *
 * Invariant: a refusal is told from a failure by where it arises, never by what a handler throws. A refusal is final, a
 * failure of the handler or of the database is the queue's to retry.
 */
import { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import type { OrgDb, Tenancy } from '../tenancy.ts';
import { type JobClaims, readEnvelope } from './envelope.ts';
import type { DeliveredJob, JobContext, JobHandler, JobRefusal, JobStorage } from './job.ts';
import type { JobKeys } from './job-keys.ts';
import { isCompleted, markCompleted, onceInTransaction } from './job-marks.ts';

/** How far the clock of whoever sealed may run ahead of the worker's, ms. */
const CLOCK_SKEW_MS = 60_000;

/** What a worker of one queue is made of. */
export interface WorkerParts<Payload, DB, Storage, Queue extends string> {
  readonly queue: Queue;
  readonly handler: JobHandler<Payload, DB, Storage, Queue>;
  readonly keys: JobKeys;
  readonly now: () => number;
  readonly org: OrgId | undefined;
  readonly tenancy: Pick<Tenancy<DB>, 'forOrg'>;
  readonly storage: JobStorage<Storage> | undefined;
  readonly schema: { parse(value: unknown): Payload } | undefined;
  readonly onRefused: (refusal: JobRefusal) => void | Promise<void>;
}

/** Runs one delivered job; resolves with the refusal when it must not run. */
export async function runJob<Payload, DB, Storage, Queue extends string>(
  parts: WorkerParts<Payload, DB, Storage, Queue>,
  delivered: DeliveredJob,
): Promise<RingfenceTenancyError | undefined> {
  let claims: JobClaims | undefined;
  let db: OrgDb<DB>;
  let payload: Payload;
  try {
    const { envelope, payload: text } = sealedDataOf(delivered.data);
    claims = readEnvelope(envelope, text, parts.keys.of);
    admit(claims, delivered.id, parts);
    db = parts.tenancy.forOrg(claims.org, claims);
    if (await isCompleted(db, claims.jobId))
      throw refusal('tenancy.job_replayed', 'this job has been completed before');
    payload = acceptedPayload(text, parts.schema);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    await parts.onRefused({
      code: error.code,
      queue: parts.queue,
      jobId: delivered.id ?? undefined,
      ...(claims === undefined ? {} : { org: claims.org }),
    });
    return error;
  }
  try {
    await parts.handler(contextOf(parts, claims, db, payload));
  } finally {
    await db.destroy(); // whoever kept the handle cannot act for this organisation any more
  }
  await markCompleted(parts.tenancy.forOrg(claims.org, claims), claims);
  return undefined;
}

function contextOf<Payload, DB, Storage, Queue extends string>(
  parts: WorkerParts<Payload, DB, Storage, Queue>,
  claims: JobClaims,
  db: OrgDb<DB>,
  payload: Payload,
): JobContext<Payload, DB, Storage, Queue> {
  let called = false;
  return {
    db,
    storage: parts.storage?.forOrg(claims.org) as Storage,
    payload,
    job: {
      id: claims.jobId,
      org: claims.org,
      queue: parts.queue,
      principal: { actor: claims.actor, kind: claims.kind, requestId: claims.requestId },
      issuedAtMs: claims.issuedAtMs,
      expiresAtMs: claims.expiresAtMs,
    },
    once: (effect) => {
      if (called) throw new TypeError('once was called before in this job: put everything into one effect');
      called = true;
      return onceInTransaction(db, claims, effect);
    },
  };
}

/** The two texts of a sealed job, and nothing beside them. */
function sealedDataOf(data: unknown): { envelope: string; payload: string } {
  if (typeof data !== 'object' || data === null || !Object.hasOwn(data, 'envelope'))
    throw refusal('tenancy.job_envelope_missing', 'the job carries no envelope');
  const { envelope, payload } = data as { envelope: unknown; payload?: unknown };
  if (typeof envelope !== 'string' || typeof payload !== 'string' || Object.keys(data).length !== 2)
    throw refusal('tenancy.job_malformed', 'the data of the job is not an envelope and a payload');
  return { envelope, payload };
}

/** Compares what the envelope says, which is authentic now, with where and when it was delivered. */
function admit(
  claims: JobClaims,
  deliveredId: string | null | undefined,
  { queue, org, now }: { queue: string; org: OrgId | undefined; now: () => number },
): void {
  if (claims.queue !== queue)
    throw refusal('tenancy.job_wrong_queue', `the job was sealed for queue "${claims.queue}"`);
  if (claims.jobId !== deliveredId)
    throw refusal('tenancy.job_wrong_id', `the envelope was sealed for job ${claims.jobId}`);
  if (org !== undefined && claims.org !== org)
    throw refusal('tenancy.job_wrong_org', `the job belongs to organisation ${claims.org}`);
  const nowMs = now();
  if (claims.issuedAtMs > nowMs + CLOCK_SKEW_MS)
    throw refusal('tenancy.job_not_yet_valid', 'the job was sealed later than now');
  // Written so that a clock that answers NaN refuses.
  if (!(nowMs < claims.expiresAtMs)) throw refusal('tenancy.job_expired', 'the job has expired');
}

function acceptedPayload<Payload>(
  text: string,
  schema: { parse(value: unknown): Payload } | undefined,
): Payload {
  try {
    const value: unknown = JSON.parse(text);
    return schema === undefined ? (value as Payload) : schema.parse(value);
  } catch (cause) {
    throw refusal('tenancy.job_invalid_payload', 'the payload is not what the queue takes', cause);
  }
}

function refusal(code: TenancyErrorCode, message: string, cause?: unknown): RingfenceTenancyError {
  return new RingfenceTenancyError(code, message, { cause });
}

function isRefusal(error: unknown): error is RingfenceTenancyError {
  return error instanceof RingfenceTenancyError && error.code.startsWith('tenancy.job_');
}
