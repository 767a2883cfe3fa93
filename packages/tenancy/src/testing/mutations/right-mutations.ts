/** Faults of rights: grants, and what the app role is. */
import { ofLayer, type SchemaMutation } from './mutation.ts';

/** Grants. */
export const grantMutations: readonly SchemaMutation[] = ofLayer('grants', [
  { name: 'truncate granted', sql: 'grant truncate on {table} to {app};' },
  { name: 'references granted', sql: 'grant references on {table} to {app};' },
  { name: 'trigger granted', sql: 'grant trigger on {table} to {app};' },
  { name: 'select granted to PUBLIC', sql: 'grant select on {table} to public;' },
  { name: 'more granted than declared', sql: 'grant {missing} on {narrow} to {app};' },
  { name: 'global table writable', sql: 'grant insert on {global} to {app};' },
  { name: 'system table readable', sql: 'grant select on {system} to {app};' },
  { name: 'context keys readable', sql: 'grant select on {keys} to {app};' },
  { name: 'grant option', sql: 'grant select on {table} to {app} with grant option;' },
  { name: 'grant on a column', sql: 'grant update ({column}) on {table} to {app};' },
  {
    name: 'default privileges for the app role',
    sql: 'alter default privileges in schema {schema} grant select on tables to {app};',
  },
  { name: 'CREATE on a schema', sql: 'grant create on schema {schema} to {app};' },
  { name: 'CREATE on the database', sql: 'grant create on database {database} to {app};' },
  {
    name: 'sequence readable',
    sql: `alter table {table} add column ringfence_number bigint generated always as identity (sequence name {schema}.ringfence_number);
      grant select on sequence {schema}.ringfence_number to {app};`,
  },
  { name: 'TEMPORARY on the database', sql: 'grant temporary on database {database} to public;' },
]);

const SUPERUSER = { as: 'superuser' } as const;

/** Roles. */
export const roleMutations: readonly SchemaMutation[] = ofLayer('roles', [
  { name: 'app role with SUPERUSER', ...SUPERUSER, sql: 'alter role {app} superuser;' },
  { name: 'app role with BYPASSRLS', ...SUPERUSER, sql: 'alter role {app} bypassrls;' },
  { name: 'app role with REPLICATION', ...SUPERUSER, sql: 'alter role {app} replication;' },
  { name: 'app role with CREATEROLE', ...SUPERUSER, sql: 'alter role {app} createrole;' },
  {
    name: 'app role can become a superuser',
    ...SUPERUSER,
    sql: 'create role {scratch} superuser; alter role {app} noinherit; grant {scratch} to {app};',
  },
  { name: 'app role owns a table', ...SUPERUSER, sql: 'alter table {table} owner to {app};' },
  {
    name: 'app role is a member of the owner',
    ...SUPERUSER,
    sql: 'alter role {app} noinherit; grant {owner} to {app};',
  },
  { name: 'app role is a member of pg_read_all_data', ...SUPERUSER, sql: 'grant pg_read_all_data to {app};' },
  {
    name: 'app role is a member of pg_write_all_data',
    ...SUPERUSER,
    sql: 'grant pg_write_all_data to {app};',
  },
  {
    name: 'app role is a member of pg_read_server_files',
    ...SUPERUSER,
    sql: 'grant pg_read_server_files to {app};',
  },
  { name: 'preset row_security = off', ...SUPERUSER, sql: 'alter role {app} set row_security = off;' },
  { name: 'table owned by a superuser', ...SUPERUSER, sql: 'alter table {table} owner to {superuser};' },
]);
