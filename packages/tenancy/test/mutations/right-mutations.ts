/** Faults of rights: grants, roles and their settings. */
import { ofLayer } from '../../src/testing/mutations/mutation.ts';
import type { Mutation } from './mutation.ts';

/** Grants. */
export const grantMutations: readonly Mutation[] = ofLayer('grants', [
  {
    name: 'maintain granted',
    since: 17,
    rules: ['grant-maintain'],
    sql: 'grant maintain on app.note to {app};',
  },
  {
    name: 'columns of the context keys readable',
    rules: ['grant-beyond-declaration', 'grant-on-column'],
    sql: 'grant select (inner_pad, outer_pad) on tenancy.context_key to {app};',
  },
  {
    name: 'column of a sequence readable',
    rules: ['sequence-readable', 'sequence-shared', 'grant-on-column'],
    sql: `alter table app.note add column number bigint generated always as identity (sequence name app.number);
       grant select (last_value) on app.number to {app};`,
  },
  {
    name: 'CREATE on pg_catalog',
    as: 'superuser',
    rules: ['schema-create'],
    sql: 'grant create on schema pg_catalog to {app};',
  },
  {
    name: 'table of a system schema readable',
    rules: ['grant-beyond-declaration', 'system-relation-open'],
    sql: `grant usage on schema jobs to {app}; grant select on jobs.job to {app};`,
  },
  {
    name: 'copy of a table that an extension holds',
    as: 'superuser',
    rules: ['grant-truncate', 'relation-unclassified'],
    sql: `create extension hstore schema jobs; create table app.note_copy as select * from app.note;
       grant select, truncate on app.note_copy to {app}; alter extension hstore add table app.note_copy;`,
  },
  {
    name: 'columns of a table that an extension holds',
    as: 'superuser',
    rules: ['grant-on-column', 'relation-unclassified'],
    sql: `create extension hstore schema jobs; create table app.note_copy as select * from app.note;
       grant select (title) on app.note_copy to {app}; alter extension hstore add table app.note_copy;`,
  },
  {
    name: 'CREATE on schema public, as before PostgreSQL 15',
    as: 'superuser',
    rules: ['schema-create'],
    sql: 'grant create on schema public to public;',
  },
  {
    name: 'sequence shared by all organisations',
    rules: ['sequence-shared'],
    sql: 'alter table app.note add column number bigint generated always as identity;',
  },
  {
    name: 'large object readable',
    rules: ['large-object-reachable'],
    sql: `select lo_create(4711); grant select on large object 4711 to {app};`,
  },
  {
    name: 'dblink installed',
    as: 'superuser',
    rules: ['outbound-connection'],
    sql: 'create extension dblink schema jobs;',
  },
  {
    name: 'dblink without dblink_connect',
    as: 'superuser',
    rules: ['outbound-connection'],
    sql: `create extension dblink schema jobs;
       revoke execute on function jobs.dblink_connect(text), jobs.dblink_connect(text, text) from public;`,
  },
  {
    name: 'foreign server usable',
    as: 'superuser',
    rules: ['outbound-connection'],
    sql: `create extension postgres_fdw schema jobs; create server self foreign data wrapper postgres_fdw;
       grant usage on foreign server self to {app};`,
  },
  {
    name: 'foreign-data wrapper usable',
    as: 'superuser',
    rules: ['outbound-connection'],
    sql: `create extension postgres_fdw schema jobs; grant usage on foreign data wrapper postgres_fdw to {app};`,
  },
  {
    name: 'session_replication_role granted',
    as: 'superuser',
    rules: ['parameter-granted'],
    sql: `grant set on parameter session_replication_role to {app};`,
  },
  {
    name: 'file function executable',
    as: 'superuser',
    rules: ['server-file-function'],
    sql: `grant execute on function pg_catalog.pg_read_file(text) to {app};`,
  },
  {
    name: 'file function executable through a role that is not inherited',
    as: 'superuser',
    rules: ['server-file-function'],
    sql: `create role {scratch}; grant execute on function pg_catalog.pg_read_file(text) to {scratch};
       alter role {app} noinherit; grant {scratch} to {app};`,
  },
  {
    name: 'file function of adminpack executable',
    until: 16,
    as: 'superuser',
    rules: ['server-file-function'],
    sql: `create extension adminpack; grant execute on function pg_catalog.pg_file_write(text, text, boolean) to {app};`,
  },
  {
    name: 'statistics of all rows readable',
    as: 'superuser',
    rules: ['system-catalog-granted'],
    sql: 'grant select on pg_catalog.pg_statistic to {app};',
  },
  {
    name: 'column of the roles readable',
    as: 'superuser',
    rules: ['system-catalog-granted'],
    sql: 'grant select (rolname, rolpassword) on pg_catalog.pg_authid to public;',
  },
  {
    name: 'stored values of a table readable',
    as: 'superuser',
    rules: ['system-catalog-granted'],
    sql: `do $$ begin execute format('grant select on %s to {app}',
       (select reltoastrelid::regclass from pg_class where oid = 'app.note'::regclass)); end $$;`,
  },
  {
    name: 'write-ahead log readable',
    as: 'superuser',
    rules: ['server-file-function'],
    sql: `create extension pg_walinspect schema jobs;
       grant execute on all functions in schema jobs to {app};`,
  },
]);

/** Roles. */
export const roleMutations: readonly Mutation[] = ofLayer('roles', [
  {
    name: 'declared app role does not exist',
    as: 'superuser',
    rules: ['app-role-missing', 'policy-missing', 'policy-for-other-roles'],
    sql: `alter role {app} rename to {scratch};`,
  },
  {
    name: 'app role with CREATEDB',
    as: 'superuser',
    rules: ['app-role-createdb'],
    sql: 'alter role {app} createdb;',
  },
  {
    name: 'app role owns a schema',
    as: 'superuser',
    rules: ['app-role-owns'],
    sql: `create schema own authorization {app};`,
  },
  {
    name: 'app role owns a domain',
    as: 'superuser',
    rules: ['app-role-owns'],
    sql: 'create domain app.title as text; alter domain app.title owner to {app};',
  },
  {
    name: 'app role is a member of pg_stat_scan_tables',
    as: 'superuser',
    rules: ['app-role-predefined'],
    sql: 'grant pg_stat_scan_tables to {app};',
  },
  {
    name: 'app role is a member of pg_signal_backend',
    as: 'superuser',
    rules: ['app-role-predefined'],
    sql: 'grant pg_signal_backend to {app};',
  },
  {
    name: 'app role is a member of pg_read_all_stats',
    as: 'superuser',
    rules: ['app-role-monitors'],
    sql: 'grant pg_read_all_stats to {app};',
  },
  {
    name: 'app role has set itself standard_conforming_strings = off',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: 'alter role {app} set standard_conforming_strings = off;',
  },
  {
    name: 'preset session_replication_role = replica',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: 'alter role {app} set session_replication_role = replica;',
  },
  {
    name: `preset ringfence.context = '1|-|9|x|member|x||'`,
    as: 'superuser',
    rules: ['context-preset'],
    sql: `alter role {app} set ringfence.context = '1|-|9|x|member|x||';`,
  },
  {
    name: 'context preset under a name in capitals',
    as: 'superuser',
    rules: ['context-preset'],
    sql: `alter role {app} set "Ringfence.Context" = '1|-|9|x|member|x||';`,
  },
  {
    name: 'rights on large objects not asked for',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: 'alter role {app} set lo_compat_privileges = on;',
  },
  {
    name: 'row_security off for the app role in the database',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: 'alter role {app} in database {database} set row_security = off;',
  },
  {
    name: 'row_security off for every role',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: 'alter role all set row_security = off;',
  },
  {
    name: 'row_security off for the database',
    as: 'superuser',
    rules: ['session-setting-unsafe'],
    sql: `alter database {database} set row_security = off;`,
  },
  {
    name: 'search_path through a writable schema',
    as: 'superuser',
    rules: ['schema-create', 'search-path-writable'],
    sql: `grant create on schema public to {app}; alter database {database} set search_path = public, app;`,
  },
  {
    name: 'a login with BYPASSRLS',
    as: 'superuser',
    rules: ['standing-bypass'],
    sql: `create role {scratch} login bypassrls;`,
  },
]);
