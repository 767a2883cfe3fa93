/**
 * What a connection must be before records are read through it: it sees the organisation, and its texts are UTF-8. Without
 * the first an empty log would look honest, without the second an honest log would look edited.
 */
import { rowsOf } from './checkpoint/database.ts';
import type { QueryExecutor } from './executor.ts';
import type { OrgId } from './org-id.ts';

const ASSERT_READS = `
select audit.assert_reads($1::uuid)::text as reads, current_setting('client_encoding') as encoding`;

/**
 * Fails unless records of an organisation can be read as they are stored.
 *
 * @throws TypeError when the session's client_encoding is not UTF8.
 */
export async function assertReads(db: QueryExecutor, org: OrgId): Promise<void> {
  const [row] = await rowsOf<{ readonly encoding: string }>(db, ASSERT_READS, [org]);
  if (row?.encoding !== 'UTF8') {
    throw new TypeError(`client_encoding is ${row?.encoding}: records are read as UTF8`);
  }
}
