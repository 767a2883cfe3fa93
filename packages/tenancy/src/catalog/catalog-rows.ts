/**
 * The rows that the snapshot is put together from: one short list per system catalog, by object id, and the statement
 * that reads them all. Names are resolved and lists nested outside the database, where it costs a tenth.
 */

/** Object id. */
type Oid = number;

/** Rows as the statement gives them. */
export interface CatalogRows {
  readonly server: readonly [
    version: number,
    database: string,
    owner: Oid,
    acl: string,
    settings: readonly string[],
  ];
  readonly schemas: readonly (readonly [oid: Oid, name: string, owner: Oid, acl: string])[];
  readonly relations: readonly (readonly [
    oid: Oid,
    schema: Oid,
    name: string,
    kind: string,
    owner: Oid,
    rls: boolean,
    force: boolean,
    options: readonly string[] | null,
    isPartition: boolean,
    acl: string,
  ])[];
  /** Columns of a relation, as parallel lists. */
  readonly columns: readonly (readonly [
    relation: Oid,
    numbers: readonly number[],
    names: readonly string[],
    types: readonly number[],
    notNull: readonly boolean[],
    acls: readonly (string | null)[] | null,
  ])[];
  readonly types: readonly (readonly [type: number, name: string])[];
  readonly defaults: readonly (readonly [relation: Oid, column: number, expression: string])[];
  readonly parents: readonly (readonly [child: Oid, parent: Oid])[];
  readonly owned: readonly (readonly [sequence: Oid, relation: Oid, column: number])[];
  readonly members: readonly (readonly [object: Oid, extension: string])[];
  readonly policies: readonly (readonly [
    relation: Oid,
    name: string,
    permissive: boolean,
    command: string,
    roles: readonly Oid[],
    using: string | null,
    check: string | null,
  ])[];
  readonly constraints: readonly (readonly [
    relation: Oid,
    name: string,
    type: string,
    columns: readonly number[] | null,
    references: Oid,
    referenced: readonly number[] | null,
    onDelete: string,
    onUpdate: string,
    validated: boolean,
    definition: string,
    index: Oid,
  ])[];
  readonly indexes: readonly (readonly [
    oid: Oid,
    relation: Oid,
    name: string,
    unique: boolean,
    valid: boolean,
    columns: readonly number[],
    partial: boolean,
    method: string,
  ])[];
  readonly functions: readonly (readonly [
    oid: Oid,
    schema: Oid,
    name: string,
    args: string,
    owner: Oid,
    definer: boolean,
    volatility: string,
    leakproof: boolean,
    settings: readonly string[] | null,
    language: string,
    returns: string,
    acl: string,
    source: string,
  ])[];
  readonly triggers: readonly (readonly [
    relation: Oid,
    name: string,
    schema: string,
    fn: string,
    enabled: boolean,
    /** Bits of pg_trigger.h. */
    type: number,
  ])[];
  readonly rules: readonly (readonly [relation: Oid, name: string, definition: string])[];
  readonly publications: readonly (readonly [
    name: string,
    all: boolean,
    relations: readonly Oid[] | null,
    schemas: readonly string[] | null,
  ])[];
  readonly roles: readonly (readonly [
    oid: Oid,
    name: string,
    login: boolean,
    superuser: boolean,
    bypassRls: boolean,
    replication: boolean,
    createRole: boolean,
    createDb: boolean,
  ])[];
  /** Of role 0: those of every role. */
  readonly roleSettings: readonly (readonly [role: Oid, settings: readonly string[]])[];
  readonly memberships: readonly (readonly [member: Oid, role: Oid])[];
  readonly defaultPrivileges: readonly (readonly [role: Oid, schema: Oid, type: string, acl: string])[];
  readonly viewReads: readonly (readonly [view: Oid, relation: Oid])[];
  /** Aggregates and the functions they run that are SECURITY DEFINER. */
  readonly aggregateCalls: readonly (readonly [aggregate: Oid, fn: Oid])[];
  /** Functions of operator classes and range types that are SECURITY DEFINER. */
  readonly supportFunctions: readonly Oid[];
  readonly eventTriggers: readonly (readonly [name: string, fn: Oid])[];
  /** Every access control list that occurs, once: grantee 0 is PUBLIC. */
  readonly acls: readonly (readonly [acl: string, grants: readonly (readonly [Oid, string, boolean])[]])[];
}

/** Schemas that are not a session's temporary one. */
const SCHEMAS = `select oid, nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) as acl,
         nspname in ('pg_catalog', 'information_schema', 'pg_toast') as builtin
    from pg_namespace where nspname !~ '^pg_(toast_)?temp_'`;

/** In PostgreSQL's own schemas, what a superuser or an extension put there: initdb numbers its own objects below 16384. */
const added = (oid: string) => `(not nsp.builtin or ${oid} >= 16384)`;

const RELATIONS = `
  select c.oid, c.relnamespace, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
         c.relispartition, coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner)) as acl
    from pg_class c join nsp on nsp.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and ${added('c.oid')}`;

/** PostgreSQL comes with no function that runs as its owner: one that does was altered. */
const FUNCTIONS = `select f.*, coalesce(f.proacl, acldefault('f', f.proowner)) as acl
    from pg_proc f join nsp on nsp.oid = f.pronamespace where ${added('f.oid')} or f.prosecdef`;

/** A type and its modifier as one number, so that each is printed once. */
const TYPE = 'a.atttypid::bigint * 4294967296 + a.atttypmod';

const COLUMNS = `select a.* from pg_attribute a join rel on rel.oid = a.attrelid and (rel.relkind <> 'S' or a.attacl is not null)
   where a.attnum > 0 and not a.attisdropped`;

const DATABASE = `select *, coalesce(datacl, acldefault('d', datdba)) as acl from pg_database where datname = current_database()`;

const list = (columns: string, from: string): string =>
  `(select coalesce(json_agg(json_build_array(${columns})), '[]') from ${from})`;

const LISTS: Readonly<Record<keyof CatalogRows, string>> = {
  server: `(select json_build_array(current_setting('server_version_num')::int, datname, datdba::bigint, acl::text,
      (select coalesce(json_agg(s.x), '[]') from pg_db_role_setting d, unnest(d.setconfig) s(x) where d.setrole = 0 and d.setdatabase = db.oid)) from db)`,
  schemas: list('oid::bigint, nspname, nspowner::bigint, acl::text', 'nsp'),
  relations: list(
    'oid::bigint, relnamespace::bigint, relname, relkind, relowner::bigint, relrowsecurity, relforcerowsecurity, reloptions, relispartition, acl::text',
    'rel',
  ),
  columns: `(select coalesce(json_agg(json_build_array(c.attrelid::bigint, c.nums, c.names, c.types, c.required, c.acls)), '[]') from (
      select a.attrelid, array_agg(a.attnum order by a.attnum) as nums, array_agg(a.attname order by a.attnum) as names,
             array_agg(${TYPE} order by a.attnum) as types, array_agg(a.attnotnull and nn.conrelid is null order by a.attnum) as required,
             case when count(a.attacl) > 0 then array_agg(a.attacl::text order by a.attnum) end as acls
        from col a left join pg_constraint nn
          on nn.contype = 'n' and not nn.convalidated and nn.conrelid = a.attrelid and nn.conkey[1] = a.attnum
       group by a.attrelid) c)`,
  types: `(select coalesce(json_agg(json_build_array(t.type, format_type(t.atttypid, t.atttypmod))), '[]') from (
      select distinct a.atttypid, a.atttypmod, ${TYPE} as type from col a) t)`,
  defaults: list(
    'd.adrelid::bigint, d.adnum, pg_get_expr(d.adbin, d.adrelid)',
    'pg_attrdef d join rel on rel.oid = d.adrelid',
  ),
  parents: `(select coalesce(json_agg(json_build_array(i.inhrelid::bigint, i.inhparent::bigint) order by i.inhseqno), '[]')
      from pg_inherits i join rel on rel.oid = i.inhrelid)`,
  owned: list(
    'd.objid::bigint, d.refobjid::bigint, d.refobjsubid',
    `pg_depend d join rel on rel.oid = d.objid and rel.relkind = 'S' where d.classid = 'pg_class'::regclass
      and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')`,
  ),
  members: list(
    'd.objid::bigint, e.extname',
    `pg_depend d join pg_extension e on e.oid = d.refobjid where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
      and d.classid in ('pg_class'::regclass, 'pg_proc'::regclass)`,
  ),
  policies: list(
    'p.polrelid::bigint, p.polname, p.polpermissive, p.polcmd, p.polroles::bigint[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)',
    'pg_policy p join rel on rel.oid = p.polrelid',
  ),
  constraints: list(
    `c.conrelid::bigint, c.conname, c.contype, c.conkey, c.confrelid::bigint, c.confkey, c.confdeltype, c.confupdtype, c.convalidated,
     pg_get_constraintdef(c.oid), c.conindid::bigint`,
    `pg_constraint c join rel on rel.oid = c.conrelid where c.contype in ('p', 'u', 'f', 'x', 'c')`,
  ),
  indexes: list(
    `x.indexrelid::bigint, x.indrelid::bigint, i.relname, x.indisunique, x.indisvalid, (x.indkey::int2[])[0:x.indnkeyatts - 1], x.indpred is not null, am.amname`,
    'pg_index x join rel on rel.oid = x.indrelid join pg_class i on i.oid = x.indexrelid join pg_am am on am.oid = i.relam',
  ),
  functions: list(
    `f.oid::bigint, f.pronamespace::bigint, f.proname, oidvectortypes(f.proargtypes), f.proowner::bigint, f.prosecdef, f.provolatile, f.proleakproof,
     f.proconfig, l.lanname, format_type(f.prorettype, null), f.acl::text,
     coalesce(nullif(f.prosrc, ''), pg_get_function_sqlbody(f.oid), '')`,
    'fn f join pg_language l on l.oid = f.prolang',
  ),
  triggers: list(
    `t.tgrelid::bigint, t.tgname, n.nspname, f.proname, t.tgenabled in ('O', 'A'), t.tgtype`,
    `pg_trigger t join rel on rel.oid = t.tgrelid join pg_proc f on f.oid = t.tgfoid join pg_namespace n on n.oid = f.pronamespace
      where not t.tgisinternal`,
  ),
  rules: list(
    'r.ev_class::bigint, r.rulename, pg_get_ruledef(r.oid)',
    `pg_rewrite r join rel on rel.oid = r.ev_class where r.rulename <> '_RETURN'`,
  ),
  publications: list(
    `p.pubname, p.puballtables, (select array_agg(x.prrelid::bigint) from pg_publication_rel x where x.prpubid = p.oid),
     (select array_agg(n.nspname) from pg_publication_namespace x join pg_namespace n on n.oid = x.pnnspid where x.pnpubid = p.oid)`,
    'pg_publication p',
  ),
  roles: list(
    'oid::bigint, rolname, rolcanlogin, rolsuper, rolbypassrls, rolreplication, rolcreaterole, rolcreatedb',
    'pg_roles',
  ),
  roleSettings: list(
    'd.setrole::bigint, d.setconfig',
    `pg_db_role_setting d where (d.setrole <> 0 and d.setdatabase in (0, (select oid from db))) or (d.setrole = 0 and d.setdatabase = 0)`,
  ),
  memberships: list('member::bigint, roleid::bigint', 'pg_auth_members'),
  defaultPrivileges: list(
    'defaclrole::bigint, defaclnamespace::bigint, defaclobjtype, defaclacl::text',
    'pg_default_acl',
  ),
  viewReads: `(select coalesce(json_agg(json_build_array(v.view, v.relation)), '[]') from (
      select distinct v.oid::bigint as view, d.refobjid::bigint as relation from pg_depend d
        join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass join rel v on v.oid = r.ev_class and v.relkind in ('v', 'm')
       where d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid) v)`,
  aggregateCalls: list(
    'a.aggfnoid::oid::bigint, f.oid::bigint',
    `pg_aggregate a join fn f on f.prosecdef and f.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
      a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)`,
  ),
  supportFunctions: `(select coalesce(json_agg(f.oid::bigint), '[]') from fn f where f.prosecdef and (
      f.oid in (select amproc from pg_amproc) or f.oid in (select unnest(array[rngcanonical, rngsubdiff]::oid[]) from pg_range)))`,
  eventTriggers: list('e.evtname, e.evtfoid::bigint', `pg_event_trigger e where e.evtenabled <> 'D'`),
  acls: `(select coalesce(json_agg(json_build_array(u.acl::text, (
        select coalesce(json_agg(json_build_array(x.grantee::bigint, x.privilege_type, x.is_grantable)), '[]') from aclexplode(u.acl) x))), '[]')
      from (select acl from rel union select acl from nsp union select acl from fn union select acl from db
            union select attacl from col where attacl is not null union select defaclacl from pg_default_acl) u)`,
};

/** Everything in one statement, and so of one moment. */
export const CATALOG_STATEMENT: string = `with nsp as materialized (${SCHEMAS}), db as materialized (${DATABASE}),
  rel as materialized (${RELATIONS}), fn as materialized (${FUNCTIONS}), col as materialized (${COLUMNS})
select json_build_object(${Object.entries(LISTS)
  .map(([name, query]) => `'${name}', ${query}`)
  .join(',\n')})::text as catalog`;
