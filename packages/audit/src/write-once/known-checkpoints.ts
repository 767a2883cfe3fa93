/**
 * Before a log is copied for the first time, as far as the database knows: the store must not hold checkpoints of another
 * history. A segment that is cut elsewhere has a name of its own, so it would meet no object that it must not overwrite,
 * and stay beside the true ones for as long as the bucket holds it.
 */
import { rowsOf } from '../checkpoint/database.ts';
import { RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import { parseObjectName } from './object-key.ts';
import type { WriteOnceStore } from './store.ts';

const SIZES = `
select size from audit.checkpoint where org_id = $1::uuid and size <= $2::bigint order by size`;

/** @throws RingfenceAuditError `audit.copy_conflict` unless the log has the checkpoints that the store holds, and no others between. */
export async function requireKnownCheckpoints(
  db: QueryExecutor,
  store: WriteOnceStore,
  org: OrgId,
): Promise<void> {
  const held = new Set<number>();
  for await (const { key, deleteMarker } of store.list(`${org}/checkpoint/`)) {
    const object = parseObjectName(key.slice(org.length + 1));
    if (!deleteMarker && object?.kind === 'checkpoint') held.add(object.size);
  }
  if (held.size === 0) return;
  const rows = await rowsOf<{ size: unknown }>(db, SIZES, [org, Math.max(...held)]);
  const sizes = rows.map(({ size }) => Number(size));
  if (sizes.length === held.size && sizes.every((size) => held.has(size))) return;
  throw new RingfenceAuditError(
    'audit.copy_conflict',
    `log ${org}: the store holds checkpoints of another history than the database's`,
  );
}
