/**
 * Erases a data subject from the log: mark, destroy the key, delete the sealed values and chain an event that says so.
 *
 * The mark is committed before the key is destroyed. So whoever dies in between leaves a subject that takes no new values
 * and is listed as unfinished; running the erasure again takes up where it stopped. Each step is idempotent.
 */
import { CompiledQuery } from 'kysely';
import { type ChainPosition, type FateRow, positionOf } from '../append-result.ts';
import type { Audit } from '../audit.ts';
import { fromDatabaseError } from '../errors.ts';
import type { EventCatalogue } from '../event-catalogue.ts';
import { newEventId } from '../event-id.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import { isSubject, type Preparation } from './prepare.ts';

const BEGIN = 'select audit.begin_erasure($1::uuid, $2::text)';
const FINISH = `select event::text as event, org, seq, hash, removed
  from audit.finish_erasure($1::uuid, $2::text, $3::uuid, $4::text, $5::boolean)`;
const UNFINISHED = `
select s.subject from audit.assert_reads($1::uuid) checked
  join audit.subject s on s.org_id = $1::uuid and s.erasing_at is not null and s.erased_at is null
 order by s.erasing_at`;

/** What an erasure did. */
export interface Erasure extends ChainPosition {
  /** Id of the event `subject.erased`; that of the first erasure when it is repeated. */
  readonly event: string;
  /** Sealed values that were deleted: 0 when it is repeated. */
  readonly removed: number;
}

interface FinishRow extends FateRow {
  readonly event: string;
  readonly removed: unknown;
}

/** Erases a subject. */
export async function eraseSubject<E extends EventCatalogue>(
  audit: Pick<Audit<E>, 'sealed'>,
  { subjects, now, random, sealInTransaction }: Preparation,
  executor: QueryExecutor,
  org: OrgId,
  subject: string,
): Promise<Erasure> {
  if (executor.isTransaction) {
    throw new TypeError(
      'an erasure commits in steps: hand in the handle of the organisation, not a transaction',
    );
  }
  if (!isSubject(subject)) throw new TypeError('a data subject is an id of 1 to 200 characters');
  await run(executor, BEGIN, [org, subject]);
  const { digest } = await subjects.erase(org, subject);
  const parameters = [org, subject, newEventId(now(), random), digest, sealInTransaction];
  const [row] = await run<FinishRow>(executor, FINISH, parameters);
  if (row === undefined) throw new TypeError('audit.finish_erasure answered nothing');
  const { event, removed } = row;
  const position = positionOf(row) ?? (await audit.sealed(receiptOf(event), { rows: [row] }));
  return { event, removed: Number(removed), orgSeq: position.orgSeq, hash: position.hash };
}

/** Subjects whose erasure was begun and not finished, the oldest first. */
export async function unfinishedErasures(executor: QueryExecutor, org: OrgId): Promise<string[]> {
  const rows = await run<{ readonly subject: string }>(executor, UNFINISHED, [org]);
  return rows.map(({ subject }) => subject);
}

/** The statement has run: only the id counts. */
function receiptOf(id: string): Parameters<Audit<EventCatalogue>['sealed']>[0] {
  return { id, type: 'subject.erased', query: CompiledQuery.raw(FINISH) };
}

async function run<R>(
  executor: QueryExecutor,
  sql: string,
  parameters: readonly unknown[],
): Promise<readonly R[]> {
  try {
    const query = CompiledQuery.raw(sql, [...parameters]) as CompiledQuery<R>;
    return (await executor.executeQuery(query)).rows;
  } catch (error) {
    throw fromDatabaseError(error);
  }
}
