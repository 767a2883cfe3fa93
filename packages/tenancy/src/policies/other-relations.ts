/**
 * Differences of everything that is not an org-owned table: global and system tables, views, sequences, partitions, and
 * relations nobody has declared.
 *
 * Invariant: every relation that PostgreSQL did not come with, but for what is an extension's own, passes through exactly one rule.
 */
import type { Relation } from '../catalog/catalog.ts';
import { identifier } from '../identifier.ts';
import { type CatalogView, grantsText, quoted, quotedRelation, reaching, rootOf } from './catalog-view.ts';
import type { SystemTableDeclaration, ViewDeclaration } from './declaration.ts';
import { type Difference, type MigrationStep, ownStep } from './difference.ts';
import { GLOBAL_GUARD, type Guard, grantSql, guardDifferences, orgGuard } from './guard.ts';
import { primaryKeyDifferences } from './org-table.ts';

/** Schema of this package: its relations are the owner's. */
export const PACKAGE_SCHEMA = 'tenancy';

/** Privileges on a sequence that tell nothing of other organisations. */
const SEQUENCE_PRIVILEGES: readonly string[] = ['usage'];

/** Compares a global table with its declaration. */
export function globalTableDifferences(
  view: CatalogView,
  relation: Relation,
  key: readonly string[],
): Difference[] {
  const found = [
    ...guardDifferences(view, relation, GLOBAL_GUARD),
    ...primaryKeyDifferences(view, relation, key),
  ];
  for (const { name, type, references, definition } of view.constraintsOf(relation.name)) {
    if (type !== 'foreign key' || references === null || !view.schema.org.has(references)) continue;
    found.push({
      kind: 'foreign_key_undeclared',
      relation: relation.name,
      expected: 'a global table points to no org-owned one',
      found: `${name}: ${definition}`,
      mend: [],
    });
  }
  return found;
}

/** Compares a system relation with its declaration. */
export function systemDifferences(
  view: CatalogView,
  relation: Relation,
  { privileges }: Pick<Required<SystemTableDeclaration>, 'privileges'>,
): Difference[] {
  if (relation.kind === 'sequence') return sequenceDifferences(view, relation, []);
  return guardDifferences(view, relation, { policy: null, rowSecurity: privileges.length > 0, privileges });
}

/** Compares a view with its declaration. */
export function viewDifferences(
  view: CatalogView,
  relation: Relation,
  { reads }: ViewDeclaration,
): Difference[] {
  const guard: Guard = { policy: null, rowSecurity: false, privileges: ['select'] };
  const found = guardDifferences(view, relation, guard);
  // PostgreSQL keeps the option as it was written.
  const option = relation.options.find((one) => one.startsWith('security_invoker='));
  if (option === undefined || !/=(true|on|yes|1)$/i.test(option)) {
    const set = ownStep('guard', relation.name, 'the view reads with the rights of its reader', [
      `alter view ${quotedRelation(relation)} set (security_invoker = true);`,
    ]);
    const is = option ?? 'security_invoker is not set';
    found.push({
      kind: 'view_invoker',
      relation: relation.name,
      expected: 'security_invoker=true',
      found: is,
      mend: [set],
    });
  }
  const read = view.catalog.viewReads.filter((one) => one.view === relation.name).map((one) => one.relation);
  for (const other of read.filter((one) => !reads.includes(one))) {
    const expected = `reads ${reads.join(', ') || 'nothing'}`;
    found.push({ kind: 'view_reads', relation: relation.name, expected, found: `reads ${other}`, mend: [] });
  }
  return found;
}

/** Compares the rights on a sequence: at most the privileges given. */
export function sequenceDifferences(
  view: CatalogView,
  relation: Relation,
  allowed: readonly string[] = SEQUENCE_PRIVILEGES,
): Difference[] {
  const { appRole } = view.schema;
  const grants = reaching(relation.grants, appRole);
  const fine = grants.every(
    ({ grantee, privilege, grantable }) => grantee === appRole && !grantable && allowed.includes(privilege),
  );
  if (fine) return [];
  const kept = allowed.filter((one) => grants.some(({ privilege }) => privilege === one));
  const sql = grantSql(`sequence ${quotedRelation(relation)}`, identifier(appRole), kept, relation);
  return [
    {
      kind: 'sequence',
      relation: relation.name,
      expected: `at most ${allowed.join(', ') || 'nothing'} to ${appRole}`,
      found: grantsText(grants),
      mend: [ownStep('guard', relation.name, 'the sequence tells no volumes', [sql], 'none')],
    },
  ];
}

/** Compares a partition of a declared table: either no way leads to it but through its table, or its guard is the table's. */
export function partitionDifferences(view: CatalogView, relation: Relation, guard: Guard): Difference[] {
  const { appRole } = view.schema;
  const grants = [...relation.grants, ...relation.columns.flatMap((column) => column.grants)];
  const reached = reaching(grants, appRole);
  if (reached.length === 0) return [];
  const own = guardDifferences(view, relation, guard).filter(({ kind }) => kind !== 'grants');
  const within = reached.every(
    ({ grantee, privilege, grantable }) =>
      grantee === appRole && !grantable && guard.privileges.includes(privilege),
  );
  if (own.length === 0 && within) return [];
  const revoke = grantSql(quotedRelation(relation), identifier(appRole), [], { grants });
  return [
    {
      kind: 'partition',
      relation: relation.name,
      expected: `no right of its own, or the policy and at most the rights of ${rootOf(view, relation).name}`,
      found: `${grantsText(reached)}; ${own.map(({ found }) => found).join('; ') || 'guarded'}`,
      mend: [ownStep('guard', relation.name, 'the partition is reached through its table only', [revoke])],
    },
  ];
}

/** Whoever may read a materialized view reads rows that no policy filters. */
export function materializedViewDifferences(view: CatalogView, relation: Relation): Difference[] {
  const { appRole } = view.schema;
  const grants = reaching(
    [...relation.grants, ...relation.columns.flatMap((column) => column.grants)],
    appRole,
  );
  if (grants.length === 0) return [];
  return [
    {
      kind: 'materialized_view',
      relation: relation.name,
      expected: 'no right of the app role',
      found: grantsText(grants),
      mend: [revokeStep(view, relation, 'no policy filters a materialized view')],
    },
  ];
}

/** A rewrite rule makes a statement touch further relations with the rights of its owner. */
export function ruleDifferences(view: CatalogView, relation: Relation): Difference[] {
  return view.rulesOf(relation.name).map(({ name, definition }) => ({
    kind: 'rule' as const,
    relation: relation.name,
    expected: 'no rewrite rule',
    found: definition,
    mend: [
      ownStep('guard', relation.name, 'a rule runs with the rights of its owner', [
        `drop rule ${quoted(name)} on ${quotedRelation(relation)};`,
      ]),
    ],
  }));
}

function revokeStep(view: CatalogView, relation: Relation, why: string): MigrationStep {
  const sql = grantSql(quotedRelation(relation), identifier(view.schema.appRole), [], relation);
  return ownStep('guard', relation.name, why, [sql]);
}

/** The guard that a declared table's partitions may carry. */
export function guardOf(view: CatalogView, root: string): Guard | undefined {
  const org = view.schema.org.get(root);
  if (org !== undefined) return orgGuard(org.privileges);
  if (view.schema.global.has(root)) return GLOBAL_GUARD;
  const system = view.schema.system.get(root);
  if (system !== undefined || view.schema.systemSchemas.has(root.split('.')[0] ?? '')) {
    return {
      policy: null,
      rowSecurity: (system?.privileges.length ?? 0) > 0,
      privileges: system?.privileges ?? [],
    };
  }
  return undefined;
}
