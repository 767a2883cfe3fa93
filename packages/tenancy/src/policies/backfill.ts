/**
 * Fills `org_id` of a table in use: a trigger fills the rows written from now on, then the rows that were there are
 * filled page by page, each batch in a transaction of its own.
 *
 * Invariant: the trigger is committed before the first page is read, under a lock that waits for all writers; so a row
 * is filled by the one or by the other. Running it again changes nothing that is filled.
 */
import { createHash } from 'node:crypto';
import { qualifiedName } from '../identifier.ts';
import { concurrentStep, type MigrationStep, ownStep } from './difference.ts';

/** Name of the trigger. */
export const backfillTrigger = 'ringfence_backfill';

/** Pages of 8 kB in one batch: some thousand rows, some milliseconds. */
const PAGES = 64;

/** Where a row's organisation comes from, by `schema.table`: an SQL expression over the row, under the table's own name. */
export type Backfill = Readonly<Record<string, string>>;

/** A name of at most 63 bytes: long ones keep their uniqueness by a digest. */
export function boundedName(name: string): string {
  if (name.length <= 63) return name;
  return `${name.slice(0, 50)}_${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}

function parts(table: string): { schema: string; name: string; function: string } {
  const [schema = '', name = ''] = table.split('.');
  return { schema, name, function: qualifiedName(`${schema}.${boundedName(`ringfence_backfill_${name}`)}`) };
}

/** Adds the column, unless it is there, and the trigger. */
export function prepareBackfill(table: string, expression: string, hasColumn: boolean): MigrationStep {
  const { name, function: fill } = parts(table);
  const body = dollars(`begin
  if new.org_id is null then
    new.org_id := (select (${expression}) from (select new.*) as "${name}");
  end if;
  return new;
end`);
  return ownStep('fill', table, 'rows written from now on get their organisation', [
    ...(hasColumn ? [] : [`alter table ${qualifiedName(table)} add column org_id uuid;`]),
    `create or replace function ${fill}() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as ${body};`,
    `create or replace trigger ${backfillTrigger} before insert or update on ${qualifiedName(table)}`,
    `  for each row execute function ${fill}();`,
  ]);
}

/** Fills the rows that are there. `row_security = off` turns a policy that would hide rows from it into an error. */
export function runBackfill(table: string, expression: string): MigrationStep {
  const { name } = parts(table);
  const target = qualifiedName(table);
  const body = dollars(`declare
  ringfence_page bigint := 0;
  ringfence_pages constant bigint := pg_relation_size('${target}') / current_setting('block_size')::bigint;
begin
  while ringfence_page <= ringfence_pages loop
    perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('row_security', 'off', true);
    update ${target} as "${name}" set org_id = (${expression})
     where org_id is null and ctid >= format('(%s,0)', ringfence_page)::tid and ctid < format('(%s,0)', ringfence_page + ${PAGES})::tid;
    commit;
    ringfence_page := ringfence_page + ${PAGES};
  end loop;
end`);
  return concurrentStep(
    'fill',
    table,
    'rows that were there get their organisation',
    `do ${body};`,
    'ROW EXCLUSIVE',
    'batch',
  );
}

/** Removes trigger and function, once the default of the column does their work. */
export function dropBackfill(table: string): string[] {
  return [
    `drop trigger if exists ${backfillTrigger} on ${qualifiedName(table)};`,
    `drop function if exists ${parts(table).function}();`,
  ];
}

/** Dollar-quotes a body under a tag it does not contain. */
function dollars(body: string): string {
  let tag = '$ringfence$';
  while (body.includes(tag)) tag = `${tag.slice(0, -1)}_$`;
  return `${tag}\n${body}\n${tag}`;
}
