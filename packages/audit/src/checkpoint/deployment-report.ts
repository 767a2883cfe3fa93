/**
 * Holds the logs of all organisations against the entries of the deployment's log: which log is gone, cut, or has another
 * checkpoint than the one that was entered. Invariant: what it reads never makes it throw; it is a finding.
 */

import type { QueryExecutor } from '../executor.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { openCheckpoint } from '../verify/checkpoint.ts';
import { deploymentLeaf } from '../verify/deployment-entry.ts';
import { sameBytes } from '../verify/link.ts';
import type { VerifierKey } from '../verify/signed-note.ts';
import { CompactRange } from './compact-range.ts';
import { DEPLOYMENT, rowsOf } from './database.ts';
import { lastCheckpoint } from './signed-tree.ts';

/** Something that is not as it was signed. */
export interface DeploymentFinding {
  /** Organisation; null when the log of the deployment itself is meant. */
  readonly org: string | null;
  /** In words. */
  readonly detail: string;
}

/** What a verification of the deployment found. */
export interface DeploymentReport {
  /** True when nothing was found. */
  readonly ok: boolean;
  /** Entries under the newest checkpoint. */
  readonly size: number;
  /** What was found, at most 1 000. */
  readonly findings: readonly DeploymentFinding[];
}

const PAGE = `
select d.place, d.org_id::text as org, d.size, d.root, d.salt, c.root as signed, s.seq as head
  from audit.deployment_entry d
  left join audit.checkpoint c on c.org_id = d.org_id and c.size = d.size
  left join lateral (select k.seq from audit.seal k where k.org_id = d.org_id order by k.seq desc limit 1) s on true
 where d.place >= $1::bigint and d.place < $2::bigint order by d.place limit 2000`;

const MOST_FINDINGS = 1_000;

interface PageRow {
  readonly place: unknown;
  readonly org: string;
  readonly size: unknown;
  readonly root: Uint8Array;
  readonly salt: Uint8Array;
  readonly signed: Uint8Array | null;
  readonly head: unknown;
}

/** Reads all entries under the newest checkpoint and the logs they stand for. */
export async function auditDeployment(
  db: QueryExecutor,
  { origin, keys }: { readonly origin: string; readonly keys: readonly VerifierKey[] },
): Promise<DeploymentReport> {
  const findings: DeploymentFinding[] = [];
  const find = (org: string | null, detail: string) => {
    if (findings.length < MOST_FINDINGS) findings.push({ org, detail });
  };
  const last = await lastCheckpoint(db, DEPLOYMENT);
  const opened = last === undefined ? undefined : await openCheckpoint(last.note, { origin, keys });
  if (opened?.ok !== true) {
    find(null, opened === undefined ? 'there is no checkpoint' : `the checkpoint is ${opened.reason}`);
    return { ok: false, size: 0, findings };
  }
  const { size, root } = opened.checkpoint;
  const tree = new CompactRange(nodeSha256);
  while (tree.size < size) {
    const rows = await rowsOf<PageRow>(db, PAGE, [tree.size, size]);
    for (const row of rows) {
      if (Number(row.place) !== tree.size) break;
      tree.append(leafOf(row));
      const problem = problemOf(row);
      if (problem !== undefined) find(row.org, problem);
    }
    if (rows.length === 0 || Number(rows.at(-1)?.place) !== tree.size - 1) {
      find(null, `entry ${tree.size} is missing`);
      break;
    }
  }
  if (tree.size === size && !sameBytes(tree.root(), root))
    find(null, 'the entries are not those that were signed');
  return { ok: findings.length === 0, size, findings };
}

/** A row that is no entry cannot have been signed: any other leaf shows in the root. */
function leafOf({ org, size, root, salt }: PageRow): Uint8Array {
  try {
    return deploymentLeaf({ org, size: Number(size), root, salt }, nodeSha256);
  } catch {
    return new Uint8Array(32);
  }
}

function problemOf({ size, root, signed, head }: PageRow): string | undefined {
  if (head == null) return 'the log is gone';
  if (Number(head) < Number(size)) return `the log ends at ${String(head)}, its entry says ${String(size)}`;
  if (signed === null) return `the checkpoint of ${String(size)} is gone`;
  if (!sameBytes(signed, root)) return `the checkpoint of ${String(size)} is another`;
  return undefined;
}
