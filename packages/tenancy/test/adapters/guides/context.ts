// #region setup
import type { OrgDb } from '@ringfence/tenancy';
import { orgContext } from '@ringfence/tenancy/context';
import { type Database, type Session, tenancy } from './application.ts';

export const { runWithOrg, currentOrg, currentDb } = orgContext<OrgDb<Database>>();
// #endregion

// #region use
export async function handle(session: Session): Promise<number> {
  const db = tenancy.forOrg(session.org, { actor: `user:${session.user}` });
  return await runWithOrg(db, () => countNotes({ org: session.org }));
}

/** Far down, where no handle was passed: the folder says whose rows are expected. */
async function countNotes(folder: { org: Session['org'] }): Promise<number> {
  const rows = await currentDb(folder.org).selectFrom('app.note').select('id').execute();
  return rows.length;
}
// #endregion
