/**
 * The two policies this package generates, each as SQL and as PostgreSQL prints it back (with `search_path = pg_catalog`,
 * as `readCatalog` reads it).
 */

/** What the app role may do with a table. Never TRUNCATE, REFERENCES or TRIGGER: row-level security does not bind them. */
export type TablePrivilege = 'select' | 'insert' | 'update' | 'delete';

/** All of them: the default of an org-owned table. */
export const ALL_PRIVILEGES: readonly TablePrivilege[] = ['select', 'insert', 'update', 'delete'];

/** A policy of this package. */
export interface TablePolicy {
  /** SQL that makes it, from the quoted names of table and app role. */
  create(table: string, app: string): string;
  /** The policy as it is read back, on one line. */
  printed(appRole: string): string;
}

const IS_OWN = 'org_id = (select tenancy.org_id())';
/** How PostgreSQL 15 to 18 print `IS_OWN`. */
const IS_OWN_PRINTED = '(org_id = ( SELECT tenancy.org_id() AS org_id))';

/** The policy of org-owned tables. */
export const ORG_POLICY: TablePolicy = {
  create: (table, app) =>
    `create policy ringfence_org on ${table} as permissive for all to ${app} using (${IS_OWN}) with check (${IS_OWN});`,
  printed: (appRole) =>
    `ringfence_org as permissive for all to ${appRole} using ${IS_OWN_PRINTED} with check ${IS_OWN_PRINTED}`,
};

/** The policy of global tables. */
export const GLOBAL_POLICY: TablePolicy = {
  create: (table, app) =>
    `create policy ringfence_global on ${table} as permissive for select to ${app} using (true);`,
  printed: (appRole) => `ringfence_global as permissive for select to ${appRole} using true`,
};
