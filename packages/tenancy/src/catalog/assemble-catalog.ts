/**
 * Puts the snapshot together from its rows: resolves object ids, nests lists, and sorts by code point, so that two
 * snapshots of the same catalog are equal whatever the collation of the database.
 */
import type {
  Catalog,
  Column,
  Constraint,
  DefaultPrivilege,
  Grant,
  Index,
  Policy,
  Relation,
  Role,
} from './catalog.ts';
import type { CatalogRows } from './catalog-rows.ts';

const KINDS: Readonly<Record<string, Relation['kind']>> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
  f: 'foreign table',
  S: 'sequence',
};
const COMMANDS: Readonly<Record<string, Policy['command']>> = {
  r: 'select',
  a: 'insert',
  w: 'update',
  d: 'delete',
  '*': 'all',
};
const CONSTRAINTS: Readonly<Record<string, Constraint['type']>> = {
  p: 'primary key',
  u: 'unique',
  f: 'foreign key',
  x: 'exclusion',
  c: 'check',
};
const ACTIONS: Readonly<Record<string, Constraint['onDelete']>> = {
  r: 'restrict',
  c: 'cascade',
  n: 'set null',
  d: 'set default',
};
/** Bits of pg_trigger.tgtype. */
const BEFORE = 2;
const EVENTS = [
  ['insert', 4],
  ['delete', 8],
  ['update', 16],
] as const;
const VOLATILITIES = { i: 'immutable', s: 'stable', v: 'volatile' } as const;
const OBJECT_TYPES: Readonly<Record<string, DefaultPrivilege['objectType']>> = {
  r: 'table',
  S: 'sequence',
  f: 'function',
  T: 'type',
  n: 'schema',
};

/** Assembles the snapshot. */
export function assembleCatalog(rows: CatalogRows): Catalog {
  const roleNames = new Map(rows.roles.map(([oid, name]) => [oid, name]));
  const role = (oid: number): string => roleNames.get(oid) ?? `unknown (OID=${oid})`;
  const grants = grantsByAcl(rows, role);
  const grantsOf = (acl: string): readonly Grant[] => grants.get(acl) ?? [];
  const schemas = new Map(rows.schemas.map(([oid, name]) => [oid, name]));
  const names = new Map(rows.relations.map(([oid, schema, name]) => [oid, `${schemas.get(schema)}.${name}`]));
  const nameOf = (oid: number): string => names.get(oid) ?? '';
  const functions = new Map(
    rows.functions.map(([oid, schema, name, args]) => [oid, `${schemas.get(schema)}.${name}(${args})`]),
  );
  const extensions = new Map(rows.members);
  const columns = columnsByRelation(rows, grantsOf);
  const columnName = (relation: number, number: number): string | null =>
    columns.get(relation)?.byNumber.get(number)?.name ?? null;
  const columnNames = (relation: number, numbers: readonly number[] | null): string[] =>
    (numbers ?? []).map((number) => columnName(relation, number) ?? '');
  const parents = grouped(rows.parents);
  const owners = new Map(
    rows.owned.map(([sequence, table, number]) => [
      sequence,
      `${nameOf(table)}.${columnName(table, number)}`,
    ]),
  );
  const settings = grouped(rows.roleSettings);
  const ofConstraints = new Set(
    rows.constraints
      .filter(([, , type]) => type === 'p' || type === 'u' || type === 'x')
      .map((row) => row[10]),
  );
  const [serverVersion, database, databaseOwner, databaseAcl, databaseSettings] = rows.server;
  return {
    serverVersion,
    database,
    databaseOwner: role(databaseOwner),
    databaseGrants: grantsOf(databaseAcl),
    schemas: sorted(
      rows.schemas.map(([, name, owner, acl]) => ({ name, owner: role(owner), grants: grantsOf(acl) })),
    ),
    relations: sorted(
      rows.relations.map(
        ([oid, schema, , kind, owner, rowSecurity, forceRowSecurity, options, isPartition, acl]) => ({
          name: nameOf(oid),
          schema: schemas.get(schema) ?? '',
          kind: KINDS[kind] ?? 'table',
          owner: role(owner),
          rowSecurity,
          forceRowSecurity,
          options: options ?? [],
          parents: (parents.get(oid) ?? []).map(nameOf),
          isPartition,
          extension: extensions.get(oid) ?? null,
          ownedBy: owners.get(oid) ?? null,
          columns: columns.get(oid)?.list ?? [],
          grants: grantsOf(acl),
        }),
      ),
    ),
    policies: sorted(
      rows.policies.map(([relation, name, permissive, command, roles, using, check]) => ({
        relation: nameOf(relation),
        name,
        permissive,
        command: COMMANDS[command] ?? 'all',
        roles: roles.map((oid) => (oid === 0 ? 'public' : role(oid))).sort(),
        using,
        check,
      })),
    ),
    constraints: sorted(
      rows.constraints.map(
        ([relation, name, type, key, target, referenced, onDelete, onUpdate, validated, definition]) => ({
          relation: nameOf(relation),
          name,
          type: CONSTRAINTS[type] ?? 'check',
          columns: columnNames(relation, key),
          references: target === 0 ? null : nameOf(target),
          referencedColumns: columnNames(target, referenced),
          onDelete: ACTIONS[onDelete] ?? 'no action',
          onUpdate: ACTIONS[onUpdate] ?? 'no action',
          validated,
          definition,
        }),
      ),
    ),
    indexes: sorted(
      rows.indexes.map(
        ([oid, relation, name, unique, valid, key, partial, method]): Index => ({
          relation: nameOf(relation),
          name,
          unique,
          valid,
          columns: key.map((number) => columnName(relation, number)),
          partial,
          method,
          ofConstraint: ofConstraints.has(oid),
        }),
      ),
    ),
    functions: sorted(
      rows.functions.map(
        ([
          oid,
          schema,
          ,
          ,
          owner,
          securityDefiner,
          volatility,
          leakproof,
          config,
          language,
          returns,
          acl,
          source,
        ]) => ({
          name: functions.get(oid) ?? '',
          schema: schemas.get(schema) ?? '',
          owner: role(owner),
          securityDefiner,
          volatility: VOLATILITIES[volatility as keyof typeof VOLATILITIES],
          leakproof,
          settings: config ?? [],
          language,
          returns,
          extension: extensions.get(oid) ?? null,
          grants: grantsOf(acl),
          source,
        }),
      ),
    ),
    triggers: sorted(
      rows.triggers.map(([relation, name, schema, fn, enabled, type]) => ({
        relation: nameOf(relation),
        name,
        function: `${schema}.${fn}()`,
        before:
          (type & BEFORE) === 0 ? [] : EVENTS.flatMap(([event, bit]) => ((type & bit) === 0 ? [] : event)),
        enabled,
      })),
    ),
    rules: sorted(
      rows.rules.map(([relation, name, definition]) => ({ relation: nameOf(relation), name, definition })),
    ),
    publications: sorted(
      rows.publications.map(([name, allTables, relations, of]) => ({
        name,
        allTables,
        relations: (relations ?? []).map(nameOf).sort(),
        schemas: [...(of ?? [])].sort(),
      })),
    ),
    roles: sorted(
      rows.roles.map(
        ([oid, name, login, superuser, bypassRls, replication, createRole, createDb]): Role => ({
          name,
          login,
          superuser,
          bypassRls,
          replication,
          createRole,
          createDb,
          memberOf: closure(rows.memberships, oid).map(role).sort(),
          settings: (settings.get(oid) ?? []).flat(),
        }),
      ),
    ),
    defaultPrivileges: rows.defaultPrivileges.map(([owner, schema, type, acl]) => ({
      role: role(owner),
      schema: schema === 0 ? null : (schemas.get(schema) ?? ''),
      objectType: OBJECT_TYPES[type] ?? 'large object',
      grants: grantsOf(acl),
    })),
    viewReads: rows.viewReads
      .filter(([, relation]) => names.has(relation))
      .map(([view, relation]) => ({ view: nameOf(view), relation: nameOf(relation) })),
    databaseSettings,
    everyRolesSettings: (settings.get(0) ?? []).flat(),
    aggregateCalls: rows.aggregateCalls.map(([aggregate, called]) => ({
      aggregate: functions.get(aggregate) ?? '',
      uses: functions.get(called) ?? '',
    })),
    supportFunctions: rows.supportFunctions.map((oid) => functions.get(oid) ?? '').sort(),
    eventTriggers: sorted(
      rows.eventTriggers.map(([name, called]) => ({ name, function: functions.get(called) ?? '' })),
    ),
  };
}

function grantsByAcl(rows: CatalogRows, role: (oid: number) => string): Map<string, readonly Grant[]> {
  return new Map(
    rows.acls.map(([acl, list]) => {
      const grants = list.map(([grantee, privilege, grantable]) => ({
        grantee: grantee === 0 ? 'public' : role(grantee),
        privilege: privilege.toLowerCase(),
        grantable,
      }));
      return [acl, grants.sort((a, b) => compare(a.grantee, b.grantee) || compare(a.privilege, b.privilege))];
    }),
  );
}

interface Columns {
  readonly list: readonly Column[];
  readonly byNumber: ReadonlyMap<number, Column>;
}

function columnsByRelation(
  rows: CatalogRows,
  grantsOf: (acl: string) => readonly Grant[],
): Map<number, Columns> {
  const types = new Map(rows.types);
  const defaults = new Map(
    rows.defaults.map(([relation, number, expression]) => [`${relation}.${number}`, expression]),
  );
  return new Map(
    rows.columns.map(([relation, numbers, names, typeIds, notNull, acls]) => {
      const byNumber = new Map<number, Column>();
      for (const [index, number] of numbers.entries()) {
        const acl = acls?.[index];
        byNumber.set(number, {
          name: names[index] ?? '',
          type: types.get(typeIds[index] ?? 0) ?? '',
          notNull: notNull[index] ?? false,
          default: defaults.get(`${relation}.${number}`) ?? null,
          grants: acl === undefined || acl === null ? [] : grantsOf(acl),
        });
      }
      return [relation, { list: [...byNumber.values()], byNumber }];
    }),
  );
}

/** Every role a role is a member of, directly or not. */
function closure(memberships: CatalogRows['memberships'], member: number): number[] {
  const reached = new Set<number>();
  const visit = (from: number): void => {
    for (const [of, role] of memberships) {
      if (of !== from || reached.has(role)) continue;
      reached.add(role);
      visit(role);
    }
  };
  visit(member);
  return [...reached];
}

function grouped<T>(pairs: readonly (readonly [number, T])[]): Map<number, T[]> {
  const map = new Map<number, T[]>();
  for (const [key, value] of pairs) map.set(key, [...(map.get(key) ?? []), value]);
  return map;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By relation, where there is one, then by name. */
function sorted<T extends { readonly name: string; readonly relation?: string }>(list: T[]): T[] {
  return list.sort((a, b) => compare(a.relation ?? '', b.relation ?? '') || compare(a.name, b.name));
}
