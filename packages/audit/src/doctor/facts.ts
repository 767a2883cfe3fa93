/**
 * What the catalogs say of schema `audit` and of everything that can weaken it, in one statement. PostgreSQL lets every
 * role read it. The search path is set for the statement, so that names in definitions are always qualified.
 */
import { CompiledQuery } from 'kysely';
import type { QueryExecutor } from '../executor.ts';

/** A right on an object of schema `audit`. */
export interface FactGrant {
  /** `privilege on object to role`, in the words of the expected schema. */
  readonly right: string;
  /** With grant option. */
  readonly grantable: boolean;
  /** The object as SQL names it after ON. */
  readonly target: string;
  /** Privilege. */
  readonly privilege: string;
  /** Who has it. */
  readonly grantee: string;
}

/** A relation of schema `audit`; not indexes. */
export interface FactRelation {
  readonly name: string;
  /** `r` is an ordinary table. */
  readonly kind: string;
  /** `p` is permanent. */
  readonly persistence: string;
  readonly owner: string;
  readonly secured: boolean;
  readonly forced: boolean;
  /** False when the catalog says that triggers need not be looked for. */
  readonly triggers: boolean;
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly generated: string | null;
  }[];
}

/** Something on a table, with its definition. */
export interface FactDefinition {
  readonly table: string;
  readonly name: string;
  readonly definition: string;
}

/** What the catalogs say. */
export interface Facts {
  readonly database: string;
  readonly version: number;
  /** Owner of the schema; null when there is none. */
  readonly owner: string | null;
  readonly relations: readonly FactRelation[];
  readonly constraints: readonly (FactDefinition & { readonly valid: boolean })[];
  /** Foreign keys that touch the schema, `schema.table`. */
  readonly foreignKeys: readonly {
    readonly name: string;
    readonly from: string;
    readonly to: string;
    readonly cascades: boolean;
    readonly inside: boolean;
  }[];
  /** Triggers on the schema, and capture triggers on tables of the application. */
  readonly triggers: readonly (FactDefinition & { readonly schema: string; readonly enabled: string })[];
  readonly policies: readonly FactDefinition[];
  readonly rules: readonly { readonly table: string; readonly name: string }[];
  /** Parent and child, `schema.table`. */
  readonly children: readonly { readonly parent: string; readonly child: string }[];
  readonly functions: readonly {
    readonly signature: string;
    readonly owner: string;
    readonly body: string;
    readonly securityDefiner: boolean;
    readonly settings: readonly string[];
  }[];
  readonly grants: readonly FactGrant[];
  /** Rights that new objects get, as `privilege to role`. */
  readonly defaults: readonly {
    readonly by: string;
    readonly schema: string | null;
    readonly right: string;
  }[];
  /** Publications that hold tables of the schema, and subscriptions that write into them. */
  readonly published: readonly string[];
  readonly subscribed: readonly string[];
  /** Roles the app role can become, itself first. */
  readonly reach: readonly { readonly name: string; readonly superuser: boolean; readonly bypass: boolean }[];
  /** Login roles that can switch every guard off. */
  readonly superusers: readonly string[];
  /** Settings of the server on which durability rests. */
  readonly settings: Readonly<Record<string, string>>;
  /** Settings kept for roles and databases that the app's sessions get, as `where: name=value`. */
  readonly keptSettings: readonly string[];
}

const acl = (column: string, kind: string, owner: string) =>
  `aclexplode(coalesce(${column}, acldefault('${kind}', ${owner})))`;
const IN = `= 'audit'`;
const of = (alias: string) =>
  `join pg_class c on c.oid = ${alias} join pg_namespace n on n.oid = c.relnamespace and n.nspname ${IN}`;
const full = (oid: string) =>
  `(select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = ${oid})`;
const inside = (oid: string) => `(${oid} in (select oid from mine))`;
const right = (object: string) =>
  `lower(x.privilege_type) || ' on ' || ${object} || ' to ' || coalesce(g.rolname, 'public')`;
const grant = (
  object: string,
  target: string,
) => `json_build_object('right', ${right(object)}, 'grantable', x.is_grantable,
  'target', ${target}, 'privilege', lower(x.privilege_type), 'grantee', coalesce(g.rolname, 'public'))`;
const signature = `quote_ident(f.proname) || '(' || oidvectortypes(f.proargtypes) || ')'`;

const QUERIES: Readonly<Record<string, string>> = {
  relations: `select json_build_object('name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'owner', pg_get_userbyid(c.relowner),
      'secured', c.relrowsecurity, 'forced', c.relforcerowsecurity, 'triggers', c.relhastriggers,
      'columns', (select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'generated',
          case a.attgenerated when '' then null when 's' then pg_get_expr(g.adbin, g.adrelid) else 'not stored: ' || pg_get_expr(g.adbin, g.adrelid) end) order by a.attnum), '[]')
        from pg_attribute a left join pg_attrdef g on g.adrelid = a.attrelid and g.adnum = a.attnum where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)) as item
    from pg_class c join mine on mine.oid = c.oid where c.relkind not in ('i', 'I', 't')
      and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('i', 'a') and c.relkind = 'S')`,
  constraints: `select json_build_object('table', c.relname, 'name', k.conname, 'definition', pg_get_constraintdef(k.oid), 'valid', k.convalidated) as item
    from pg_constraint k ${of('k.conrelid')} where k.contype in ('c', 'p', 'u', 'x') and k.contype <> 'n'`,
  foreignKeys: `select json_build_object('name', k.conname, 'from', ${full('k.conrelid')}, 'to', ${full('k.confrelid')},
      'cascades', k.confdeltype <> 'a' and k.confdeltype <> 'r' or k.confupdtype <> 'a' and k.confupdtype <> 'r',
      'inside', ${inside('k.conrelid')} and ${inside('k.confrelid')}) as item
    from pg_constraint k where k.contype = 'f' and (${inside('k.conrelid')} or ${inside('k.confrelid')})`,
  triggers: `select json_build_object('schema', n.nspname, 'table', c.relname, 'name', t.tgname, 'enabled', t.tgenabled, 'definition', pg_get_triggerdef(t.oid)) as item
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
   where not t.tgisinternal and (n.nspname ${IN} or t.tgname in ('audit_capture', 'audit_capture_truncate'))`,
  policies: `select json_build_object('table', c.relname, 'name', p.polname, 'definition',
      (case when p.polpermissive then '' else 'as restrictive ' end) || 'for ' ||
      (case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end) || ' to ' ||
      (select string_agg(coalesce(quote_ident(g.rolname), 'public'), ', ' order by g.rolname) from unnest(p.polroles) r(oid) left join pg_roles g on g.oid = r.oid) ||
      coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '') || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')) as item
    from pg_policy p ${of('p.polrelid')}`,
  rules: `select json_build_object('table', c.relname, 'name', r.rulename) as item from pg_rewrite r ${of('r.ev_class')} where r.rulename <> '_RETURN'`,
  children: `select json_build_object('parent', ${full('i.inhparent')}, 'child', ${full('i.inhrelid')}) as item
    from pg_inherits i join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p', 'f') where ${inside('i.inhparent')} or ${inside('i.inhrelid')}`,
  functions: `select json_build_object('signature', ${signature}, 'owner', pg_get_userbyid(f.proowner), 'body', coalesce(pg_get_function_sqlbody(f.oid), f.prosrc),
      'securityDefiner', f.prosecdef, 'settings', coalesce((select json_agg(s order by s) from (
        select lower(split_part(u, '=', 1)) || '=' || replace(substr(u, strpos(u, '=') + 1), '"', '') as s from unnest(f.proconfig) u) o), '[]')) as item
    from pg_proc f join pg_namespace n on n.oid = f.pronamespace where n.nspname ${IN}`,
  grants: `select ${grant('c.relname', `'audit.' || c.relname`)} as item
      from pg_class c join mine on mine.oid = c.oid, lateral ${acl('c.relacl', 'r', 'c.relowner')} x left join pg_roles g on g.oid = x.grantee
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and x.grantee <> c.relowner
    union all select ${grant('c.relname', `'sequence audit.' || c.relname`)} from pg_class c join mine on mine.oid = c.oid,
        lateral ${acl('c.relacl', 's', 'c.relowner')} x left join pg_roles g on g.oid = x.grantee where c.relkind = 'S' and x.grantee <> c.relowner
    union all select ${grant(`c.relname || '.' || a.attname`, `'audit.' || c.relname`)} from pg_attribute a join pg_class c on c.oid = a.attrelid join mine on mine.oid = c.oid,
        lateral aclexplode(a.attacl) x left join pg_roles g on g.oid = x.grantee where x.grantee <> c.relowner
    union all select ${grant(signature, `'function audit.' || ${signature}`)} from pg_proc f join pg_namespace n on n.oid = f.pronamespace and n.nspname ${IN},
        lateral ${acl('f.proacl', 'f', 'f.proowner')} x left join pg_roles g on g.oid = x.grantee where x.grantee <> f.proowner
    union all select ${grant(`'schema'`, `'schema audit'`)} from pg_namespace n, lateral ${acl('n.nspacl', 'n', 'n.nspowner')} x
        left join pg_roles g on g.oid = x.grantee where n.nspname ${IN} and x.grantee <> n.nspowner`,
  defaults: `select json_build_object('by', pg_get_userbyid(d.defaclrole), 'schema', n.nspname, 'right', lower(x.privilege_type) || ' to ' || coalesce(g.rolname, 'public')) as item
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, lateral aclexplode(d.defaclacl) x left join pg_roles g on g.oid = x.grantee
   where x.grantee <> d.defaclrole and (n.nspname ${IN} or n.oid is null and d.defaclrole = (select nspowner from pg_namespace where nspname ${IN}))`,
  published: `select to_json(p.pubname || ' (' || p.tablename || ')') as item from pg_publication_tables p where p.schemaname ${IN}`,
  subscribed: `select to_json(s.subname || ' (' || c.relname || ')') as item from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid ${of('r.srrelid')}`,
  reach: `select json_build_object('name', r.rolname, 'superuser', r.rolsuper, 'bypass', r.rolbypassrls) as item
    from pg_roles r join pg_roles a on a.rolname = $1 where not a.rolsuper and pg_has_role(a.oid, r.oid, 'MEMBER') or r.oid = a.oid order by r.oid = a.oid desc, r.rolname`,
  superusers: `select to_json(rolname) as item from pg_roles where rolsuper and rolcanlogin order by rolname`,
  keptSettings: `select to_json(coalesce('role ' || r.rolname, 'every role') || coalesce(' in database ' || d.datname, '') || ': ' || s) as item
    from pg_db_role_setting k cross join unnest(k.setconfig) s left join pg_roles r on r.oid = k.setrole left join pg_database d on d.oid = k.setdatabase
   where (k.setrole = 0 or r.rolname = $1) and (k.setdatabase = 0 or d.datname = current_database())`,
};

/** Reads the facts. */
export async function readFacts(db: QueryExecutor, appRole: string): Promise<Facts> {
  const members = Object.entries(QUERIES).map(
    ([name, query]) => `'${name}', (select coalesce(json_agg(q.item), '[]') from (${query}) q)`,
  );
  const statement = `
    with path as materialized (select set_config('search_path', 'pg_catalog', true) as is),
         mine as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname ${IN})
    select json_build_object(
      'database', current_database(), 'version', current_setting('server_version_num')::int,
      'owner', (select pg_get_userbyid(nspowner) from pg_namespace where nspname ${IN}),
      'settings', (select json_object_agg(name, setting) from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')),
      ${members.join(',\n')})::text as facts
    from path where path.is is not null`;
  const query = CompiledQuery.raw(statement, [appRole]) as CompiledQuery<{ readonly facts: string }>;
  const { rows } = await db.executeQuery(query);
  return JSON.parse(rows[0]?.facts ?? '{}') as Facts;
}
