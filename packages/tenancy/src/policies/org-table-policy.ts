/**
 * Generates the isolation of one org-owned table: row-level security, forced for the owner too, one permissive policy,
 * and the grants of the app role. Plain SQL for the user's own migrations.
 */
import { freshGuardSql, orgGuard } from './guard.ts';
import { ALL_PRIVILEGES, type TablePrivilege } from './table-policy.ts';

/** An org-owned table. */
export interface OrgTable {
  /** `schema.table`. */
  readonly table: string;
  /** The application's login role. */
  readonly appRole: string;
  /** What the app role may do. Default: all four. */
  readonly privileges?: readonly TablePrivilege[];
}

/**
 * The SQL that isolates one table. The table has a column `org_id uuid` which leads its primary key; the statement gives
 * it the organisation of the context as its default.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when a name is not plain.
 * @example
 * ```ts
 * const ddl = orgTablePolicy({ table: 'ledger.entry', appRole: 'ledger_app', privileges: ['select', 'insert'] });
 * ```
 */
export function orgTablePolicy({ table, appRole, privileges = ALL_PRIVILEGES }: OrgTable): string {
  return freshGuardSql(table, appRole, orgGuard(privileges));
}
