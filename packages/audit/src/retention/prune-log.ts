/** One step of pruning, through the function `audit.prune` (src/schema/retention.ts), which decides what may go. */
import { CompiledQuery } from 'kysely';
import { fromDatabaseError } from '../errors.ts';
import { newEventId, platformRandom } from '../event-id.ts';
import type { QueryExecutor } from '../executor.ts';

const PRUNE = `select event::text as event, through::text as through, removed::text as removed
  from audit.prune($1::uuid, $2::timestamptz, $3::text)`;

/** What to prune. */
export interface PruneRequest {
  /** Events recorded before this time. It must lie further back than the days of retention in the migration. */
  readonly before: Date;
  /** The policy under which it is done, for the record: a name or a paragraph, 1 to 200 characters, no personal data. */
  readonly policy: string;
}

/** What a step did. */
export interface Pruning {
  /** Id of the event that says so; null when there was nothing to prune. */
  readonly event: string | null;
  /** Events whose content was taken out, at most 10 000. Call again until it is 0. */
  readonly removed: number;
  /** Number in the chain up to which no content is left; 0 when none was ever pruned. */
  readonly through: number;
}

interface PruneRow {
  readonly event: string | null;
  readonly through: string;
  readonly removed: string;
}

/**
 * Takes out the content of the oldest events of one organisation, in one transaction: those that verify, lie under a signed checkpoint
 * and in every write-once copy, and were recorded before `before`. Stops at the first event that must stay.
 *
 * `db` is a handle of the retention role whose transaction carries organisation and actor, as for recording.
 *
 * @throws RingfenceAuditError `audit.not_prunable` when `before` lies within the days of retention, `audit.history_changed` when
 * what was to go does not verify, `audit.no_context`, `audit.not_canonical` for a policy that is empty or too long.
 * @throws TypeError when `before` is no date.
 * @example
 * ```ts
 * const before = new Date(Date.now() - 8 * 365 * 24 * 3_600_000);
 * while ((await pruneLog(org, { before, policy: 'records schedule 4.2' })).removed > 0);
 * ```
 */
export async function pruneLog(db: QueryExecutor, { before, policy }: PruneRequest): Promise<Pruning> {
  if (!(before instanceof Date) || Number.isNaN(before.getTime()))
    throw new TypeError('before: expected a date');
  const parameters = [newEventId(Date.now(), platformRandom), before.toISOString(), policy];
  try {
    const query = CompiledQuery.raw(PRUNE, parameters) as CompiledQuery<PruneRow>;
    const [row] = (await db.executeQuery(query)).rows;
    if (row === undefined) throw new TypeError('audit.prune answered nothing');
    return { event: row.event, removed: Number(row.removed), through: Number(row.through) };
  } catch (error) {
    throw fromDatabaseError(error);
  }
}
