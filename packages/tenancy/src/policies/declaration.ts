/**
 * The declaration of a schema: what each relation is to isolation. Policies, keys and grants are generated from it, the
 * doctor compares the live catalog with it, and the probe attacks what it names.
 *
 * Invariant: a relation is org-owned, global or system; there is no fourth kind and no default. With a Kysely database
 * type, a table that is not classified does not compile; in the live database it is a finding.
 */
import { identifier, qualifiedName } from '../identifier.ts';
import { ALL_PRIVILEGES, type TablePrivilege } from './table-policy.ts';

/** A foreign key of an org-owned table. `org_id` leads it when it points to an org-owned table, and is not written here. */
export interface Reference {
  /** Referencing columns, without `org_id`. */
  readonly columns: readonly string[];
  /** Referenced table, `schema.table`: org-owned or global. */
  readonly table: string;
  /** Referenced columns, without `org_id`. Default: the key of the referenced table. */
  readonly references?: readonly string[];
  /** What happens when the referenced row is deleted. Default `no action`. */
  readonly onDelete?: 'no action' | 'restrict' | 'cascade' | 'set null';
}

/** A table whose every row belongs to one organisation, by its column `org_id uuid`. */
export interface OrgTableDeclaration {
  /** Columns of the primary key behind `org_id`; empty when there is one row per organisation. */
  readonly key: readonly string[];
  /** What the app role may do. Default: select, insert, update and delete. */
  readonly privileges?: readonly TablePrivilege[];
  /** Unique constraints: their columns behind `org_id`. */
  readonly unique?: readonly (readonly string[])[];
  /** Foreign keys. */
  readonly references?: readonly Reference[];
}

/** A table all organisations read and none writes, such as currencies. */
export interface GlobalTableDeclaration {
  /** Columns of the primary key. */
  readonly key: readonly string[];
}

/** A relation the app role does not reach, or reaches under guards of its own. */
export interface SystemTableDeclaration {
  /** Why it is not org-owned: for the reviewer. */
  readonly reason: string;
  /** What the app role may do all the same. Default: nothing. Row-level security is then due on it, by its owner's hand. */
  readonly privileges?: readonly TablePrivilege[];
}

/** A view the app role reads with its own rights (`security_invoker`). */
export interface ViewDeclaration {
  /** Relations it reads, `schema.name`; each is declared too. */
  readonly reads: readonly string[];
}

/** Something dangerous that is wanted, and why. */
export interface Exception {
  /** Why it is safe here: for the reviewer. */
  readonly reason: string;
}

/** The whole schema, each relation by `schema.name`. */
export interface SchemaDeclaration<Table extends string = string> {
  /** The application's login role. */
  readonly appRole: string;
  /** Org-owned tables. */
  readonly org: Readonly<Partial<Record<Table, OrgTableDeclaration>>>;
  /** Global tables. */
  readonly global?: Readonly<Partial<Record<Table, GlobalTableDeclaration>>>;
  /** System relations. */
  readonly system?: Readonly<Record<string, SystemTableDeclaration>>;
  /** Schemas whose every relation is a system relation without any right of the app role. */
  readonly systemSchemas?: Readonly<Record<string, Exception>>;
  /** Views the app role may read. */
  readonly views?: Readonly<Record<string, ViewDeclaration>>;
  /** `SECURITY DEFINER` functions the app role may execute, by `schema.name(argument types)`, the types as PostgreSQL prints them. */
  readonly definerFunctions?: Readonly<Record<string, Exception>>;
  /** Publications, which carry rows past row-level security. */
  readonly publications?: Readonly<Record<string, Exception>>;
  /** Login role of break-glass access, whose generated policies may then stand beside the app role's. */
  readonly breakGlassRole?: string;
}

/** A declaration whose tables are all known, with its defaults filled in. */
export interface TenancySchema {
  /** The application's login role. */
  readonly appRole: string;
  /** Org-owned tables. */
  readonly org: ReadonlyMap<string, Required<OrgTableDeclaration>>;
  /** Global tables. */
  readonly global: ReadonlyMap<string, GlobalTableDeclaration>;
  /** System relations. */
  readonly system: ReadonlyMap<string, Required<SystemTableDeclaration>>;
  /** Schemas of which every relation is a system relation. */
  readonly systemSchemas: ReadonlyMap<string, Exception>;
  /** Views. */
  readonly views: ReadonlyMap<string, ViewDeclaration>;
  /** Functions that run with their owner's rights. */
  readonly definerFunctions: ReadonlyMap<string, Exception>;
  /** Publications. */
  readonly publications: ReadonlyMap<string, Exception>;
  /** Login role of break-glass access. */
  readonly breakGlassRole: string | undefined;
}

/** Tables of a Kysely database type that a declaration leaves out. */
export type Unclassified<DB, D> =
  D extends Readonly<Record<'org', infer O>>
    ? Exclude<
        keyof DB & string,
        | keyof O
        | (D extends Readonly<Record<'global', infer G>> ? keyof G : never)
        | (D extends Readonly<Record<'system', infer S>> ? keyof S : never)
        | (D extends Readonly<Record<'views', infer V>> ? keyof V : never)
      >
    : never;

/**
 * Declares the schema of a Kysely database type: every table of `DB` has to be named, or the call does not compile.
 *
 * @example
 * ```ts
 * const schema = declareSchema<Database>()({
 *   appRole: 'app',
 *   org: { 'app.note': { key: ['id'], references: [{ columns: ['folder_id'], table: 'app.folder' }] }, 'app.folder': { key: ['id'] } },
 *   global: { 'app.currency': { key: ['code'] } },
 * });
 * ```
 */
export function declareSchema<DB = Record<string, unknown>>(): <const D extends SchemaDeclaration>(
  declaration: string extends keyof DB
    ? D
    : [Unclassified<DB, D>] extends [never]
      ? D
      : D & { readonly 'every table must be org, global, system or a view; missing': Unclassified<DB, D> },
) => TenancySchema {
  return (declaration) => checked(declaration as SchemaDeclaration);
}

/**
 * Checks a declaration that comes from outside the type system, such as a configuration file.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when a name is not plain.
 * @throws TypeError when a relation is declared twice, a reference or a view names one that is not declared,
 *   or a global table has no key.
 */
export function checked(declaration: SchemaDeclaration): TenancySchema {
  const org = new Map<string, Required<OrgTableDeclaration>>();
  for (const [name, table] of entries(declaration.org)) {
    org.set(name, {
      key: table.key,
      privileges: table.privileges ?? ALL_PRIVILEGES,
      unique: table.unique ?? [],
      references: table.references ?? [],
    });
  }
  const schema: TenancySchema = {
    appRole: declaration.appRole,
    org,
    global: new Map(entries(declaration.global)),
    system: new Map(
      entries(declaration.system).map(([name, { reason, privileges }]) => [
        name,
        { reason, privileges: privileges ?? [] },
      ]),
    ),
    systemSchemas: new Map(entries(declaration.systemSchemas)),
    views: new Map(entries(declaration.views)),
    definerFunctions: new Map(
      // `regprocedure` prints no space between types, the catalog's own functions print one.
      entries(declaration.definerFunctions).map(([name, why]) => [name.replaceAll(/, */g, ', '), why]),
    ),
    publications: new Map(entries(declaration.publications)),
    breakGlassRole: declaration.breakGlassRole,
  };
  checkNames(schema);
  checkReferences(schema);
  return schema;
}

function entries<T>(record: Readonly<Partial<Record<string, T>>> | undefined): [string, T][] {
  return Object.entries(record ?? {}) as [string, T][];
}

function checkNames(schema: TenancySchema): void {
  identifier(schema.appRole);
  if (schema.breakGlassRole !== undefined) {
    identifier(schema.breakGlassRole);
    if (schema.breakGlassRole === schema.appRole)
      throw new TypeError('break-glass access needs a role of its own');
  }
  const seen = new Set<string>();
  for (const relations of [schema.org, schema.global, schema.system, schema.views]) {
    for (const name of relations.keys()) {
      qualifiedName(name);
      if (seen.has(name)) throw new TypeError(`${name} is declared twice`);
      if (relations !== schema.system && schema.systemSchemas.has(name.split('.')[0] ?? ''))
        throw new TypeError(`${name} lies in a system schema`);
      seen.add(name);
    }
  }
  for (const name of [...schema.systemSchemas.keys(), ...schema.publications.keys()]) identifier(name);
  for (const [name, { key, unique, references }] of schema.org) {
    for (const column of [key, ...unique, ...references.map(({ columns }) => columns)].flat()) {
      identifier(column);
      if (column === 'org_id') throw new TypeError(`${name}: org_id leads every key and is not written out`);
    }
  }
  for (const [name, { key }] of schema.global) {
    if (key.length === 0) throw new TypeError(`${name}: a global table has a key`);
    for (const column of key) identifier(column);
  }
}

function checkReferences(schema: TenancySchema): void {
  for (const [name, { references }] of schema.org) {
    for (const { table, columns, references: referenced } of references) {
      const target = schema.org.get(table) ?? schema.global.get(table);
      if (target === undefined)
        throw new TypeError(`${name} references ${table}, which is neither org-owned nor global`);
      if ((referenced ?? target.key).length !== columns.length)
        throw new TypeError(`${name} references ${table} with another number of columns`);
    }
  }
  for (const [name, { reads }] of schema.views) {
    for (const relation of reads) {
      if (!(schema.org.has(relation) || schema.global.has(relation) || schema.views.has(relation)))
        throw new TypeError(`view ${name} reads ${relation}, which is not org-owned, global or a view`);
    }
  }
}
