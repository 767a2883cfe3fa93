/**
 * Work of one organisation: whatever sets the context of the transaction. The functions of the schema compare the
 * organisation they were called for with that context, so a wrong handle is an error and no other organisation's rows.
 */
import { type Kysely, type QueryExecutorProvider, sql } from 'kysely';
import type { OrgId } from '../org-id.ts';

/** Runs one statement in the context of an organisation. */
export type OrgWork = <T>(org: OrgId, work: (db: QueryExecutorProvider) => Promise<T>) => Promise<T>;

/**
 * Sets `ringfence.org_id` for one transaction: for a schema that was migrated without a context of its own.
 *
 * @example
 * ```ts
 * const store = postgresApiKeyStore({ db, inOrg: settingContext(db) });
 * ```
 */
export function settingContext<DB>(db: Kysely<DB>): OrgWork {
  return async (org, work) =>
    await db.transaction().execute(async (trx) => {
      await sql`select set_config('ringfence.org_id', ${org}, true)`.execute(trx);
      return await work(trx);
    });
}

/** The only column of the only row. */
export async function answerOf<T>(
  db: QueryExecutorProvider,
  query: ReturnType<typeof sql<{ answer: T }>>,
): Promise<T> {
  const { rows } = await query.execute(db);
  const [row] = rows;
  if (row === undefined) throw new TypeError('a function of schema authz answered with no row');
  return row.answer;
}
