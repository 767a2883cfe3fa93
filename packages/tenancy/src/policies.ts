/**
 * Generates the isolation of one org-owned table: row-level security, forced for the owner too, one permissive policy,
 * and the grants of the app role. Plain SQL for the user's own migrations.
 */
import { identifier, qualifiedName } from './identifier.ts';

/** What the app role may do with a table. Never TRUNCATE, REFERENCES or TRIGGER: row-level security does not bind them. */
export type TablePrivilege = 'select' | 'insert' | 'update' | 'delete';

/** An org-owned table. */
export interface OrgTable {
  /** `schema.table`. */
  readonly table: string;
  /** The application's login role. */
  readonly appRole: string;
  /** What the app role may do. Default: all four. */
  readonly privileges?: readonly TablePrivilege[];
}

const ALL: readonly TablePrivilege[] = ['select', 'insert', 'update', 'delete'];

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
export function orgTablePolicy({ table, appRole, privileges = ALL }: OrgTable): string {
  const name = qualifiedName(table);
  const app = identifier(appRole);
  const isOwn = 'org_id = (select tenancy.org_id())';
  return [
    `alter table ${name} alter column org_id set default tenancy.org_id();`,
    `alter table ${name} enable row level security;`,
    `alter table ${name} force row level security;`,
    `create policy ringfence_org on ${name} as permissive for all to ${app} using (${isOwn}) with check (${isOwn});`,
    `revoke all on ${name} from public, ${app};`,
    `grant ${privileges.join(', ')} on ${name} to ${app};`,
    '',
  ].join('\n');
}
