// #region setup
import { sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { pgSchema, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { pgTenancy, type Session } from './application.ts';

const note = pgSchema('app').table(
  'note',
  {
    orgId: uuid('org_id').notNull().default(sql`tenancy.org_id()`), // filled from the context
    id: text('id').notNull(),
    body: text('body').notNull(),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.id] })],
);
const schema = { note };

export function drizzleOf(session: Session): NodePgDatabase<typeof schema> {
  const client = pgTenancy.forOrg(session.org, { actor: `user:${session.user}` });
  return drizzle({ client, schema });
}
// #endregion

// #region transaction
export async function addTwo(session: Session): Promise<number> {
  const db = drizzleOf(session);
  await db.transaction(async (tx) => {
    await tx.insert(note).values({ id: 'd1', body: 'first' });
    await tx.transaction((nested) => nested.insert(note).values({ id: 'd2', body: 'second' })); // a savepoint
  });
  return await db.$count(note);
}
// #endregion
