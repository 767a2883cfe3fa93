/**
 * What isolation depends on in a live database, as one snapshot: relations, keys, policies, grants, roles, functions.
 * Plain data, so that rules over it are pure functions and a snapshot can be kept and compared.
 */

/** A right on an object. `grantee` is `public` for the pseudo-role. */
export interface Grant {
  /** Role, or `public`. */
  readonly grantee: string;
  /** Lower case, e.g. `select`, `truncate`, `execute`. */
  readonly privilege: string;
  /** True with the grant option. */
  readonly grantable: boolean;
}

/** A column of a relation. */
export interface Column {
  /** Name, not quoted. */
  readonly name: string;
  /** Type as `format_type` prints it. */
  readonly type: string;
  /** True when it may not be null, in rows that were there before too. */
  readonly notNull: boolean;
  /** Default or generation expression as PostgreSQL prints it. */
  readonly default: string | null;
  /** Grants on the column alone. */
  readonly grants: readonly Grant[];
}

/** Kind of a relation. */
export type RelationKind =
  | 'table'
  | 'partitioned table'
  | 'view'
  | 'materialized view'
  | 'foreign table'
  | 'sequence';

/** A table, view, sequence … that PostgreSQL did not come with. */
export interface Relation {
  /** `schema.name`, not quoted. */
  readonly name: string;
  /** Its schema. */
  readonly schema: string;
  /** Its kind. */
  readonly kind: RelationKind;
  /** Owning role. */
  readonly owner: string;
  /** True when row-level security is enabled. */
  readonly rowSecurity: boolean;
  /** True when it binds the owner too. */
  readonly forceRowSecurity: boolean;
  /** Storage and view options, e.g. `security_invoker=true`. */
  readonly options: readonly string[];
  /** Parents by inheritance or partitioning. */
  readonly parents: readonly string[];
  /** True for a partition. */
  readonly isPartition: boolean;
  /** Name of the extension it belongs to. */
  readonly extension: string | null;
  /** Owning `schema.table.column` of a sequence. */
  readonly ownedBy: string | null;
  /** Columns in their order; of a sequence, those with rights of their own. */
  readonly columns: readonly Column[];
  /** Grants on the whole relation, the built-in ones of its owner included. */
  readonly grants: readonly Grant[];
}

/** A row-level security policy. */
export interface Policy {
  /** Table it stands on. */
  readonly relation: string;
  /** Name. */
  readonly name: string;
  /** False for a restrictive policy. */
  readonly permissive: boolean;
  /** Command it is for. */
  readonly command: 'all' | 'select' | 'insert' | 'update' | 'delete';
  /** Role names; `public` for everyone. */
  readonly roles: readonly string[];
  /** USING expression as PostgreSQL prints it. */
  readonly using: string | null;
  /** WITH CHECK expression as PostgreSQL prints it. */
  readonly check: string | null;
}

/** Primary key, unique constraint, foreign key, exclusion or check constraint. */
export interface Constraint {
  /** Table it stands on. */
  readonly relation: string;
  /** Name. */
  readonly name: string;
  /** Its type. */
  readonly type: 'primary key' | 'unique' | 'foreign key' | 'exclusion' | 'check';
  /** Columns in their order. */
  readonly columns: readonly string[];
  /** Referenced relation of a foreign key. */
  readonly references: string | null;
  /** Referenced columns of a foreign key. */
  readonly referencedColumns: readonly string[];
  /** Action of a foreign key on delete. */
  readonly onDelete: 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';
  /** Action of a foreign key on update. */
  readonly onUpdate: 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';
  /** False when rows that were there were not checked. */
  readonly validated: boolean;
  /** As `pg_get_constraintdef` prints it. */
  readonly definition: string;
}

/** An index. */
export interface Index {
  /** Table it is on. */
  readonly relation: string;
  /** Name. */
  readonly name: string;
  /** True for a unique index. */
  readonly unique: boolean;
  /** False for what an interrupted build left. */
  readonly valid: boolean;
  /** Key columns in order; null for an expression. */
  readonly columns: readonly (string | null)[];
  /** True when it has a WHERE clause. */
  readonly partial: boolean;
  /** Access method, e.g. `btree`. */
  readonly method: string;
  /** True when a constraint owns it. */
  readonly ofConstraint: boolean;
}

/** A function, aggregate or procedure that PostgreSQL did not come with. */
export interface CatalogFunction {
  /** As `regprocedure` prints it with its schema: `schema.name(argument types)`. */
  readonly name: string;
  /** Its schema. */
  readonly schema: string;
  /** Owning role. */
  readonly owner: string;
  /** True when it runs with its owner's rights. */
  readonly securityDefiner: boolean;
  /** Volatility. */
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  /** True when it is marked leakproof. */
  readonly leakproof: boolean;
  /** `SET` clauses, e.g. `search_path=pg_catalog, pg_temp`. */
  readonly settings: readonly string[];
  /** Language. */
  readonly language: string;
  /** Return type. */
  readonly returns: string;
  /** Name of the extension it belongs to. */
  readonly extension: string | null;
  /** Grants, the built-in ones included. */
  readonly grants: readonly Grant[];
  /** Source text, or the standard SQL body as PostgreSQL prints it. */
  readonly source: string;
}

/** A trigger outside PostgreSQL's own. */
export interface Trigger {
  /** Table it stands on. */
  readonly relation: string;
  /** Name. */
  readonly name: string;
  /** Function it calls, `schema.name()`. */
  readonly function: string;
  /** The row events it runs before; empty for one that runs after them or in their place. */
  readonly before: readonly ('insert' | 'delete' | 'update')[];
  /** False when it is disabled, or fires for replication alone. */
  readonly enabled: boolean;
}

/** A rewrite rule that is not a view's own. */
export interface Rule {
  /** Relation it stands on. */
  readonly relation: string;
  /** Name. */
  readonly name: string;
  /** As PostgreSQL prints it. */
  readonly definition: string;
}

/** A publication of logical replication. */
export interface Publication {
  /** Name. */
  readonly name: string;
  /** True for FOR ALL TABLES. */
  readonly allTables: boolean;
  /** Tables it names. */
  readonly relations: readonly string[];
  /** Schemas it names. */
  readonly schemas: readonly string[];
}

/** A role. */
export interface Role {
  /** Name. */
  readonly name: string;
  /** True when it may log in. */
  readonly login: boolean;
  /** True for a superuser. */
  readonly superuser: boolean;
  /** True with BYPASSRLS. */
  readonly bypassRls: boolean;
  /** True with REPLICATION. */
  readonly replication: boolean;
  /** True with CREATEROLE. */
  readonly createRole: boolean;
  /** True with CREATEDB. */
  readonly createDb: boolean;
  /** Every role it is a member of, directly or not. */
  readonly memberOf: readonly string[];
  /** Settings of the role (in any database), e.g. `row_security=off`. */
  readonly settings: readonly string[];
}

/** Privileges that objects yet to be made will carry. */
export interface DefaultPrivilege {
  /** Role whose new objects carry them. */
  readonly role: string;
  /** Schema, or null for all. */
  readonly schema: string | null;
  /** Type of object. */
  readonly objectType: 'table' | 'sequence' | 'function' | 'type' | 'schema' | 'large object';
  /** The grants. */
  readonly grants: readonly Grant[];
}

/** A schema. */
export interface Schema {
  /** Name. */
  readonly name: string;
  /** Owning role. */
  readonly owner: string;
  /** Grants, the built-in ones included. */
  readonly grants: readonly Grant[];
}

/** A view or materialized view and a relation it reads. */
export interface ViewRead {
  /** The view. */
  readonly view: string;
  /** What it reads. */
  readonly relation: string;
}

/** A function that an aggregate runs: PostgreSQL asks whether the owner of the aggregate may, not who calls it. */
export interface AggregateUse {
  /** The aggregate, `schema.name(argument types)`. */
  readonly aggregate: string;
  /** The function it runs. */
  readonly uses: string;
}

/** An event trigger. */
export interface EventTrigger {
  /** Name. */
  readonly name: string;
  /** Function it calls, `schema.name()`. */
  readonly function: string;
}

/** The snapshot. */
export interface Catalog {
  /** `server_version_num`, e.g. 180004. */
  readonly serverVersion: number;
  /** Name of the database. */
  readonly database: string;
  /** Its owner. */
  readonly databaseOwner: string;
  /** Grants on it. */
  readonly databaseGrants: readonly Grant[];
  /** Schemas. */
  readonly schemas: readonly Schema[];
  /** Relations. */
  readonly relations: readonly Relation[];
  /** Policies. */
  readonly policies: readonly Policy[];
  /** Constraints. */
  readonly constraints: readonly Constraint[];
  /** Indexes. */
  readonly indexes: readonly Index[];
  /** Functions. */
  readonly functions: readonly CatalogFunction[];
  /** Triggers. */
  readonly triggers: readonly Trigger[];
  /** Rewrite rules. */
  readonly rules: readonly Rule[];
  /** Publications. */
  readonly publications: readonly Publication[];
  /** Roles of the cluster. */
  readonly roles: readonly Role[];
  /** Default privileges. */
  readonly defaultPrivileges: readonly DefaultPrivilege[];
  /** What views read. */
  readonly viewReads: readonly ViewRead[];
  /** Settings of the database (`ALTER DATABASE … SET`). */
  readonly databaseSettings: readonly string[];
  /** Settings of every role (`ALTER ROLE ALL SET`). */
  readonly everyRolesSettings: readonly string[];
  /** `SECURITY DEFINER` functions that aggregates run. */
  readonly aggregateCalls: readonly AggregateUse[];
  /** `SECURITY DEFINER` functions that operator classes and range types run, for whoever compares or indexes a value. */
  readonly supportFunctions: readonly string[];
  /** Event triggers that are enabled. */
  readonly eventTriggers: readonly EventTrigger[];
}
