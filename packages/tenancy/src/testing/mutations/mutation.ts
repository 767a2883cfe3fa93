/**
 * One fault of a database, as data: SQL in which `{table}` and the like stand for relations of whatever schema it is made in.
 * A schema that has no relation of such a kind cannot have the fault.
 */
import type { Catalog } from '../../catalog/catalog.ts';
import { identifier, qualifiedName } from '../../identifier.ts';
import type { TenancySchema } from '../../policies/declaration.ts';
import { ALL_PRIVILEGES } from '../../policies/table-policy.ts';
import { column, quotedName } from '../../probe/statements.ts';

/** What of isolation is broken. */
export type MutationLayer =
  | 'rls'
  | 'policy'
  | 'grants'
  | 'keys'
  | 'views'
  | 'functions'
  | 'roles'
  | 'replication'
  | 'activity'
  | 'declaration';

/** A fault. */
export interface SchemaMutation {
  /** What is wrong, in words. */
  readonly name: string;
  /** What of isolation is broken. */
  readonly layer: MutationLayer;
  /** The SQL that makes it, with names of `MutationTarget` in braces. */
  readonly sql: string;
  /** Who makes it. Default: the owner of the tables. */
  readonly as?: 'superuser';
}

/** What the names in braces stand for, quoted; undefined where the schema has none. */
export interface MutationTarget {
  /** The app role. */
  readonly app: string;
  /** Owner of `table`. */
  readonly owner: string;
  /** A superuser. */
  readonly superuser: string;
  /** The database. */
  readonly database: string;
  /** Name for a role the mutation may make. */
  readonly scratch: string;
  /** The org-owned table with the most references and unique constraints. */
  readonly table: string;
  /** Its schema. */
  readonly schema: string;
  /** Its primary key. */
  readonly key: string | undefined;
  /** First column of its key behind `org_id`. */
  readonly column: string | undefined;
  /** Its column that references another org-owned table. */
  readonly referencing: string | undefined;
  /** That table. */
  readonly parent: string | undefined;
  /** The column there. */
  readonly referenced: string | undefined;
  /** An org-owned table that is not declared with every privilege. */
  readonly narrow: string | undefined;
  /** A privilege it lacks. */
  readonly missing: string | undefined;
  /** A partition of an org-owned table. */
  readonly partition: string | undefined;
  /** A global table. */
  readonly global: string | undefined;
  /** A system table without privileges. */
  readonly system: string | undefined;
  /** A view. */
  readonly view: string | undefined;
  /** The table of the context keys. */
  readonly keys: string | undefined;
}

/**
 * Chooses a relation of each kind.
 *
 * @throws TypeError when the declaration has no org-owned table, or the database lacks it.
 */
export function mutationTarget(schema: TenancySchema, catalog: Catalog): MutationTarget {
  const weight = (name: string) => {
    const { key = [], references = [], unique = [] } = schema.org.get(name) ?? {};
    return references.length + unique.length + Math.min(key.length, 1);
  };
  const [name] = [...schema.org.keys()].sort((a, b) => weight(b) - weight(a));
  const relations = new Map(catalog.relations.map((relation) => [relation.name, relation]));
  const relation = relations.get(name ?? '');
  if (name === undefined || relation === undefined)
    throw new TypeError(`mutations need a declared org-owned table that exists: ${name ?? 'none declared'}`);
  const declared = schema.org.get(name);
  const reference = declared?.references.find(
    ({ table, columns }) => schema.org.has(table) && columns.length === 1,
  );
  const referenced = reference?.references?.[0] ?? schema.org.get(reference?.table ?? '')?.key[0];
  const [narrow, privileges] =
    [...schema.org]
      .map(([table, one]) => [table, one.privileges] as const)
      .find(([, list]) => list.length < 4) ?? [];
  const partition = catalog.relations.find(
    ({ isPartition, parents }) => isPartition && parents.some((parent) => schema.org.has(parent)),
  );
  const system = [...schema.system].find(
    ([table, one]) => one.privileges.length === 0 && relations.has(table),
  );
  const key = catalog.constraints.find((one) => one.relation === name && one.type === 'primary key');
  const first = <T>(map: ReadonlyMap<string, T>) => [...map.keys()].find((one) => relations.has(one));
  const plain = (of: string | undefined) => (of === undefined ? undefined : qualifiedName(of));
  const col = (of: string | undefined) => (of === undefined ? undefined : column(of));
  return {
    app: identifier(schema.appRole),
    owner: column(relation.owner),
    superuser: column(catalog.roles.find((role) => role.superuser)?.name ?? 'postgres'),
    database: column(catalog.database),
    scratch: identifier(`ringfence_${schema.appRole}`.slice(0, 63)),
    table: qualifiedName(name),
    schema: identifier(name.split('.')[0] ?? ''),
    key: col(key?.name),
    column: col(declared?.key[0]),
    referencing: col(reference?.columns[0]),
    parent: plain(reference?.table),
    referenced: col(referenced),
    narrow: plain(narrow),
    missing: ALL_PRIVILEGES.find((privilege) => privileges?.includes(privilege) === false),
    partition: partition === undefined ? undefined : quotedName(partition.name),
    global: plain(first(schema.global)),
    system: plain(system?.[0]),
    view: plain(first(schema.views)),
    keys: relations.has('tenancy.context_key') ? 'tenancy.context_key' : undefined,
  };
}

/**
 * The SQL of a mutation in this schema; undefined when it has no relation of a kind that is named.
 *
 * @throws TypeError when the mutation names what no schema has.
 */
export function mutationSql({ name, sql }: SchemaMutation, target: MutationTarget): string | undefined {
  let whole = true;
  const text = sql.replaceAll(/\{([a-z]+)\}/g, (_, of: string) => {
    if (!Object.hasOwn(target, of)) throw new TypeError(`${name}: {${of}} stands for nothing`);
    const value = target[of as keyof MutationTarget];
    whole &&= value !== undefined;
    return value ?? '';
  });
  return whole ? text : undefined;
}

/** Mutations of one layer. */
export function ofLayer<M extends Omit<SchemaMutation, 'layer'>>(
  layer: MutationLayer,
  mutations: readonly M[],
): readonly (M & { readonly layer: MutationLayer })[] {
  return mutations.map((mutation) => ({ ...mutation, layer }));
}
