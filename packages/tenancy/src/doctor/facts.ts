/**
 * What rules need beyond the catalog snapshot: what policies call and read, the bodies of this package's functions, and
 * rights that only PostgreSQL's own functions can tell. One statement, and one more for the number of context keys.
 */
import { type Kysely, sql } from 'kysely';
import type { Grant } from '../catalog/catalog.ts';
import { asPrinted } from '../catalog/read-catalog.ts';

/** Something a policy uses. */
export interface PolicyUse {
  /** Relation of the policy. */
  readonly relation: string;
  /** Name of the policy. */
  readonly policy: string;
  /** The function `schema.name(argument types)` or the relation `schema.name` it uses. */
  readonly uses: string;
}

/** A function of schema `tenancy` as it is in the database. */
export interface InstalledFunction {
  /** Name without schema and arguments. */
  readonly name: string;
  /** Number of input arguments. */
  readonly inputs: number;
  /** Source text, or the deparsed standard SQL body. */
  readonly body: string;
  /** `SECURITY DEFINER`. */
  readonly securityDefiner: boolean;
  /** Volatility. */
  readonly volatility: string;
  /** `SET` clauses. */
  readonly settings: readonly string[];
}

/** A named object with its rights. */
export interface Guarded {
  /** Name. */
  readonly name: string;
  /** Rights on it. */
  readonly grants: readonly Grant[];
}

/** An object and its owner. */
export interface OwnedObject {
  /** Kind as `ALTER` and PostgreSQL name it, e.g. `type`. */
  readonly kind: string;
  /** Name as SQL writes it. */
  readonly name: string;
  /** Owning role. */
  readonly owner: string;
}

/** Facts beyond the catalog. */
export interface Facts {
  /** Functions called by policies, PostgreSQL's own left out. */
  readonly policyCalls: readonly PolicyUse[];
  /** Relations read by policies, their own left out. */
  readonly policyReads: readonly PolicyUse[];
  /** Functions of schema `tenancy`. */
  readonly tenancyFunctions: readonly InstalledFunction[];
  /** Installed context keys; null when there is no key table or it may not be read. */
  readonly contextKeys: number | null;
  /** Indexes with an operator class for pattern matching, as `schema.table.index`. */
  readonly patternIndexes: readonly string[];
  /** Large objects, and who may do what with them. */
  readonly largeObjects: readonly Guarded[];
  /** Foreign servers. */
  readonly foreignServers: readonly Guarded[];
  /** Foreign-data wrappers: whoever may use one makes servers of his own. */
  readonly foreignDataWrappers: readonly Guarded[];
  /** What roles own beside relations, functions, schemas and the database, large objects left out. */
  readonly owned: readonly OwnedObject[];
  /** Functions PostgreSQL came with that were marked LEAKPROOF since. */
  readonly leakproofBuiltIns: readonly string[];
  /** Configuration parameters with rights on them. */
  readonly parameters: readonly Guarded[];
  /** Catalogs, views and TOAST tables PostgreSQL came with or made: one entry for each right it did not grant itself. */
  readonly systemCatalogs: readonly Guarded[];
  /** PostgreSQL's own functions that reach files of the server and that the app role, or a role it can become, may call. */
  readonly serverFileFunctions: readonly Guarded[];
  /** Settings of the server's configuration that reach into every session, as `name=value`. */
  readonly serverSettings: readonly string[];
  /** Whether the app role may read `pg_stat_activity`, or call the functions behind it. */
  readonly activityReadable: boolean;
  /** Whether the app role may read `pg_class.reltuples`. */
  readonly volumesReadable: boolean;
}

const FILE_FUNCTIONS = [
  'pg_read_file',
  'pg_read_binary_file',
  'pg_ls_dir',
  'pg_stat_file',
  'lo_import',
  'lo_export',
];

/** The view of the sessions, and what it reads. */
const ACTIVITY_FUNCTIONS = ['pg_stat_get_activity(integer)', 'pg_stat_get_backend_activity(integer)'];

/** Of these, the server's configuration can have a value of its own. */
const SERVER_SETTINGS = [
  'row_security',
  'session_replication_role',
  'standard_conforming_strings',
  'transform_null_equals',
  'lo_compat_privileges',
];

const quotedList = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ');

const acl = (
  column: string,
) => `(select coalesce(json_agg(json_build_object('grantee', coalesce(g.rolname, 'public'),
  'privilege', lower(x.privilege_type), 'grantable', x.is_grantable)), '[]')
  from aclexplode(${column}) x left join pg_roles g on g.oid = x.grantee)`;

const functionName = `n.nspname || '.' || f.proname || '(' || oidvectortypes(f.proargtypes) || ')'`;

/** What policies depend on, each once: an expression that names a thing twice depends on it twice. */
const policyUse = (uses: string, from: string) => `(select json_agg(json_build_object(
    'relation', pn.nspname || '.' || pc.relname, 'policy', p.polname, 'uses', ${uses}))
  from (select distinct d.objid, d.refobjid from pg_depend d where d.classid = 'pg_policy'::regclass and ${from}) d
  join pg_policy p on p.oid = d.objid join pg_class pc on pc.oid = p.polrelid join pg_namespace pn on pn.oid = pc.relnamespace`;

const FACTS: Readonly<Record<string, string>> = {
  policyCalls: `${policyUse(functionName, `d.refclassid = 'pg_proc'::regclass`)}
    join pg_proc f on f.oid = d.refobjid join pg_namespace n on n.oid = f.pronamespace)`,
  policyReads: `${policyUse(
    `n.nspname || '.' || f.relname`,
    `d.refclassid = 'pg_class'::regclass
      and not exists (select from pg_policy own where own.oid = d.objid and own.polrelid = d.refobjid)`,
  )}
    join pg_class f on f.oid = d.refobjid join pg_namespace n on n.oid = f.relnamespace)`,
  tenancyFunctions: `(select json_agg(json_build_object('name', f.proname, 'inputs', f.pronargs,
      'body', coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), 'securityDefiner', f.prosecdef,
      'volatility', case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
      'settings', coalesce(to_json(f.proconfig), '[]')))
    from pg_proc f where f.pronamespace = to_regnamespace('tenancy'))`,
  patternIndexes: `(select json_agg(n.nspname || '.' || t.relname || '.' || i.relname)
    from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
    join pg_namespace n on n.oid = t.relnamespace
    where t.relrowsecurity
      and x.indclass::oid[] && (select array_agg(oid) from pg_opclass where opcname ~ '_pattern_ops$|_trgm_ops$'))`,
  largeObjects: `(select json_agg(json_build_object('name', l.oid::text,
      'grants', ${acl(`coalesce(l.lomacl, acldefault('L', l.lomowner))`)})) from pg_largeobject_metadata l)`,
  foreignServers: `(select json_agg(json_build_object('name', s.srvname,
      'grants', ${acl(`coalesce(s.srvacl, acldefault('S', s.srvowner))`)})) from pg_foreign_server s)`,
  foreignDataWrappers: `(select json_agg(json_build_object('name', w.fdwname,
      'grants', ${acl(`coalesce(w.fdwacl, acldefault('F', w.fdwowner))`)})) from pg_foreign_data_wrapper w)`,
  owned: `(select json_agg(json_build_object('kind', o.type, 'name', o.identity, 'owner', r.rolname) order by o.identity)
    from pg_shdepend d join reach on reach.oid = d.refobjid join pg_roles r on r.oid = d.refobjid,
      lateral pg_identify_object(d.classid, d.objid, d.objsubid) o
    where d.refclassid = 'pg_authid'::regclass and d.deptype = 'o' and d.objsubid = 0
      and d.dbid = (select oid from pg_database where datname = current_database())
      and d.classid not in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass, 'pg_largeobject'::regclass,
        'pg_default_acl'::regclass, 'pg_user_mapping'::regclass, 'pg_extension'::regclass))`,
  leakproofBuiltIns: `(select json_agg('pg_catalog.' || f.proname || '(' || oidvectortypes(f.proargtypes) || ')') from pg_proc f
    where f.proleakproof and f.oid < 16384
      and f.xmin::text::bigint > (select min(t.xmin::text::bigint) from pg_database t where t.datistemplate))`,
  systemCatalogs: `(select json_agg(json_build_object('name', a.name, 'grants', json_build_array(json_build_object(
      'grantee', coalesce((select rolname from pg_roles where oid = x.grantee), 'public'),
      'privilege', lower(x.privilege_type), 'grantable', x.is_grantable))) order by a.name)
    from (select oid, relowner, 0 as sub, relacl as acl, relnamespace::regnamespace || '.' || relname as name
          from pg_class where relacl is not null and (oid < 16384 or relkind = 't')
        union all
        select c.oid, c.relowner, t.attnum, t.attacl, c.relnamespace::regnamespace || '.' || c.relname
          from pg_attribute t join pg_class c on c.oid = t.attrelid
         where t.attacl is not null and (c.oid < 16384 or c.relkind = 't')) a
      left join pg_init_privs i on i.classoid = 'pg_class'::regclass and i.objoid = a.oid and i.objsubid = a.sub,
      aclexplode(a.acl) x
    where a.acl is distinct from i.initprivs and x.grantee <> a.relowner
      -- information_schema is granted after initdb has recorded what it grants
      and not (a.name like 'information_schema.%' and x.grantee = 0 and x.privilege_type = 'SELECT')
      and (x.grantee, x.privilege_type) not in (select grantee, privilege_type from aclexplode(i.initprivs)))`,
  parameters: `(select json_agg(json_build_object('name', p.parname, 'grants', ${acl('p.paracl')})) from pg_parameter_acl p)`,
  serverFileFunctions: `(select json_agg(json_build_object('name', 'pg_catalog.' || f.proname || '(' || oidvectortypes(f.proargtypes) || ')',
      'grants', ${acl(`coalesce(f.proacl, acldefault('f', f.proowner))`)})) from pg_proc f
    where f.pronamespace = 'pg_catalog'::regnamespace and f.proname in (${quotedList(FILE_FUNCTIONS)})
      and exists (select from reach where has_function_privilege(reach.oid, f.oid, 'execute')))`,
  serverSettings: `(select json_agg(name || '=' || setting order by name) from pg_settings
    where name in (${quotedList(SERVER_SETTINGS)}) and source in ('configuration file', 'command line', 'environment variable'))`,
  activityReadable: `(select to_json(bool_or(has_table_privilege(reach.oid, 'pg_catalog.pg_stat_activity', 'select')
      or has_function_privilege(reach.oid, f.oid, 'execute')))
    from reach, unnest(array[${quotedList(ACTIVITY_FUNCTIONS)}]::regprocedure[]) f(oid))`,
  volumesReadable: `(select to_json(bool_or(has_column_privilege(reach.oid, 'pg_catalog.pg_class', 'reltuples', 'select'))) from reach)`,
};

const EMPTY: Facts = {
  policyCalls: [],
  policyReads: [],
  tenancyFunctions: [],
  contextKeys: null,
  patternIndexes: [],
  largeObjects: [],
  foreignServers: [],
  foreignDataWrappers: [],
  owned: [],
  leakproofBuiltIns: [],
  parameters: [],
  systemCatalogs: [],
  serverFileFunctions: [],
  serverSettings: [],
  activityReadable: false,
  volumesReadable: false,
};

/** Reads the facts, in one round trip or two. Runs as the owner or an auditor. Inside a transaction its settings are put back. */
export function readFacts(db: Kysely<unknown>, appRole: string): Promise<Facts> {
  return asPrinted(db, (trx) => factsOf(trx, appRole));
}

async function factsOf(db: Kysely<unknown>, appRole: string): Promise<Facts> {
  const pairs = Object.entries(FACTS).map(([name, query]) => `'${name}', ${query}`);
  const { rows } = await sql<{ facts: string; keys: boolean | null }>`
    with reach as materialized (select r.oid from pg_roles r, pg_roles app
      where app.rolname = ${appRole} and pg_has_role(app.oid, r.oid, 'member'))
    select json_strip_nulls(json_build_object(${sql.raw(pairs.join(',\n'))}))::text as facts,
           has_table_privilege(to_regclass('tenancy.context_key'), 'select') as keys`.execute(db);
  const found = JSON.parse(rows[0]?.facts ?? '{}') as Partial<Facts>;
  if (rows[0]?.keys !== true) return { ...EMPTY, ...found };
  const keys = await sql<{ n: number }>`select count(*)::int as n from tenancy.context_key`.execute(db);
  return { ...EMPTY, ...found, contextKeys: keys.rows[0]?.n ?? 0 };
}
