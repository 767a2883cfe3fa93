/**
 * What rules need beyond the catalog snapshot: what policies call and read, the bodies of this package's functions, and
 * rights that only PostgreSQL's own functions can tell. One statement, and one more for the number of context keys.
 */
import { type Kysely, sql } from 'kysely';
import type { Grant } from '../catalog/catalog.ts';

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
  /** Configuration parameters with rights on them. */
  readonly parameters: readonly Guarded[];
  /** PostgreSQL's own functions that reach files of the server and that the app role may call. */
  readonly serverFileFunctions: readonly string[];
  /** `row_security` where the server's configuration sets it, else null. */
  readonly rowSecurity: string | null;
  /** Whether the app role may read `pg_stat_activity`. */
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
  parameters: `(select json_agg(json_build_object('name', p.parname, 'grants', ${acl('p.paracl')})) from pg_parameter_acl p)`,
  serverFileFunctions: `(select json_agg(f.proname || '(' || oidvectortypes(f.proargtypes) || ')') from pg_proc f
    where f.pronamespace = 'pg_catalog'::regnamespace and f.proname in (${FILE_FUNCTIONS.map((name) => `'${name}'`).join(', ')})
      and has_function_privilege((select oid from app), f.oid, 'execute'))`,
  rowSecurity: `(select to_json(setting) from pg_settings
    where name = 'row_security' and source in ('configuration file', 'command line', 'environment variable'))`,
  activityReadable: `(select to_json(has_table_privilege(app.oid, 'pg_catalog.pg_stat_activity', 'select')) from app)`,
  volumesReadable: `(select to_json(has_column_privilege(app.oid, 'pg_catalog.pg_class', 'reltuples', 'select')) from app)`,
};

const EMPTY: Facts = {
  policyCalls: [],
  policyReads: [],
  tenancyFunctions: [],
  contextKeys: null,
  patternIndexes: [],
  largeObjects: [],
  foreignServers: [],
  parameters: [],
  serverFileFunctions: [],
  rowSecurity: null,
  activityReadable: false,
  volumesReadable: false,
};

/** Reads the facts, in one round trip or two. Runs as the owner or an auditor. */
export async function readFacts(db: Kysely<unknown>, appRole: string): Promise<Facts> {
  const pairs = Object.entries(FACTS).map(([name, query]) => `'${name}', ${query}`);
  const { rows } = await sql<{ facts: string; keys: boolean | null }>`
    with app as materialized (select oid from pg_roles where rolname = ${appRole})
    select json_strip_nulls(json_build_object(${sql.raw(pairs.join(',\n'))}))::text as facts,
           has_table_privilege(to_regclass('tenancy.context_key'), 'select') as keys`.execute(db);
  const found = JSON.parse(rows[0]?.facts ?? '{}') as Partial<Facts>;
  if (rows[0]?.keys !== true) return { ...EMPTY, ...found };
  const keys = await sql<{ n: number }>`select count(*)::int as n from tenancy.context_key`.execute(db);
  return { ...EMPTY, ...found, contextKeys: keys.rows[0]?.n ?? 0 };
}
