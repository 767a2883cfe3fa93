/** What the database says was copied, to hold a store against. */
import { toHex } from '../append-result.ts';
import { rowsOf } from '../checkpoint/database.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import type { Retention, RetentionMode } from './store.ts';

/** One object as it was written. */
export interface RecordedObject {
  /** Version that was read back. */
  readonly versionId: string;
  /** SHA-256 of its bytes, 64 lower-case hex digits. */
  readonly sha256: string;
  /** Its retention; undefined where the store locks nothing. */
  readonly retention: Retention | undefined;
}

const PAGE = `
select key, version_id as version, sha256, mode, extract(epoch from retain_until)::double precision * 1000 as until
  from audit.copy where org_id = $1::uuid and store = $2 and key > $3 order by key limit 5000`;

interface Row {
  readonly key: string;
  readonly version: string;
  readonly sha256: Uint8Array;
  readonly mode: RetentionMode | null;
  readonly until: number | null;
}

/** Every object of a log that was copied to a store, by key. */
export async function recordedObjects(
  db: QueryExecutor,
  org: OrgId,
  store: string,
): Promise<ReadonlyMap<string, RecordedObject>> {
  const recorded = new Map<string, RecordedObject>();
  for (let behind = ''; ; ) {
    const rows = await rowsOf<Row>(db, PAGE, [org, store, behind]);
    for (const { key, version, sha256, mode, until } of rows) {
      const retention = mode === null || until === null ? undefined : { mode, untilMs: Math.round(until) };
      recorded.set(key, { versionId: version, sha256: toHex(sha256), retention });
      behind = key;
    }
    if (rows.length === 0) return recorded;
  }
}
