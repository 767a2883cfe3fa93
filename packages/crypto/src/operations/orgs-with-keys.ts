/**
 * The organisations of a PostgreSQL key store, in ascending order and in batches: what `rewrapAll` goes through.
 */
import { type Kysely, sql } from 'kysely';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { AnyDatabase } from './column-catalog.ts';

/** Which organisations. */
export interface OrgsWithKeysOptions {
  /** Only those with a wrap under this KEK. */
  readonly under?: string;
  /** Only those after this one. */
  readonly after?: OrgId;
  /** Organisations per query. Default 1000. */
  readonly batch?: number;
}

/**
 * Lists organisations that have keys and are not shredded, ascending.
 *
 * @example
 * ```ts
 * await operations.rewrapAll({ orgs: orgsWithKeys(db, { under: 'local:old' }), from: 'local:old', to: () => 'local:new' });
 * ```
 */
export async function* orgsWithKeys<DB>(
  db: Kysely<DB>,
  options: OrgsWithKeysOptions = {},
): AsyncGenerator<OrgId, void, void> {
  const batch = options.batch ?? 1000;
  // Kysely is invariant in its database type, and the application's need not name this schema.
  const handle = db as unknown as AnyDatabase;
  let after = options.after;
  for (;;) {
    const { rows } = await sql<{ org_id: string }>`
      select distinct v.org_id from crypto.dek_version v
      where v.state <> 'shredded'
        and ${after === undefined ? sql`true` : sql`v.org_id > ${after}::uuid`}
        and ${
          options.under === undefined
            ? sql`true`
            : sql`exists (select from crypto.dek_wrap w where w.org_id = v.org_id and w.kek_uri = ${options.under})`
        }
      order by v.org_id limit ${batch}`.execute(handle);
    for (const { org_id } of rows) {
      after = parseOrgId(org_id);
      yield after;
    }
    if (rows.length < batch) return;
  }
}
