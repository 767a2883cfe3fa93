/**
 * Signs the log of each organisation from time to time, and proves things about it.
 *
 * Invariants: nothing is signed that does not continue what was signed before; two different roots are never signed for
 * one size; tiles and note of a checkpoint are stored together or not at all.
 */

import { fromDatabaseError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { isKeyName, parseVerifierKey, type VerifierKey, verifierKey } from '../verify/signed-note.ts';
import { type CheckpointDatabase, DEPLOYMENT, rowsOf } from './database.ts';
import { appendNewLeaves, MOST_LEAVES } from './new-leaves.ts';
import { type InclusionProof, newestCheckpoint, proveConsistency, proveInclusion } from './proofs.ts';
import { runSchedule, type ScheduleOptions } from './schedule.ts';
import { openTree, SignedHeads, type StoredCheckpoint } from './signed-tree.ts';
import type { Signer } from './signer.ts';
import { TileSlices } from './tile-store.ts';
import { type CosignReport, cosign, type Witness } from './witness-client.ts';
import { inSnapshot, writeCheckpoint } from './write-checkpoint.ts';

/** Settings of `createCheckpointer`. */
export interface CheckpointerOptions {
  /** A Kysely of the checkpointer's role, on a pool of its own. */
  readonly db: CheckpointDatabase;
  /** Who signs. */
  readonly signer: Signer;
  /** Name of the deployment, a URL without scheme, e.g. `ledger.example/audit`. A log's origin is this, `/` and its organisation. */
  readonly origin: string;
  /** Verifier keys that signed before the signer's key, after a change of keys. Default: none. */
  readonly formerKeys?: readonly string[];
  /** Who cosigns the checkpoints of an organisation. Default: nobody. */
  readonly witnesses?: (org: OrgId) => readonly Witness[];
  /**
   * Most events that one checkpoint adds; what is more is signed in several, one after the other. It bounds memory, also that
   * of the write-once copy. Default 65 536: under 200 MB.
   */
  readonly maxEvents?: number;
}

/** How far signing is behind. */
export interface CheckpointLag {
  /** Organisations with events behind their last checkpoint. */
  readonly orgs: number;
  /** Those events. */
  readonly events: number;
  /** Age of the oldest of them, ms; 0 when there is none. Alarm on it. */
  readonly oldestMs: number;
}

/** Signs and proves. */
export interface Checkpointer {
  /**
   * Signs what was sealed since the last checkpoint of an organisation, in several checkpoints when it is much. Returns the
   * last checkpoint, also when nothing is new, and undefined when nothing was ever sealed.
   *
   * @throws RingfenceAuditError `audit.history_changed` when the tree or the link at its end is not what was signed before (records that
   * were signed are not read again: verification and the write-once copy do that),
   * `audit.signer_failed`, or `audit.unavailable` when other processes sign the same log all the time.
   */
  checkpoint(org: OrgId): Promise<StoredCheckpoint | undefined>;
  /**
   * Asks the organisation's witnesses to cosign its last checkpoint and stores their signature lines. Whatever a witness
   * answers is in the report: `audit.witness_unavailable`, `audit.witness_refused`, and `audit.history_changed` when it says that it
   * has seen more of the log than there is. Alarm on the last.
   *
   * @throws RingfenceAuditError `audit.history_changed` when the stored tiles are not those that were signed.
   */
  cosign(org: OrgId): Promise<CosignReport>;
  /** The newest checkpoint, its note with the cosignatures there are; undefined when there is none. */
  newest(org: OrgId): Promise<StoredCheckpoint | undefined>;
  /**
   * Proves that the event at `seq` stands in the newest checkpoint.
   *
   * @throws RingfenceAuditError `audit.no_checkpoint`, `audit.history_changed`.
   */
  proveEvent(org: OrgId, seq: number): Promise<InclusionProof>;
  /**
   * Proves that the newest checkpoint continues an older one of `oldSize` events; its hashes, for `verifyConsistency`.
   *
   * @throws RingfenceAuditError `audit.no_checkpoint`, `audit.history_changed`.
   */
  proveGrowth(org: OrgId, oldSize: number): Promise<readonly Readonly<Uint8Array>[]>;
  /** How far signing is behind. */
  lag(): Promise<CheckpointLag>;
  /** Signs and has cosigned what is due, again and again, until the signal; never rejects because of one log. */
  run(options: ScheduleOptions): Promise<void>;
}

const LAG = `
select count(*) as orgs, coalesce(sum(b.behind), 0) as events, coalesce(max(b.waits), 0)::double precision as oldest
  from (select h.seq - coalesce(c.size, 0) as behind,
               extract(epoch from clock_timestamp() - s.sealed_at) * 1000 as waits
          from audit.head h
          left join lateral (select size from audit.checkpoint k where k.org_id = h.org_id
                              order by size desc limit 1) c on true
          join audit.seal s on s.org_id = h.org_id and s.seq = coalesce(c.size, 0) + 1) b`;

/**
 * Makes the checkpointer of one deployment. Several processes may have one; each checkpoint is made once.
 *
 * @throws TypeError when the origin, a key or `maxEvents` is malformed.
 * @example
 * ```ts
 * const checkpointer = createCheckpointer({ db, signer, origin: 'ledger.example/audit' });
 * await checkpointer.run({ everyEvents: 10_000, everyMs: 60_000, signal, onError: alarm });
 * ```
 */
export function createCheckpointer(options: CheckpointerOptions): Checkpointer {
  const { db, signer, origin, witnesses = () => [], maxEvents = MOST_LEAVES } = options;
  if (!(Number.isSafeInteger(maxEvents) && maxEvents > 0)) throw new TypeError('maxEvents is not positive');
  if (!isKeyName(origin)) throw new TypeError('an origin is not empty and has no white space and no +');
  const keys: readonly VerifierKey[] = [
    verifierKey(signer.name, 'ed25519', signer.publicKey),
    ...(options.formerKeys ?? []).map(parseVerifierKey),
  ];
  const signed = new SignedHeads();
  const originOf = (org: OrgId) => `${origin}/${org}`;

  /** One checkpoint, and where the chain ended then. */
  const next = (org: OrgId) =>
    inSnapshot(db, async (trx) => {
      const { last, tree } = await openTree(trx, org, { origin: originOf(org), keys });
      signed.compare(org, last);
      const slices = new TileSlices();
      const { link, head } = await appendNewLeaves(trx, org, last, tree, slices.seen, maxEvents);
      if (tree.size === (last?.size ?? 0)) return { stored: last, head };
      const grown = { org, origin: originOf(org), tree, slices, link };
      return { stored: await writeCheckpoint(trx, grown, signer), head };
    });

  const checkpoint = async (value: OrgId, signal?: AbortSignal): Promise<StoredCheckpoint | undefined> => {
    const org = orgOf(value);
    // As far as the chain went at first: it may grow as fast as it is signed.
    for (let goal: number | undefined; ; ) {
      const { stored, head } = await next(org);
      if (stored === undefined) return undefined;
      signed.remember(org, stored);
      goal ??= head;
      if (stored.size >= goal || signal?.aborted === true) return stored;
    }
  };

  const cosignOrg = (value: OrgId): Promise<CosignReport> => cosign(db, orgOf(value), witnesses(value));

  return {
    checkpoint: (org) => checkpoint(org),
    cosign: cosignOrg,
    newest: (org) => newestCheckpoint(db, orgOf(org)),
    proveEvent: (org, seq) => proveInclusion(db, orgOf(org), seq - 1),
    proveGrowth: async (value, oldSize) => {
      const org = orgOf(value);
      const newest = await newestCheckpoint(db, org);
      return await proveConsistency(db, org, oldSize, newest ?? { size: 0, root: new Uint8Array() });
    },
    lag: () => readLag(db),
    run: (schedule) =>
      runSchedule(db, schedule, async (org) => {
        await checkpoint(org, schedule.signal);
        return await cosignOrg(org);
      }),
  };
}

async function readLag(db: QueryExecutor): Promise<CheckpointLag> {
  const rows = await rowsOf<{ orgs: unknown; events: unknown; oldest: unknown }>(db, LAG, []).catch(
    (error: unknown) => {
      throw fromDatabaseError(error);
    },
  );
  const [row] = rows;
  return {
    orgs: Number(row?.orgs ?? 0),
    events: Number(row?.events ?? 0),
    oldestMs: Number(row?.oldest ?? 0),
  };
}

function orgOf(value: OrgId): OrgId {
  const org = parseOrgId(value);
  if (org === DEPLOYMENT)
    throw new TypeError('the nil UUID names the log of the deployment, not an organisation');
  return org;
}
