/**
 * Types of columns, read from PostgreSQL's catalog, so that SQL compares sealed columns and row ids by their own type.
 */
import { type Kysely, sql } from 'kysely';

/** Any Kysely handle; this package does not know the application's tables. */
export type AnyDatabase = Kysely<unknown>;

/** Type names as PostgreSQL writes them, by column; domains give their base type. */
export async function columnTypes(
  db: AnyDatabase,
  table: string,
  columns: readonly string[],
): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string; type: string }>`
    select a.attname as name,
      format_type(case when t.typtype = 'd' then t.typbasetype else t.oid end, null) as type
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    where a.attrelid = to_regclass(${quoted(table)}) and a.attnum > 0 and not a.attisdropped`.execute(db);
  const types = new Map(rows.map(({ name, type }) => [name, type]));
  return columns.map((column) => {
    const type = types.get(column);
    if (type === undefined) throw new TypeError(`there is no column ${column} in a table ${table}`);
    return type;
  });
}

/** Form of a sealed column. */
export async function sealedForm(db: AnyDatabase, table: string, column: string): Promise<'text' | 'bytes'> {
  const [type] = await columnTypes(db, table, [column]);
  if (type === 'text' || type === 'character varying') return 'text';
  if (type === 'bytea') return 'bytes';
  throw new TypeError(`${table}.${column} is ${type}: sealed values live in text or bytea columns`);
}

/** `schema.table` or `table` as quoted identifiers. */
function quoted(table: string): string {
  return table
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}
