/**
 * What is remembered of jobs, in the organisation's own rows: `tenancy.job_mark`, under row-level security like any
 * org-owned table.
 *
 *   effect      the transaction of `once` has committed
 *   completed   the handler has returned; from here on the job is refused
 *
 * Marks are written once and never changed. They are kept until the envelope has expired on every clock.
 */
import { type Kysely, sql } from 'kysely';
import type { OrgDb, OrgTransaction } from '../tenancy.ts';

/** The job a mark is about. */
interface MarkedJob {
  readonly jobId: string;
  readonly expiresAtMs: number;
}

/** What `once` did. */
export type OnceOutcome<T> =
  | {
      /** The effect ran and has been committed. */
      readonly ran: true;
      /** What the effect returned. */
      readonly result: T;
    }
  | {
      /** An earlier run of the same job has committed the effect. */
      readonly ran: false;
    };

type Statements = Pick<Kysely<unknown>, 'getExecutor'>;

/** True when the handler of this job has returned before. */
export async function isCompleted(db: Statements, jobId: string): Promise<boolean> {
  const { rows } = await sql`
    select from tenancy.job_mark where job_id = ${jobId}::uuid and mark = 'completed'`.execute(db);
  return rows.length > 0;
}

/** Records that the handler of this job has returned. */
export async function markCompleted(db: Statements, job: MarkedJob): Promise<void> {
  await mark(db, job, 'completed');
}

/** True when this call wrote the mark. A second one waits for the first one's transaction, and follows its outcome. */
async function mark(db: Statements, job: MarkedJob, name: 'effect' | 'completed'): Promise<boolean> {
  const { rows } = await sql`
    insert into tenancy.job_mark (job_id, mark, expires_at)
    values (${job.jobId}::uuid, ${name}, to_timestamp(${job.expiresAtMs}::bigint / 1000.0))
    on conflict do nothing returning true as written`.execute(db);
  return rows.length > 0;
}

/** Runs an effect in one transaction with its mark: the mark is there if and only if the effect is. */
export async function onceInTransaction<DB, T>(
  db: OrgDb<DB>,
  job: MarkedJob,
  effect: (trx: OrgTransaction<DB>) => Promise<T>,
): Promise<OnceOutcome<T>> {
  return await db.transaction().execute(async (trx) => {
    if (!(await mark(trx, job, 'effect'))) return { ran: false };
    return { ran: true, result: await effect(trx) };
  });
}

/**
 * Deletes this organisation's marks of jobs that expired more than a day ago, and returns how many. Run it now and then
 * for each organisation; the table refuses to lose a younger one.
 *
 * @example
 * ```ts
 * await pruneJobMarks(tenancy.forOrg(org, { actor: 'job:prune', kind: 'system' }));
 * ```
 */
export async function pruneJobMarks(db: Pick<Kysely<unknown>, 'getExecutor'>): Promise<number> {
  const { numAffectedRows } = await sql`
    delete from tenancy.job_mark where expires_at < now() - interval '1 day'`.execute(db);
  return Number(numAffectedRows ?? 0n);
}
