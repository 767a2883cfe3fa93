/**
 * The attacks on rights: global tables are not written, system and undeclared relations are not reached, sequences are neither
 * read nor set, nobody reads the rows of an org-owned table through a table it inherits from, and the app role can take no role
 * whose rights it has not been attacked with.
 */
import type { Catalog, Relation } from '../catalog/catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { CONTEXT } from './probe-session.ts';
import type { AttackName } from './report.ts';
import { grantedTo, holds, isInvoker, isView, rolesOf } from './rights.ts';
import { quoted } from './sample-values.ts';
import { column, quotedName } from './statements.ts';
import { type Attack, type Judge, noHolding, noRight, noRows } from './verdict.ts';

const PRIVILEGES = ['select', 'insert', 'update', 'delete', 'truncate'] as const;

/** Rights that no statement uses without making or changing something: they are asked for, where the catalog grants them. */
const HELD = ['references', 'trigger', 'maintain'] as const;

/** Attacks on rights: global tables, system and undeclared relations, sequences. `attacked` are the org-owned ones. */
export function rightAttacks(
  catalog: Catalog,
  schema: TenancySchema,
  attacked: ReadonlySet<string>,
): Attack[] {
  const holders = rolesOf(catalog, schema);
  return [
    ...catalog.relations.flatMap((relation) => relationAttacks(relation, schema, attacked, holders)),
    ...inheritedAttacks(catalog, schema, attacked, holders),
    ...roleAttacks(catalog, schema),
  ];
}

function relationAttacks(
  relation: Relation,
  schema: TenancySchema,
  attacked: ReadonlySet<string>,
  holders: ReadonlySet<string>,
): Attack[] {
  const { name, kind } = relation;
  if (kind === 'sequence')
    return [
      attack(relation, 'sequence', 'select', `select last_value from ${quotedName(name, relation.schema)}`),
      ...(holds(relation, 'update', holders) ? [holding(relation, 'sequence', 'update')] : []),
    ];
  const held = HELD.filter((privilege) => holds(relation, privilege, holders)).map((privilege) =>
    holding(relation, 'reach', privilege),
  );
  if (attacked.has(name)) return held;
  // A view that reads with the rights of its reader writes with them too.
  const isRead = isView(relation, schema);
  if (isRead && isInvoker(relation)) return held;
  const isGlobal = schema.global.has(name);
  const allowed: readonly string[] =
    isGlobal || isRead ? ['select'] : (schema.system.get(name)?.privileges ?? []);
  // A table without columns, as one that serves as a lock, cannot be updated by anybody.
  const possible = PRIVILEGES.filter((one) => one !== 'update' || relation.columns.length > 0);
  return [
    ...held,
    ...possible
      .filter((privilege) => !allowed.includes(privilege))
      .map((privilege) =>
        attack(
          relation,
          isGlobal || isRead ? 'write' : 'reach',
          privilege,
          use(relation, privilege, holders),
        ),
      ),
  ];
}

/** What a table inherits from shows its rows, and judges them by its own policies alone. */
function inheritedAttacks(
  { relations }: Catalog,
  schema: TenancySchema,
  attacked: ReadonlySet<string>,
  holders: ReadonlySet<string>,
): Attack[] {
  const byName = new Map(relations.map((relation) => [relation.name, relation]));
  const above = ({ parents, isPartition }: Relation): readonly string[] =>
    isPartition ? [] : parents.flatMap((name) => [name, ...above(byName.get(name) as Relation)]);
  return relations
    .filter(({ name }) => attacked.has(name))
    .flatMap((table) =>
      [...new Set(above(table))].map((name) => [table, byName.get(name) as Relation] as const),
    )
    .filter(([, parent]) => !schema.org.has(parent.name) && grantedTo(parent, 'select', holders).size > 0)
    .map(([table, parent]) => ({
      ...attack(
        parent,
        'read all',
        table.name,
        `select from ${quotedName(parent.name, parent.schema)} where tableoid = ${quoted(quotedName(table.name))}::pg_catalog.regclass`,
        noRows,
      ),
    }));
}

/** A role it can take has rights of its own, or is not bound at all: what `set role` takes, the attacks as the app role do not meet. */
function roleAttacks({ roles, serverVersion }: Catalog, { appRole }: TenancySchema): Attack[] {
  const may = serverVersion >= 160_000 ? 'SET' : 'MEMBER';
  return (roles.find(({ name }) => name === appRole)?.memberOf ?? []).map((name) => ({
    relation: name,
    attack: 'become role',
    lists: [
      [
        [
          CONTEXT.own,
          `select from pg_catalog.pg_roles where rolname = ${quoted(name)} and pg_catalog.pg_has_role(current_user, oid, '${may}')
            and (rolsuper or rolbypassrls or not pg_catalog.pg_has_role(current_user, oid, 'USAGE'))`,
        ],
      ],
    ],
    judge: ([result]) =>
      noHolding('may take it, and has rights then that it is not attacked with')(result as never),
  }));
}

/** Asks the server whether the app role has a right. */
function holding({ name, schema, kind }: Relation, on: 'sequence' | 'reach', privilege: string): Attack {
  const relation = `${quoted(quotedName(name, schema))}::pg_catalog.regclass`;
  const of = kind === 'sequence' ? 'sequence' : privilege === 'references' ? 'any_column' : 'table';
  const statement = `select where pg_catalog.has_${of}_privilege(current_user, ${relation}, '${privilege}')`;
  return attack({ name }, on, privilege, statement, noHolding(`holds ${privilege}`));
}

function attack(
  { name }: Pick<Relation, 'name'>,
  kind: AttackName,
  object: string,
  statement: string,
  judge: Judge = noRight(object),
): Attack {
  return {
    relation: name,
    attack: kind,
    object,
    lists: [[[CONTEXT.own, statement]]],
    judge: ([result]) => judge(result as never),
  };
}

/** A statement that needs the privilege and touches no row. */
function use(
  { name, schema, columns }: Relation,
  privilege: (typeof PRIVILEGES)[number],
  holders: ReadonlySet<string>,
): string {
  const relation = quotedName(name, schema);
  const [granted] = grantedTo({ grants: [], columns }, privilege, holders);
  const named = column(granted ?? columns[0]?.name ?? '');
  switch (privilege) {
    case 'select':
      return `select from ${relation} where false`;
    case 'insert':
      return `insert into ${relation} select where false`;
    case 'update':
      return `update ${relation} set ${named} = default where false`;
    case 'delete':
      return `delete from ${relation} where false`;
    case 'truncate':
      return `truncate ${relation}`;
  }
}
