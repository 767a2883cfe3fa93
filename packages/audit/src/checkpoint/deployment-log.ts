/**
 * The log of logs: one tree per deployment whose leaves are blinded checkpoints of its organisations. Who holds one of its
 * checkpoints notices that the log of an organisation is gone, which nobody can learn from the logs that are left.
 *
 * Invariant: nothing is signed that does not continue what was signed before; the leaves tell nothing of an organisation.
 */

import { platformRandom, type RandomBytes } from '../event-id.ts';
import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { type DeploymentEntry, deploymentLeaf } from '../verify/deployment-entry.ts';
import { GENESIS, sameBytes } from '../verify/link.ts';
import { isKeyName, parseVerifierKey, verifierKey } from '../verify/signed-note.ts';
import { type CheckpointDatabase, DEPLOYMENT, rowsOf, sizeOf } from './database.ts';
import { addEntries } from './deployment-entries.ts';
import { auditDeployment, type DeploymentReport } from './deployment-report.ts';
import { MOST_LEAVES } from './new-leaves.ts';
import { type InclusionProof, newestCheckpoint, noCheckpoint, proveInclusion } from './proofs.ts';
import { historyChanged, openTree, SignedHeads, type StoredCheckpoint } from './signed-tree.ts';
import type { Signer } from './signer.ts';
import { TileSlices } from './tile-store.ts';
import { type CosignReport, cosign, type Witness } from './witness-client.ts';
import { inSnapshot, writeCheckpoint } from './write-checkpoint.ts';

/** Settings of `createDeploymentLog`. */
export interface DeploymentLogOptions {
  /** A Kysely of the checkpointer's role. */
  readonly db: CheckpointDatabase;
  /** Who signs: the signer of the organisations' checkpoints. */
  readonly signer: Signer;
  /** Name of the deployment, as given to `createCheckpointer`; it is the origin of this log. */
  readonly origin: string;
  /** Verifier keys that signed before the signer's key. Default: none. */
  readonly formerKeys?: readonly string[];
  /** Who cosigns this log. Default: nobody. */
  readonly witnesses?: readonly Witness[];
  /** Source of the salts. Default: the platform's. */
  readonly random?: RandomBytes;
}

/** That an organisation's checkpoint stands in the log of the deployment. */
export interface OrgInclusionProof extends InclusionProof {
  /** What the leaf stands for; `deploymentLeaf` of it is the leaf. */
  readonly entry: DeploymentEntry;
}

/** What came of signing the deployment's log. */
export interface DeploymentCheckpoint {
  /** Its last checkpoint; undefined when no organisation has one. */
  readonly checkpoint: StoredCheckpoint | undefined;
  /** Organisations whose stored checkpoint is not the signed one: left out. Alarm on them. */
  readonly refused: readonly string[];
}

/** The log of a deployment. */
export interface DeploymentLog {
  /**
   * Adds the newest checkpoint of each organisation and signs the log.
   *
   * @throws RingfenceAuditError as `checkpoint` of a `Checkpointer`.
   */
  checkpoint(): Promise<DeploymentCheckpoint>;
  /** Has the last checkpoint cosigned, as `cosign` of a `Checkpointer`. */
  cosign(): Promise<CosignReport>;
  /**
   * Proves that the newest entry of an organisation stands in the newest checkpoint.
   *
   * @throws RingfenceAuditError `audit.no_checkpoint` when it has no signed entry, `audit.history_changed`.
   */
  proveOrg(org: OrgId): Promise<OrgInclusionProof>;
  /** Holds every organisation's log against the entries that were signed; what it finds never makes it throw. */
  verify(): Promise<DeploymentReport>;
}

const ENTRIES = `
select d.org_id::text as org, d.size, d.root, d.salt, d.place from audit.deployment_entry d
 where d.place >= $1::bigint order by d.place limit 10000`;

const ENTRY = `
select d.org_id::text as org, d.size, d.root, d.salt, d.place from audit.deployment_entry d
 where d.org_id = $1::uuid and d.place < $2::bigint order by d.size desc limit 1`;

type EntryRow = DeploymentEntry & { readonly place: unknown };

/**
 * Makes the log of one deployment.
 *
 * @throws TypeError when the origin or a key is malformed.
 */
export function createDeploymentLog(options: DeploymentLogOptions): DeploymentLog {
  const { db, signer, origin, witnesses = [], random = platformRandom } = options;
  if (!isKeyName(origin)) throw new TypeError('an origin is not empty and has no white space and no +');
  const keys = [
    verifierKey(signer.name, 'ed25519', signer.publicKey),
    ...(options.formerKeys ?? []).map(parseVerifierKey),
  ];
  const trust = { origin, keys };
  const signed = new SignedHeads();
  return {
    checkpoint: async () => {
      const refused = await inSnapshot(db, (trx) => addEntries(trx, trust, random));
      const checkpoint = await inSnapshot(db, async (trx) => {
        const { last, tree } = await openTree(trx, DEPLOYMENT, trust);
        signed.compare(DEPLOYMENT, last);
        const slices = new TileSlices();
        const most = tree.size + MOST_LEAVES;
        for await (const entry of entriesFrom(trx, tree.size)) {
          tree.append(deploymentLeaf(entry, nodeSha256), slices.seen);
          if (tree.size === most) break; // the next call goes on
        }
        if (tree.size === (last?.size ?? 0)) return last;
        return await writeCheckpoint(trx, { org: DEPLOYMENT, origin, tree, slices, link: GENESIS }, signer);
      });
      if (checkpoint !== undefined) signed.remember(DEPLOYMENT, checkpoint);
      return { checkpoint, refused };
    },
    cosign: () => cosign(db, DEPLOYMENT, witnesses),
    proveOrg: async (value) => {
      const org = parseOrgId(value);
      const newest = await newestCheckpoint(db, DEPLOYMENT);
      const [row] = await rowsOf<EntryRow>(db, ENTRY, [org, newest?.size ?? 0]);
      if (row === undefined) throw noCheckpoint(DEPLOYMENT, `holds no signed entry of ${org}`);
      const entry = entryOf(row);
      const proof = await proveInclusion(db, DEPLOYMENT, sizeOf(row.place));
      if (!sameBytes(deploymentLeaf(entry, nodeSha256), proof.leaf)) {
        throw historyChanged(DEPLOYMENT, `the entry at ${proof.index} is not the one that was signed`);
      }
      return { ...proof, entry };
    },
    verify: () => auditDeployment(db, trust),
  };
}

async function* entriesFrom(db: QueryExecutor, place: number): AsyncGenerator<DeploymentEntry> {
  for (let next = place; ; ) {
    const rows = await rowsOf<EntryRow>(db, ENTRIES, [next]);
    for (const row of rows) {
      if (sizeOf(row.place) !== next) throw historyChanged(DEPLOYMENT, `entry ${next} is missing`);
      next += 1;
      yield entryOf(row);
    }
    if (rows.length === 0) return;
  }
}

function entryOf({ org, size, root, salt }: EntryRow): DeploymentEntry {
  return { org, size: sizeOf(size), root: Uint8Array.from(root), salt: Uint8Array.from(salt) };
}
