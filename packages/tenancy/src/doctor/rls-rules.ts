/** Rules on whether row-level security is in force on every org-owned table, and on what stands beside its parent's policy. */
import type { Policy } from '../catalog/catalog.ts';
import { type Inspection, OWN_ROWS } from './inspection.ts';
import { DOCS, type Hit, quoted, quotedRole, type Rule } from './rule.ts';

function ownPolicy(table: string, appRole: string): string {
  const own = 'org_id = (select tenancy.org_id())';
  return `create policy ringfence_org on ${quoted(table)} as permissive for all to ${quotedRole(appRole)} using (${own}) with check (${own});`;
}

/** Drops a policy. */
export function dropPolicy({ name, relation }: Policy): string {
  return `drop policy "${name.replaceAll('"', '""')}" on ${quoted(relation)};`;
}

function hasGenerated(inspection: Inspection, table: string): boolean {
  const relation = inspection.relation(table);
  return relation !== undefined && inspection.policies(relation).some(inspection.isGenerated);
}

/** Policies of org-owned tables and their children that are not the generated one. */
function* otherPolicies(inspection: Inspection): Generator<Policy> {
  for (const table of inspection.isolated)
    for (const policy of inspection.policies(table)) if (!inspection.isGenerated(policy)) yield policy;
}

/** Whether row-level security is in force. */
export const rlsRules: readonly Rule[] = [
  {
    id: 'RF101',
    name: 'rls-disabled',
    level: 'error',
    title: 'An org-owned table has row-level security disabled',
    rationale:
      'Policies are stored but not applied: every statement of the app role sees every organisation.',
    source: DOCS.rowSecurity,
    *check({ orgTables }): Generator<Hit> {
      for (const { name, rowSecurity } of orgTables) {
        if (rowSecurity) continue;
        const remedy = `alter table ${quoted(name)} enable row level security;`;
        yield { object: name, message: 'row-level security is disabled', remedy };
      }
    },
  },
  {
    id: 'RF102',
    name: 'rls-not-forced',
    level: 'error',
    title: 'Row-level security does not bind the owner of an org-owned table',
    rationale:
      'A table owner is exempt unless FORCE is set: migrations, views and SECURITY DEFINER functions of the owner see and ' +
      'write all organisations.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: 2 of 2 rows`,
    *check({ orgTables }): Generator<Hit> {
      for (const { name, forceRowSecurity } of orgTables) {
        if (forceRowSecurity) continue;
        const remedy = `alter table ${quoted(name)} force row level security;`;
        yield { object: name, message: 'row-level security is not forced for the owner', remedy };
      }
    },
  },
  {
    id: 'RF103',
    name: 'policy-missing',
    level: 'error',
    title: 'An org-owned table has no permissive policy for the app role',
    rationale:
      'Without a policy everything is denied, silently: no error says so, and the next quick fix tends to be a wide policy.',
    source: DOCS.rowSecurity,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.orgTables) {
        if (inspection.policies(table).some((each) => each.permissive && inspection.applies(each))) continue;
        const remedy = ownPolicy(table.name, inspection.schema.appRole);
        yield { object: table.name, message: 'no permissive policy applies to the app role', remedy };
      }
    },
  },
  {
    id: 'RF104',
    name: 'several-permissive-policies',
    level: 'error',
    title: 'Several permissive policies apply to the app role',
    rationale: 'Permissive policies are joined by OR: each one more can only show more rows.',
    source: DOCS.createPolicy,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.orgTables) {
        const applying = inspection
          .policies(table)
          .filter((each) => each.permissive && inspection.applies(each));
        if (applying.length < 2) continue;
        const extra = applying.filter((each) => !inspection.isGenerated(each));
        const message = `${applying.length} permissive policies apply: ${applying.map(({ name }) => name).join(', ')}`;
        yield { object: table.name, message, remedy: extra.map(dropPolicy).join(' ') };
      }
    },
  },
  {
    id: 'RF105',
    name: 'policy-for-other-roles',
    level: 'warning',
    title: 'A policy of an org-owned table names PUBLIC or another role',
    rationale:
      'A policy is a right. PUBLIC includes every role that is ever made, and a policy for a second role is a second way to the rows that nobody declared.',
    source: DOCS.createPolicy,
    *check(inspection): Generator<Hit> {
      for (const policy of otherPolicies(inspection)) {
        const others = policy.roles.filter((role) => role !== inspection.schema.appRole);
        if (others.length === 0) continue;
        yield {
          object: `${policy.relation}.${policy.name}`,
          message: `the policy is for ${others.join(', ')}`,
          remedy: `alter policy "${policy.name.replaceAll('"', '""')}" on ${quoted(policy.relation)} to ${quotedRole(inspection.schema.appRole)};`,
        };
      }
    },
  },
  {
    id: 'RF106',
    name: 'policy-not-generated',
    level: 'error',
    title: 'A permissive policy is not the generated one',
    rationale:
      'The generated policy is proven once and compared by equality. Any other expression has to be proven on its own, and none of the rules does that.',
    source: DOCS.createPolicy,
    *check(inspection): Generator<Hit> {
      for (const policy of otherPolicies(inspection)) {
        if (!(policy.permissive && inspection.applies(policy))) continue;
        yield {
          object: `${policy.relation}.${policy.name}`,
          message: `expected "${OWN_ROWS}" for all commands of the app role, found "${policy.using ?? policy.check ?? 'nothing'}" for ${policy.command}`,
          remedy: hasGenerated(inspection, policy.relation)
            ? dropPolicy(policy)
            : `${dropPolicy(policy)} ${ownPolicy(policy.relation, inspection.schema.appRole)}`,
        };
      }
    },
  },
  {
    id: 'RF107',
    name: 'with-check-differs',
    level: 'error',
    title: 'A policy checks written rows less than, or not as, the rows it shows',
    rationale:
      'WITH CHECK decides which rows may be written: without it, or with a wider one, a row can be put or moved into another organisation.',
    source: DOCS.createPolicy,
    *check(inspection): Generator<Hit> {
      for (const policy of otherPolicies(inspection)) {
        if (!policy.permissive || policy.command === 'select' || policy.command === 'delete') continue;
        const expected = policy.command === 'insert' ? OWN_ROWS : policy.using;
        if (policy.check === expected) continue;
        yield {
          object: `${policy.relation}.${policy.name}`,
          message: policy.check === null ? 'WITH CHECK is not written' : `WITH CHECK is "${policy.check}"`,
          remedy: `alter policy "${policy.name.replaceAll('"', '""')}" on ${quoted(policy.relation)} with check (org_id = (select tenancy.org_id()));`,
        };
      }
    },
  },
  {
    id: 'RF108',
    name: 'child-table-open',
    level: 'error',
    title: 'A partition or inheriting table can be read past the policy of its parent',
    rationale:
      "Policies of the parent apply to statements that name the parent. A statement that names the child meets the child's own policies only.",
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: all rows`,
    *check(inspection): Generator<Hit> {
      for (const child of inspection.isolated) {
        if (inspection.classify(child) !== 'child' || inspection.isIsolated(child)) continue;
        const grants = inspection.grantsOn(child);
        if (grants.length === 0) continue;
        const grantees = [...new Set(grants.map(({ grantee }) => quotedRole(grantee)))].join(', ');
        const message = `a child of ${child.parents.join(', ')} is granted to the app role without the generated policy`;
        yield {
          object: child.name,
          message,
          remedy: `revoke all on ${quoted(child.name)} from ${grantees};`,
        };
      }
    },
  },
  {
    id: 'RF109',
    name: 'foreign-table',
    level: 'error',
    title: 'A foreign table is org-owned, or in reach of the app role',
    rationale:
      'Row-level security cannot be enabled on a foreign table, and the remote side knows one user for all organisations.',
    source: 'PostgreSQL documentation, CREATE FOREIGN TABLE',
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        if (relation.kind !== 'foreign table') continue;
        const of = inspection.classify(relation);
        if (inspection.grantsOn(relation).length === 0 && of !== 'org' && of !== 'child') continue;
        const remedy = `revoke all on ${quoted(relation.name)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: relation.name, message: 'a foreign table has no row-level security', remedy };
      }
    },
  },
  {
    id: 'RF110',
    name: 'system-relation-open',
    level: 'error',
    title: 'A system table in reach of the app role has no row-level security',
    rationale:
      'What the app role may do to a table without a policy, SQL injected into any handle may do to all of its rows.',
    source: DOCS.rowSecurity,
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        if (!(relation.kind === 'table' || relation.kind === 'partitioned table')) continue;
        if (inspection.classify(relation) !== 'system' || inspection.grantsOn(relation).length === 0)
          continue;
        if (relation.rowSecurity && relation.forceRowSecurity) continue;
        const remedy = `alter table ${quoted(relation.name)} enable row level security, force row level security;`;
        yield {
          object: relation.name,
          message: 'the app role reaches it, and no policy bounds what it sees',
          remedy,
        };
      }
    },
  },
];
