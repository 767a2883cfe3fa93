/** Faults of what surrounds the tables: views, functions, replication, the declaration. */
import { ofLayer, type SchemaMutation } from './mutation.ts';

/** Views. */
export const viewMutations: readonly SchemaMutation[] = ofLayer('views', [
  { name: 'view with the rights of its owner', sql: 'alter view {view} reset (security_invoker);' },
  {
    name: 'view owned by a superuser, with its rights',
    as: 'superuser' as const,
    sql: 'alter view {view} owner to {superuser}; alter view {view} reset (security_invoker);',
  },
  {
    name: 'undeclared view granted',
    sql: 'create view {schema}.ringfence_all as select * from {table}; grant select on {schema}.ringfence_all to {app};',
  },
  {
    name: 'materialized view granted',
    sql: `create materialized view {schema}.ringfence_total as select count(*) from {table} where false;
      grant select on {schema}.ringfence_total to {app};`,
  },
]);

const definer = (settings: string) =>
  `create function {schema}.ringfence_count() returns bigint stable language sql security definer ${settings} as 'select count(*) from {table}';`;

/** Functions. */
export const functionMutations: readonly SchemaMutation[] = ofLayer('functions', [
  { name: 'undeclared definer function', sql: definer('set search_path = pg_catalog, pg_temp') },
  { name: 'definer function without search_path', sql: definer('') },
  {
    name: 'definer function owned by a superuser',
    as: 'superuser' as const,
    sql: definer('set search_path = pg_catalog, pg_temp'),
  },
  {
    name: 'tenancy.org_id() replaced',
    sql: `create or replace function tenancy.org_id() returns uuid language sql stable parallel safe
      return current_setting('app.org_id')::uuid;`,
  },
  { name: 'tenancy.org_id() declared IMMUTABLE', sql: 'alter function tenancy.org_id() immutable;' },
  {
    name: 'tenancy.org_id() not fixed to a search_path',
    sql: 'alter function tenancy.org_id() reset search_path;',
  },

  { name: 'tenancy.assert_app_role() dropped', sql: 'drop function tenancy.assert_app_role();' },
  { name: 'no context key', sql: 'delete from {keys};' },
]);

/** Replication. */
export const replicationMutations: readonly SchemaMutation[] = ofLayer('replication', [
  {
    name: 'publication for all tables',
    as: 'superuser' as const,
    sql: 'create publication ringfence_all for all tables;',
  },
  { name: 'publication of an org-owned table', sql: 'create publication ringfence_one for table {table};' },
]);

/** What exists and was not declared, and the other way round. */
export const declarationMutations: readonly SchemaMutation[] = ofLayer('declaration', [
  { name: 'unclassified table', sql: 'create table {schema}.ringfence_invoice (id uuid primary key);' },
  {
    name: 'unclassified table granted to the app role',
    sql: `create table {schema}.ringfence_invoice (org_id uuid, body text);
      grant select on {schema}.ringfence_invoice to {app};`,
  },
  { name: 'declared table dropped', sql: 'drop table {table} cascade;' },
]);
