/**
 * Keeps a write-once copy of every log: what was signed is copied, again and again, until a signal.
 *
 * Invariants: nothing waits in memory: what is not copied stays in PostgreSQL, however long the store is down. A store
 * that does not answer holds the whole run back, longer each time; one log that fails is reported and holds up no other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { rowsOf } from '../checkpoint/database.ts';
import { fromDatabaseError, RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { isKeyName, parseVerifierKey } from '../verify/signed-note.ts';
import { type CopyResult, copyLog } from './copy-log.ts';
import { CopyState } from './copy-state.ts';
import type { WriteOnceStore } from './store.ts';

/** Settings of `createWriteOnceCopy`. */
export interface WriteOnceCopyOptions {
  /** A Kysely of the copier's role, on a pool of its own. */
  readonly db: QueryExecutor;
  /** Where to: `lockedBucket(…)`, or `directoryStore(…)` in a demo. */
  readonly store: WriteOnceStore;
  /** Name of the deployment, as the checkpointer has it. */
  readonly origin: string;
  /** Verifier keys that sign its checkpoints, now or before: nothing else is copied. */
  readonly keys: readonly string[];
}

/** How far the copy is behind. */
export interface CopyLag {
  /** Logs with checkpoints that are not copied. */
  readonly orgs: number;
  /** Those checkpoints. */
  readonly checkpoints: number;
  /** Events of those checkpoints. */
  readonly events: number;
  /** Age of the oldest of them, ms; 0 when there is none. Alarm on it. */
  readonly oldestMs: number;
}

/** When and how long to copy. */
export interface CopyScheduleOptions {
  /** Time between two looks at all logs, ms. Default 10 000. */
  readonly pollMs?: number;
  /** Longest time between two tries while the store does not answer, ms. The first waits for one second. Default 300 000. */
  readonly maxBackoffMs?: number;
  /** Ends the run after the object it is at; the next run goes on there. */
  readonly signal: AbortSignal;
  /** Told of each failure: `org` is undefined when the database could not be asked what waits. */
  readonly onError: (error: unknown, org: OrgId | undefined) => void;
  /** Told of each log that was copied. */
  readonly onCopied?: (org: OrgId, result: CopyResult) => void;
  /** Waits, and returns early when the signal ends. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Copies logs to one store. */
export interface WriteOnceCopy {
  /**
   * Copies what was signed of one log since the last copy. Repeat it after any failure: it goes on where it was.
   *
   * @throws RingfenceAuditError `audit.copy_unavailable` (retryable), `audit.copy_denied`, `audit.copy_conflict`,
   * `audit.copy_checksum_mismatch`, `audit.retention_not_applied`, `audit.history_changed`.
   */
  copy(org: OrgId): Promise<CopyResult>;
  /** How far the copy is behind what was signed. */
  lag(): Promise<CopyLag>;
  /** Copies what waits, again and again, until the signal; never rejects because of the store or one log. */
  run(options: CopyScheduleOptions): Promise<void>;
}

const FIRST_BACKOFF_MS = 1_000;

const BEHIND = `
  from audit.head h
  left join lateral (select c.upto from audit.copy c where c.org_id = h.org_id and c.store = $1
                        and c.kind = 'checkpoint' order by c.upto desc limit 1) done on true
  cross join lateral (select count(*) as checkpoints, max(k.size) as size, min(k.created_at) as oldest
                        from audit.checkpoint k where k.org_id = h.org_id and k.size > coalesce(done.upto, 0)) k
 where k.checkpoints > 0`;

const WAITING = `select h.org_id::text as org ${BEHIND} order by k.oldest`;

const LAG = `
select count(*) as orgs, coalesce(sum(k.checkpoints), 0) as checkpoints,
       coalesce(sum(k.size - coalesce(done.upto, 0)), 0) as events,
       coalesce(max(extract(epoch from clock_timestamp() - k.oldest) * 1000), 0)::double precision as oldest ${BEHIND}`;

/**
 * Makes the copier of one deployment to one store. One process copies: several are safe where the server honours
 * `If-None-Match`, and may write an object twice where it does not.
 *
 * @throws TypeError when the origin or a key is malformed.
 * @example
 * ```ts
 * const copy = createWriteOnceCopy({ db, store, origin: 'ledger.example/audit', keys: [verifierKeyOf(signer)] });
 * await copy.run({ signal, onError: alarm });
 * ```
 */
export function createWriteOnceCopy(options: WriteOnceCopyOptions): WriteOnceCopy {
  const { db, store, origin } = options;
  if (!isKeyName(origin)) throw new TypeError('an origin is not empty and has no white space and no +');
  const keys = options.keys.map(parseVerifierKey);
  if (keys.length === 0) throw new TypeError('no verifier key: nothing could be copied');
  const state = new CopyState(db, store.name);
  const copy = async (value: OrgId, signal?: AbortSignal) => {
    try {
      return await copyLog({ db, store, state, origin, keys }, parseOrgId(value), signal);
    } catch (error) {
      throw fromDatabaseError(error);
    }
  };
  return {
    copy: (org) => copy(org),
    lag: async () => {
      const [row] = await rowsOf<Record<'orgs' | 'checkpoints' | 'events' | 'oldest', unknown>>(db, LAG, [
        store.name,
      ]);
      return {
        orgs: Number(row?.orgs ?? 0),
        checkpoints: Number(row?.checkpoints ?? 0),
        events: Number(row?.events ?? 0),
        oldestMs: Number(row?.oldest ?? 0),
      };
    },
    run: async (schedule) => {
      const { signal, pollMs = 10_000, maxBackoffMs = 300_000, sleep = sleepFor } = schedule;
      for (let failures = 0; !signal.aborted; ) {
        const answered = await copyWaiting(db, store.name, schedule, copy);
        failures = answered ? 0 : failures + 1;
        const backoffMs = Math.min(maxBackoffMs, FIRST_BACKOFF_MS * 2 ** Math.min(failures - 1, 30));
        await sleep(answered ? pollMs : backoffMs, signal);
      }
    },
  };
}

/** One look at all logs; false when database or store did not answer, and the rest of the logs was left for later. */
async function copyWaiting(
  db: QueryExecutor,
  store: string,
  { signal, onError, onCopied }: CopyScheduleOptions,
  copy: (org: OrgId, signal: AbortSignal) => Promise<CopyResult>,
): Promise<boolean> {
  let waiting: { org: string }[];
  try {
    waiting = await rowsOf(db, WAITING, [store]);
  } catch (error) {
    onError(error, undefined);
    return false;
  }
  for (const { org: value } of waiting) {
    if (signal.aborted) break;
    const org = parseOrgId(value);
    try {
      const result = await copy(org, signal);
      onCopied?.(org, result);
    } catch (error) {
      onError(error, org);
      const ours = error instanceof RingfenceAuditError;
      if (!ours || error.retryable) return false;
    }
  }
  return true;
}

/** Rejects when aborted; the caller's loop ends then. */
async function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
