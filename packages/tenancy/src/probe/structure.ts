/**
 * What it takes to put a row into a table: columns with their types down to the base, checks, unique indexes, foreign
 * keys, partition bounds. The shared catalog snapshot holds what isolation depends on; this holds what seeding does.
 */
import { type Kysely, sql } from 'kysely';
import { type StructureRows, tablesOf } from './structure-rows.ts';

/** A type, resolved as far as values of it can be built. */
export interface TypeStructure {
  readonly oid: string;
  /** As `format_type` prints it, qualified. */
  readonly name: string;
  readonly kind: 'base' | 'composite' | 'domain' | 'enum' | 'range' | 'multirange' | 'pseudo';
  /** `typcategory`: `S` for strings, `N` for numbers … */
  readonly category: string;
  /** Base of a domain, element of an array, subtype of a range, range of a multirange. */
  readonly of: string | null;
  /** Base of a domain with its modifier. */
  readonly ofName: string | null;
  readonly isArray: boolean;
  readonly labels: readonly string[];
  readonly attributes: readonly { readonly type: string; readonly name: string }[];
  /** Checks of a domain, over `VALUE`. */
  readonly checks: readonly string[];
}

/** A column to fill. */
export interface ColumnStructure {
  readonly name: string;
  /** With its modifier, qualified. */
  readonly type: string;
  readonly typeOid: string;
  readonly notNull: boolean;
  readonly default: string | null;
  readonly generated: boolean;
}

/** A foreign key, column by column. */
export interface ForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly table: string;
  readonly referenced: readonly string[];
  readonly deferrable: boolean;
  /** True when deleting the referenced row changes the referencing one. */
  readonly actsOnDelete: boolean;
}

/** A unique index, exclusion constraint or primary key. */
export interface UniqueIndex {
  readonly name: string;
  readonly primary: boolean;
  /** Columns it depends on, those inside expressions included. */
  readonly columns: readonly string[];
  /** Key columns that are compared for equality as they are: rows that differ in one of them do not meet. */
  readonly exact: readonly string[];
  /** Expressions among its keys. */
  readonly expressions: string | null;
  /** True for the index of a partition alone, which its parent has not. */
  readonly alone: boolean;
  /** True for one of a constraint that may be checked later than at the statement. */
  readonly deferrable: boolean;
}

/** A table that can hold rows. */
export interface TableStructure {
  readonly name: string;
  readonly columns: readonly ColumnStructure[];
  readonly checks: readonly { readonly columns: readonly string[]; readonly expression: string }[];
  readonly uniques: readonly UniqueIndex[];
  readonly foreignKeys: readonly ForeignKey[];
  /** Names of all partitions below it. */
  readonly partitions: readonly string[];
  readonly forced: boolean;
}

/** Tables by `schema.name`, types by oid. */
export interface Structure {
  readonly tables: ReadonlyMap<string, TableStructure>;
  readonly types: ReadonlyMap<string, TypeStructure>;
}

const list = (columns: string, from: string): string =>
  `(select coalesce(json_agg(json_build_array(${columns})), '[]') from ${from})`;

/** Short lists by number of column; names are put in outside the database, where it costs a tenth. */
const STATEMENT = `
with recursive rel as materialized (
  select c.oid, n.nspname || '.' || c.relname as name, c.relkind, c.relforcerowsecurity
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
     and n.nspname !~ '^pg_(toast_)?temp_'
), att as materialized (
  select a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated, a.attidentity, d.adbin
    from pg_attribute a join rel on rel.oid = a.attrelid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where a.attnum > 0 and not a.attisdropped
), needed(oid) as (
  select distinct atttypid from att
  union
  select r.oid from needed join pg_type t on t.oid = needed.oid
    left join pg_range g on g.rngtypid = t.oid or g.rngmultitypid = t.oid
    cross join lateral (
      select unnest(array[t.typbasetype, t.typelem, case when g.rngtypid = t.oid then g.rngsubtype else g.rngtypid end])
      union select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and t.typtype = 'c' and a.attnum > 0 and not a.attisdropped
    ) r(oid) where r.oid <> 0
)
select json_build_object(
  'relations', ${list('oid::bigint, name, relforcerowsecurity', 'rel')},
  'columns', ${list(
    `attrelid::bigint, attnum, attname, format_type(atttypid, atttypmod), atttypid::text, attnotnull, attgenerated <> '',
     case when attidentity <> '' then 'identity' else pg_get_expr(adbin, attrelid) end`,
    '(select * from att order by attrelid, attnum) a',
  )},
  'checks', ${list(
    'conrelid::bigint, conkey, pg_get_expr(conbin, conrelid)',
    "pg_constraint join rel on rel.oid = conrelid where contype = 'c'",
  )},
  'uniques', ${list(
    `x.indrelid::bigint, i.relname, x.indisprimary, (x.indkey::int2[])[0:x.indnkeyatts - 1],
     case when x.indexprs is not null or x.indpred is not null then (select array_agg(d.refobjsubid) from pg_depend d
       where d.classid = 'pg_class'::regclass and d.objid = x.indexrelid and d.refobjid = x.indrelid) end,
     pg_get_expr(x.indexprs, x.indrelid), not i.relispartition, not x.indimmediate,
     case when x.indisexclusion then (select array_agg(p.oprname order by o.at) from pg_constraint k
       cross join lateral unnest(k.conexclop) with ordinality o(oid, at) join pg_operator p on p.oid = o.oid
      where k.conindid = x.indexrelid and k.contype in ('x', 'p', 'u')) end`,
    'pg_index x join rel on rel.oid = x.indrelid join pg_class i on i.oid = x.indexrelid where x.indisunique or x.indisexclusion',
  )},
  'foreignKeys', ${list(
    `conrelid::bigint, conname, conkey, confrelid::bigint, confkey, condeferrable, confdeltype in ('c', 'n', 'd')`,
    "pg_constraint join rel on rel.oid = conrelid where contype = 'f' and conparentid = 0",
  )},
  'partitioned', (select coalesce(json_agg(json_build_array(l.oid::bigint, l.names, l.bound, (select array_agg(distinct a.attname)
      from pg_partition_tree(l.oid) t join pg_partitioned_table p on p.partrelid = t.relid
      join pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs::int2[])))), '[]') from (
    select rel.oid, json_agg(c.name) as names, string_agg(pg_get_partition_constraintdef(t.relid), ') or (') filter (where t.isleaf) as bound
      from rel cross join lateral pg_partition_tree(rel.oid) t join rel c on c.oid = t.relid and t.level > 0
     where rel.relkind = 'p' group by rel.oid) l),
  'types', (select coalesce(json_agg(json_build_object('oid', t.oid::text, 'name', format_type(t.oid, null), 'category', t.typcategory,
     'kind', case t.typtype when 'b' then 'base' when 'c' then 'composite' when 'd' then 'domain' when 'e' then 'enum' when 'r' then 'range'
       when 'm' then 'multirange' else 'pseudo' end,
     'of', coalesce(nullif(t.typbasetype, 0), nullif(t.typelem, 0), case when g.rngtypid = t.oid then g.rngsubtype else g.rngtypid end)::text,
     'ofName', case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
     'isArray', t.typcategory = 'A' and t.typelem <> 0,
     'labels', (select coalesce(json_agg(enumlabel order by enumsortorder), '[]') from pg_enum where enumtypid = t.oid),
     'attributes', (select coalesce(json_agg(json_build_object('type', a.atttypid::text, 'name', format_type(a.atttypid, a.atttypmod)) order by a.attnum), '[]')
       from pg_attribute a where a.attrelid = t.typrelid and t.typtype = 'c' and a.attnum > 0 and not a.attisdropped),
     'checks', (select coalesce(json_agg(pg_get_expr(conbin, 0)), '[]') from pg_constraint where contypid = t.oid and contype = 'c'))), '[]')
    from (select distinct oid from needed) d join pg_type t using (oid) left join pg_range g on g.rngtypid = t.oid or g.rngmultitypid = t.oid)
)::text as structure`;

/** Reads the structure in one statement. The search path has to be `pg_catalog` alone, so that all names are qualified. */
export async function readStructure(db: Kysely<unknown>): Promise<Structure> {
  const { rows } = await sql.raw<{ structure: string }>(STATEMENT).execute(db);
  const read = JSON.parse(rows[0]?.structure ?? '{}') as StructureRows;
  return {
    tables: tablesOf(read),
    types: new Map(read.types.map((type) => [type.oid, type])),
  };
}
