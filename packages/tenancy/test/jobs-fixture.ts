/** Jobs over the fixture's database: two queues, a key, and a list of what was refused. */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { createJobs, type JobKey, type JobRefusal, type Jobs } from '../src/jobs/index.ts';
import { jobMigrations } from '../src/migrations/index.ts';
import { type Fixture, fixture, ORG_A, ORG_B, type Tables } from './fixture.ts';

/** Payloads by queue. */
export interface Queues {
  'note.add': { id: string; body: string };
  'note.drop': { id: string };
}

export interface JobsFixture extends Fixture {
  readonly jobs: Jobs<Queues, Tables>;
  readonly key: JobKey;
  /** What was refused, in order. */
  readonly refused: JobRefusal[];
  /** Ms added to the clock of the jobs. */
  readonly clock: { skewMs: number };
  /** Jobs of the same database that accept and sign with other keys. */
  jobsWith(keys: readonly JobKey[], signingKeyId: string): Jobs<Queues, Tables>;
  /** All marks of both organisations, as `<mark> <job id>`. */
  marksOf(jobId: string): Promise<string[]>;
}

export const BOB = { actor: 'user:bob', kind: 'approver', requestId: 'req-7' };

export async function jobsFixture(serverUrl: string): Promise<JobsFixture> {
  const base = await fixture(serverUrl);
  for (const { up } of jobMigrations({ appRole: base.database.app })) await sql.raw(up).execute(base.owner);
  const key = newKey('j1');
  const refused: JobRefusal[] = [];
  const clock = { skewMs: 0 };
  const jobsWith = (keys: readonly JobKey[], signingKeyId: string) =>
    createJobs<Queues, Tables>({
      tenancy: base.tenancy,
      keys,
      signingKeyId,
      onRefused: (refusal) => {
        refused.push(refusal);
      },
      now: () => Date.now() + clock.skewMs,
    });
  return {
    ...base,
    jobs: jobsWith([key], key.id),
    key,
    refused,
    clock,
    jobsWith,
    marksOf: async (jobId) => {
      const marks: string[] = [];
      for (const org of [ORG_A, ORG_B]) {
        const { rows } = await sql<{ mark: string }>`
          select mark from tenancy.job_mark where job_id = ${jobId}::uuid order by mark desc`.execute(
          base.tenancy.forOrg(org, BOB),
        );
        marks.push(...rows.map(({ mark }) => mark));
      }
      return marks;
    },
  };
}

export function newKey(id: string): JobKey {
  return { id, secret: new Uint8Array(randomBytes(32)) };
}
