/**
 * The guard of a relation: row-level security, its one policy, its grants. What the engine compares with and what it
 * generates come from the same values.
 *
 * Invariant: a guard is put on in one transaction; no moment exists in which the app role has the grants and not the policy.
 */
import type { Policy, Relation } from '../catalog/catalog.ts';
import { identifier, qualifiedName } from '../identifier.ts';
import { backfillTrigger, dropBackfill } from './backfill.ts';
import { type CatalogView, grantsText, quoted, quotedRelation, reaching } from './catalog-view.ts';
import { type Difference, type DifferenceKind, type MigrationStep, ownStep } from './difference.ts';
import { GLOBAL_POLICY, ORG_POLICY, type TablePolicy } from './table-policy.ts';

/** What the app role's access to a relation has to be. */
export interface Guard {
  /** Its policy; null when there is none to compare. */
  readonly policy: TablePolicy | null;
  /** Whether row-level security has to be enabled and forced. */
  readonly rowSecurity: boolean;
  /** Privileges of the app role. */
  readonly privileges: readonly string[];
}

/** The guard of an org-owned table. */
export function orgGuard(privileges: readonly string[]): Guard {
  return { policy: ORG_POLICY, rowSecurity: true, privileges };
}

/** The guard of a global table. */
export const GLOBAL_GUARD: Guard = { policy: GLOBAL_POLICY, rowSecurity: true, privileges: ['select'] };

/** The statements that put a guard on a relation as it is now. */
export function guardStep(view: CatalogView, relation: Relation, guard: Guard): MigrationStep {
  const name = quotedRelation(relation);
  const app = identifier(view.schema.appRole);
  const sql: string[] = [];
  if (guard.policy !== null) {
    const existing = view.policiesOf(relation.name);
    for (const policy of existing) sql.push(`drop policy ${quoted(policy.name)} on ${name};`);
    if (guard.policy === ORG_POLICY) {
      // While the column may be null a migration has put a trigger there, or will before this step.
      const filled = relation.columns.some(({ name: column, notNull }) => column === 'org_id' && notNull);
      if (!filled || view.triggersOf(relation.name).some(isBackfill))
        sql.push(...dropBackfill(relation.name));
      sql.push(`alter table ${name} alter column org_id set default tenancy.org_id();`);
    }
    sql.push(
      `alter table ${name} enable row level security;`,
      `alter table ${name} force row level security;`,
      guard.policy.create(name, app),
    );
  }
  sql.push(grantSql(name, app, guard.privileges, relation));
  return ownStep('guard', relation.name, 'put policy and grants in place in one moment', sql);
}

/** Revokes everything that reaches the app role, and grants what is declared. */
export function grantSql(
  name: string,
  app: string,
  privileges: readonly string[],
  live?: Pick<Relation, 'grants'>,
): string {
  // What the app role has passed on goes with its own right.
  const cascade = live?.grants.some(({ grantable }) => grantable) === true ? ' cascade' : '';
  const revoke = `revoke all on ${name} from public, ${app}${cascade};`;
  return privileges.length === 0 ? revoke : `${revoke}\ngrant ${privileges.join(', ')} on ${name} to ${app};`;
}

/** Compares the access of the app role to a relation with its guard. */
export function guardDifferences(view: CatalogView, relation: Relation, guard: Guard): Difference[] {
  const { appRole } = view.schema;
  const found: Difference[] = [];
  const differ = (
    kind: DifferenceKind,
    expected: string,
    is: string,
    mend: readonly MigrationStep[] = [guardStep(view, relation, guard)],
  ) => found.push({ kind, relation: relation.name, expected, found: is, mend });

  if (guard.rowSecurity && !(relation.rowSecurity && relation.forceRowSecurity)) {
    const state = relation.rowSecurity ? 'enabled, not forced' : 'disabled';
    // A system table's policies are its owner's: enabling row-level security without them would close it altogether.
    differ('row_security', 'enabled and forced', state, ...(guard.policy === null ? [[]] : []));
  }
  if (guard.policy !== null) {
    const expected = guard.policy.printed(appRole);
    const policies = view.policiesOf(relation.name);
    for (const policy of policies) {
      const printed = printedPolicy(policy);
      if (printed !== expected) differ('policy', `${expected}, and no other`, printed);
    }
    if (policies.length === 0) differ('policy', expected, 'no policy');
  }
  const grants = reaching(relation.grants, appRole);
  const wanted = [...guard.privileges].sort().join();
  const is = grants
    .map(({ privilege }) => privilege)
    .sort()
    .join();
  if (is !== wanted || grants.some(({ grantee, grantable }) => grantee === 'public' || grantable)) {
    const privileges = [...guard.privileges].sort().join(', ');
    differ('grants', privileges === '' ? 'nothing' : `${privileges} to ${appRole}`, grantsText(grants));
  }
  for (const column of relation.columns) {
    const onColumn = reaching(column.grants, appRole);
    if (onColumn.length > 0)
      differ('column_grants', 'grants on the whole table only', `${column.name}: ${grantsText(onColumn)}`);
  }
  return found;
}

/** A policy on one line, to be compared and read. */
export function printedPolicy({ name, permissive, command, roles, using, check }: Policy): string {
  return [
    `${name} as ${permissive ? 'permissive' : 'restrictive'} for ${command} to ${roles.join(', ')}`,
    using === null ? '' : ` using ${using}`,
    check === null ? '' : ` with check ${check}`,
  ].join('');
}

/** True for the trigger that fills `org_id` during a migration. */
export function isBackfill({ name }: { readonly name: string }): boolean {
  return name === backfillTrigger;
}

/** The guard of a declared table that is about to be made, as SQL for a reviewer. */
export function freshGuardSql(table: string, appRole: string, guard: Guard): string {
  const name = qualifiedName(table);
  const app = identifier(appRole);
  const { policy } = guard;
  return [
    ...(policy === ORG_POLICY
      ? [`alter table ${name} alter column org_id set default tenancy.org_id();`]
      : []),
    ...(policy === null
      ? []
      : [
          `alter table ${name} enable row level security;`,
          `alter table ${name} force row level security;`,
          policy.create(name, app),
        ]),
    grantSql(name, app, guard.privileges),
    '',
  ].join('\n');
}
