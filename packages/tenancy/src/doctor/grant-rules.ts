/** Rules on rights the app role can use on relations: those that row-level security does not bind, and those beyond the declaration. */
import type { Grant, Relation } from '../catalog/catalog.ts';
import type { Inspection } from './inspection.ts';
import { DOCS, type Hit, type Level, quoted, quotedRole, type Rule } from './rule.ts';

const ROW_PRIVILEGES = new Set<string>(['select', 'insert', 'update', 'delete']);

/** Relations with the grants on them that the app can use, without what an extension ships readable. */
function* granted(inspection: Inspection): Generator<[Relation, readonly Grant[]]> {
  for (const relation of inspection.catalog.relations) {
    const shipped = inspection.isExtensionsOwn(relation);
    const grants = inspection
      .grantsOn(relation)
      .filter(({ grantee, privilege }) => !(shipped && grantee === 'public' && privilege === 'select'));
    if (grants.length > 0) yield [relation, grants];
  }
}

/** The statement that takes a right away from whoever the app role has it through. */
export function revoke(privileges: string, on: string, grants: readonly Grant[]): string {
  const grantees = [...new Set(grants.map(({ grantee }) => quotedRole(grantee)))];
  return `revoke ${privileges} on ${on} from ${grantees.join(', ')};`;
}

/** Rights for a reader. */
export function listed(grants: readonly Grant[]): string {
  return [...new Set(grants.map(({ privilege, grantee }) => `${privilege} to ${grantee}`))].join(', ');
}

const objectOf = ({ kind, name }: Relation) => `${kind === 'sequence' ? 'sequence ' : ''}${quoted(name)}`;

/** A privilege no table of the app needs. */
function tablePrivilegeRule(
  rule: Omit<Rule, 'check' | 'level' | 'title'> & { readonly level?: Level },
  privilege: string,
): Rule {
  return {
    level: 'error',
    ...rule,
    title: `The app role may ${privilege.toUpperCase()}`,
    *check(inspection): Generator<Hit> {
      for (const [relation, grants] of granted(inspection)) {
        const these = grants.filter((each) => each.privilege === privilege);
        if (these.length === 0) continue;
        const message = `granted: ${listed(these)}`;
        yield { object: relation.name, message, remedy: revoke(privilege, objectOf(relation), these) };
      }
    },
  };
}

/** Rights on relations, schemas and the database. */
export const grantRules: readonly Rule[] = [
  tablePrivilegeRule(
    {
      id: 'RF301',
      name: 'grant-truncate',
      rationale:
        'Row-level security does not apply to TRUNCATE: one statement empties the table for all organisations.',
      source: `${DOCS.rowSecurity}; ${DOCS.executed}: both organisations emptied`,
    },
    'truncate',
  ),
  tablePrivilegeRule(
    {
      id: 'RF302',
      name: 'grant-references',
      rationale:
        'A foreign key is checked without row-level security: a table that references this one tells which keys exist in all organisations.',
      source: DOCS.rowSecurity,
    },
    'references',
  ),
  tablePrivilegeRule(
    {
      id: 'RF303',
      name: 'grant-trigger',
      rationale:
        'A trigger runs with the rights of whoever writes the table next, the owner and break-glass roles included.',
      source: 'PostgreSQL documentation, CREATE TRIGGER',
    },
    'trigger',
  ),
  tablePrivilegeRule(
    {
      id: 'RF304',
      name: 'grant-maintain',
      level: 'warning',
      rationale:
        'MAINTAIN (PostgreSQL 17) allows LOCK TABLE, CLUSTER and REINDEX: one organisation can stop all others.',
      source: DOCS.privileges,
    },
    'maintain',
  ),
  {
    id: 'RF305',
    name: 'grant-public',
    level: 'error',
    title: 'PUBLIC has a right on a relation',
    rationale: 'PUBLIC is every role, those to come included.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      for (const [relation, grants] of granted(inspection)) {
        const these = grants.filter(({ grantee }) => grantee === 'public');
        if (these.length === 0) continue;
        yield {
          object: relation.name,
          message: `granted: ${listed(these)}`,
          remedy: revoke('all', objectOf(relation), these),
        };
      }
    },
  },
  {
    id: 'RF306',
    name: 'grant-beyond-declaration',
    level: 'error',
    title: 'The app role may do more with a relation than is declared',
    rationale:
      'The declaration is what was reviewed. A written global table carries facts between organisations; a reached system table has no organisation at all.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      for (const [relation, grants] of granted(inspection)) {
        const of = inspection.classify(relation);
        if (of === 'unclassified' || of === 'child' || relation.kind === 'sequence') continue;
        const allowed = new Set<string>(inspection.allowed(relation));
        const these = grants.filter(
          ({ privilege }) => ROW_PRIVILEGES.has(privilege) && !allowed.has(privilege),
        );
        if (these.length === 0) continue;
        const privileges = [...new Set(these.map(({ privilege }) => privilege))].join(', ');
        const message = `not declared: ${listed(these)}`;
        yield { object: relation.name, message, remedy: revoke(privileges, quoted(relation.name), these) };
      }
    },
  },
  {
    id: 'RF307',
    name: 'grant-option',
    level: 'error',
    title: 'The app role may hand a right to others',
    rationale:
      'WITH GRANT OPTION lets injected SQL hand the right to any role, and the grant outlives the session.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      for (const [relation, grants] of granted(inspection)) {
        const these = grants.filter(({ grantable }) => grantable);
        if (these.length === 0) continue;
        const privileges = [...new Set(these.map(({ privilege }) => privilege))].join(', ');
        const remedy = revoke(`grant option for ${privileges}`, objectOf(relation), these);
        yield {
          object: relation.name,
          message: `grantable: ${listed(these)}`,
          remedy: remedy.replace(/;$/, ' cascade;'),
        };
      }
    },
  },
  {
    id: 'RF308',
    name: 'grant-on-column',
    level: 'warning',
    title: 'The app role has rights on single columns',
    rationale:
      'Rights on columns stand beside those on the table: a review of table grants does not show them.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        for (const column of relation.columns) {
          if (column.grants.length === 0) continue;
          const these = inspection
            .reachable(column.grants)
            .filter(({ grantee }) => grantee !== relation.owner);
          if (these.length === 0) continue;
          const name = `"${column.name.replaceAll('"', '""')}"`;
          const privileges = [...new Set(these.map(({ privilege }) => `${privilege} (${name})`))].join(', ');
          const remedy = revoke(privileges, quoted(relation.name), these);
          yield { object: `${relation.name}.${column.name}`, message: `granted: ${listed(these)}`, remedy };
        }
      }
    },
  },
  {
    id: 'RF309',
    name: 'default-privileges',
    level: 'error',
    title: 'Relations yet to be made will be in reach of the app role',
    rationale: 'A new table is granted before it has a policy: until then, it is open.',
    source: 'PostgreSQL documentation, ALTER DEFAULT PRIVILEGES',
    *check(inspection): Generator<Hit> {
      for (const { role, schema, objectType, grants } of inspection.catalog.defaultPrivileges) {
        if (objectType === 'function' || objectType === 'type') continue;
        const these = inspection.reachable(grants).filter(({ grantee }) => grantee !== role);
        if (these.length === 0) continue;
        const scope = schema === null ? '' : ` in schema ${quoted(schema)}`;
        yield {
          object: `${objectType}s of ${role}${schema === null ? '' : ` in ${schema}`}`,
          message: `granted by default: ${listed(these)}`,
          remedy: `alter default privileges for role ${quotedRole(role)}${scope} ${revoke('all', `${objectType}s`, these)}`,
        };
      }
    },
  },
  {
    id: 'RF310',
    name: 'schema-create',
    level: 'error',
    title: 'The app role may create objects in a schema',
    rationale:
      'An object it creates there can stand in front of the one that other roles mean, and runs with their rights.',
    source: 'PostgreSQL documentation, 5.10.6 Usage Patterns; CVE-2018-1058',
    *check(inspection): Generator<Hit> {
      for (const { name, owner, grants } of inspection.catalog.schemas) {
        const these = inspection
          .reachable(grants)
          .filter(({ privilege, grantee }) => privilege === 'create' && grantee !== owner);
        if (these.length === 0) continue;
        const remedy = revoke('create', `schema ${quotedRole(name)}`, these);
        yield { object: name, message: `granted: ${listed(these)}`, remedy };
      }
    },
  },
  {
    id: 'RF311',
    name: 'sequence-readable',
    level: 'warning',
    title: 'The app role may read or set a sequence',
    rationale:
      'last_value is how many rows all organisations have made; setval breaks inserts for all of them.',
    source: `PostgreSQL documentation, 9.17 Sequence Manipulation Functions; ${DOCS.executed}`,
    *check(inspection): Generator<Hit> {
      for (const [relation, grants] of granted(inspection)) {
        if (relation.kind !== 'sequence') continue;
        const these = grants.filter(({ privilege }) => privilege === 'select' || privilege === 'update');
        if (these.length === 0) continue;
        const remedy = revoke('select, update', objectOf(relation), these);
        yield { object: relation.name, message: `granted: ${listed(these)}`, remedy };
      }
    },
  },
  {
    id: 'RF312',
    name: 'sequence-shared',
    level: 'note',
    title: 'An org-owned table draws numbers from a sequence all organisations share',
    rationale:
      'Two inserts apart in time tell the volume of all organisations between them. A UUIDv7 tells none.',
    source: DOCS.executed,
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        const of = inspection.classify(relation);
        if (relation.kind !== 'sequence' || !(of === 'org' || of === 'child')) continue;
        const remedy = `-- a uuid key instead of ${relation.ownedBy}, or numbers counted per organisation`;
        yield { object: relation.name, message: `serves ${relation.ownedBy}`, remedy };
      }
    },
  },
  {
    id: 'RF313',
    name: 'database-create',
    level: 'error',
    title: 'The app role may create schemas in the database',
    rationale:
      'A schema of its own gives it tables without policies, functions, and a place on the search_path of others.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      const { database, databaseGrants, databaseOwner } = inspection.catalog;
      const these = inspection
        .reachable(databaseGrants)
        .filter(({ privilege, grantee }) => privilege === 'create' && grantee !== databaseOwner);
      if (these.length === 0) return;
      const remedy = revoke('create', `database ${quotedRole(database)}`, these);
      yield { object: database, message: `granted: ${listed(these)}`, remedy };
    },
  },
  {
    id: 'RF314',
    name: 'database-temporary',
    level: 'note',
    title: 'The app role may create temporary tables',
    rationale:
      'A temporary table outlives the request on its pooled connection. Handles replace such a connection; other clients of the pool do not.',
    source: DOCS.privileges,
    *check(inspection): Generator<Hit> {
      const { database, databaseGrants, databaseOwner } = inspection.catalog;
      const these = inspection
        .reachable(databaseGrants)
        .filter(({ privilege, grantee }) => privilege === 'temporary' && grantee !== databaseOwner);
      if (these.length === 0) return;
      const remedy = revoke('temporary', `database ${quotedRole(database)}`, these);
      yield { object: database, message: `granted: ${listed(these)}`, remedy };
    },
  },
];
