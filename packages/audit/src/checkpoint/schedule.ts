/**
 * When to sign: a log is due when enough events stand behind its last checkpoint, or the oldest of them has waited long
 * enough. Invariant: one log that fails is reported and holds up no other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { QueryExecutor } from '../executor.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { rowsOf } from './database.ts';
import type { DeploymentLog } from './deployment-log.ts';
import { historyChanged } from './signed-tree.ts';
import type { CosignReport } from './witness-client.ts';

/** When and how long to sign. */
export interface ScheduleOptions {
  /** A log is due when so many events are unsigned. Default 10 000. */
  readonly everyEvents?: number;
  /** A log is due when an event has been unsigned for so long, ms. Default 60 000. */
  readonly everyMs?: number;
  /** Time between two looks at all logs, ms. Default 5 000. */
  readonly pollMs?: number;
  /** The log of the deployment, signed and cosigned after each look. Default: none. */
  readonly deployment?: Pick<DeploymentLog, 'checkpoint' | 'cosign'>;
  /** Ends the run after the checkpoint it is at. */
  readonly signal: AbortSignal;
  /**
   * Told of each failure: `org` is undefined when it is not of one log: what is due, or the deployment's log. Also of a
   * witness that says it has seen more of a log than there is.
   */
  readonly onError: (error: unknown, org: OrgId | undefined) => void;
  /** Told of each log that was signed, with the witnesses that failed. */
  readonly onSigned?: (org: OrgId, report: CosignReport) => void;
}

const DUE = `
select h.org_id::text as org from audit.head h
  left join lateral (select size from audit.checkpoint k where k.org_id = h.org_id order by size desc limit 1) c on true
  join audit.seal s on s.org_id = h.org_id and s.seq = coalesce(c.size, 0) + 1
 where h.seq - coalesce(c.size, 0) >= $1::bigint
    or s.sealed_at <= clock_timestamp() - $2::double precision * interval '1 millisecond'
 order by s.sealed_at`;

/** Signs what is due until the signal. */
export async function runSchedule(
  db: QueryExecutor,
  options: ScheduleOptions,
  sign: (org: OrgId) => Promise<CosignReport>,
): Promise<void> {
  const { signal, pollMs = 5_000 } = options;
  while (!signal.aborted) {
    await signDue(db, options, sign);
    if (!signal.aborted) await signDeployment(options);
    // Rejects when aborted; the loop's condition ends it then.
    await delay(pollMs, undefined, { signal }).catch(() => undefined);
  }
}

async function signDue(
  db: QueryExecutor,
  { everyEvents = 10_000, everyMs = 60_000, signal, onError, onSigned }: ScheduleOptions,
  sign: (org: OrgId) => Promise<CosignReport>,
): Promise<void> {
  let due: { org: string }[];
  try {
    due = await rowsOf(db, DUE, [everyEvents, everyMs]);
  } catch (error) {
    onError(error, undefined);
    return;
  }
  for (const { org: value } of due) {
    if (signal.aborted) return;
    const org = parseOrgId(value);
    try {
      const report = await sign(org); // on its own: an argument of a function that isn't there is never evaluated
      onSigned?.(org, report);
      for (const { error } of report.failed) if (error.code === 'audit.history_changed') onError(error, org);
    } catch (error) {
      onError(error, org);
    }
  }
}

async function signDeployment({ deployment, onError }: ScheduleOptions): Promise<void> {
  if (deployment === undefined) return;
  try {
    const { refused } = await deployment.checkpoint();
    for (const org of refused)
      onError(historyChanged(org, 'its checkpoint is not the signed one'), parseOrgId(org));
    const { failed } = await deployment.cosign();
    for (const { error } of failed) onError(error, undefined);
  } catch (error) {
    onError(error, undefined);
  }
}
