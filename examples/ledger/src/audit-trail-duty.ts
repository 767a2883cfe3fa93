/**
 * The two duties of the audit trail, each until a signal: to sign what was sealed, and to copy what was signed. Every step
 * is a line of the report; what cannot mend itself is an alarm, what can is a failure that the lag shows if it lasts.
 *
 * Invariant: killed at any instruction, a duty loses nothing: what it does is in PostgreSQL and the store, or not done.
 */
import { sql } from 'kysely';
import type { Copying, Signing } from './audit-trail.ts';
import { type Numbers, type Report, watchLag } from './lag-watch.ts';

/** How long events may wait before somebody is woken. */
export interface DutyOptions {
  /** Time between two looks for work, ms. Default: 5 000 to sign, 10 000 to copy. */
  readonly pollMs?: number;
  /** Time between two looks at the lag, ms. Default 15 000. */
  readonly watchMs?: number;
  /** Age of the oldest event or checkpoint that waits, ms, beyond which an alarm is raised. Default 300 000. */
  readonly alarmMs?: number;
  /** Where lines go. */
  readonly report: Report;
  /** Ends the duty after the step it is at. */
  readonly signal: AbortSignal;
}

/** Settings of signing. */
export interface SigningDutyOptions extends DutyOptions {
  /** A log is signed when an event has been unsigned for so long, ms. Default 60 000. */
  readonly everyMs?: number;
}

/** Settings of copying. */
export interface CopyingDutyOptions extends DutyOptions {
  /** Age of the oldest event that is committed but not sealed, ms, beyond which an alarm is raised. Default 60 000. */
  readonly unsealedAlarmMs?: number;
  /** Waits between two tries. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const DEFAULT_WATCH_MS = 15_000;
const DEFAULT_ALARM_MS = 300_000;

/** Signs each log when 10 000 events are unsigned or one has been for a minute, and has it cosigned. */
export async function signLogs({ checkpointer }: Signing, options: SigningDutyOptions): Promise<void> {
  const { pollMs, everyMs = 60_000, watchMs, alarmMs, report, signal } = options;
  await Promise.all([
    checkpointer.run({
      everyEvents: 10_000,
      everyMs,
      ...(pollMs === undefined ? {} : { pollMs }),
      signal,
      onError: (error, org) => reportFailure(report, error, org),
      onSigned: (org, { cosigned, failed }) => {
        report('signed', { org, cosignatures: cosigned.length });
        for (const { error } of failed) reportFailure(report, error, org);
      },
    }),
    watchLag({
      read: async () => ({ ...(await checkpointer.lag()) }),
      limits: { oldestMs: alarmMs ?? DEFAULT_ALARM_MS },
      everyMs: watchMs ?? DEFAULT_WATCH_MS,
      report,
      signal,
    }),
  ]);
}

/** Copies what was signed to the store. Its login sees the queue, so it also watches what the app has not sealed. */
export async function copyLogs({ copy, db }: Copying, options: CopyingDutyOptions): Promise<void> {
  const { pollMs, watchMs, alarmMs, unsealedAlarmMs = 60_000, report, signal, sleep } = options;
  const read = async (): Promise<Numbers> => {
    const [lag, waiting] = await Promise.all([copy.lag(), unsealed(db)]);
    return { ...lag, ...waiting };
  };
  await Promise.all([
    copy.run({
      ...(pollMs === undefined ? {} : { pollMs }),
      signal,
      ...(sleep === undefined ? {} : { sleep }),
      onError: (error, org) => reportFailure(report, error, org),
      onCopied: (org, { size, objects, bytes }) => report('copied', { org, size, objects, bytes }),
    }),
    watchLag({
      read,
      limits: { oldestMs: alarmMs ?? DEFAULT_ALARM_MS, unsealedMs: unsealedAlarmMs },
      everyMs: watchMs ?? DEFAULT_WATCH_MS,
      report,
      signal,
    }),
  ]);
}

async function unsealed(db: Copying['db']): Promise<Numbers> {
  const { rows } = await sql<{ events: unknown; age: unknown }>`
    select count(*) as events,
           coalesce(extract(epoch from clock_timestamp() - min(queued_at)) * 1000, 0)::double precision as age
      from audit.queue`.execute(db);
  return { unsealedEvents: Number(rows[0]?.events), unsealedMs: Number(rows[0]?.age) };
}

/** A code is enough to act on; the text of a driver's error could quote a row. */
function reportFailure(report: Report, error: unknown, org: string | undefined): void {
  const { code, retryable } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly code?: unknown;
    readonly retryable?: unknown;
  };
  const ours = typeof code === 'string' && code.startsWith('audit.');
  const lasting = ours ? retryable !== true : error instanceof TypeError;
  report(lasting ? 'alarm' : 'failed', {
    what: typeof code === 'string' ? code : 'other',
    ...(org === undefined ? {} : { org }),
  });
}
