/**
 * Mutations of the golden schema: what each is, its SQL, and the differences it makes. APP, OWNER and DATABASE stand for the
 * names of the test's own; what any schema can have is taken from the mutations shared with its users.
 */
import { schemaMutations } from '../src/testing/index.ts';

const SUPER = 'reset role; ';

/** Name and SQL of a shared mutation. */
function shared(name: string): readonly [string, string] {
  const found = schemaMutations.find((mutation) => mutation.name === name);
  if (found === undefined) throw new Error(`no shared mutation is called ${name}`);
  return [name, `${found.as === 'superuser' ? SUPER : ''}${found.sql}`];
}

const POLICY =
  'as permissive for all to APP using (org_id = (select tenancy.org_id())) with check (org_id = (select tenancy.org_id()))';

/** Mutations that steps mend: the SQL, and the differences it makes. */
export const MENDED: readonly (readonly [string, string, ...string[]])[] = [
  // Guards.
  [...shared('row-level security not forced'), 'row_security app.note'],
  [...shared('row-level security disabled'), 'row_security app.note'],
  [...shared('policy dropped'), 'policy app.note'],
  ['a policy of everything beside it', 'create policy hole on app.note using (true)', 'policy app.note'],
  [
    'a restrictive policy beside it',
    'create policy more on app.note as restrictive using (true)',
    'policy app.note',
  ],
  ['the using expression widened', 'alter policy ringfence_org on app.note using (true)', 'policy app.note'],
  [
    'the check expression widened',
    'alter policy ringfence_org on app.note with check (true)',
    'policy app.note',
  ],
  [...shared('policy for PUBLIC'), 'policy app.note'],
  ['the policy renamed', 'alter policy ringfence_org on app.note rename to mine', 'policy app.note'],
  [...shared('OR escape hatch'), 'policy app.note'],
  [
    'an operator of the same look',
    `create function app.eq(uuid, uuid) returns bool language sql as 'select true';
    create operator app.= (leftarg = uuid, rightarg = uuid, function = app.eq);
    drop policy ringfence_org on app.note; set local search_path = app, pg_catalog;
    create policy ringfence_org on app.note ${POLICY.replaceAll('org_id = ', 'org_id operator(app.=) ')}`,
    'policy app.note',
  ],
  [
    'a function of the same name',
    `create schema fake; create function fake.org_id() returns uuid language sql stable as 'select null::uuid';
    alter policy ringfence_org on app.note using (org_id = (select fake.org_id()))`,
    'policy app.note',
  ],
  [
    'the policy for select only',
    `drop policy ringfence_org on app.note; create policy ringfence_org on app.note for select to APP using (org_id = (select tenancy.org_id()))`,
    'policy app.note',
  ],
  [
    'global policy for all commands',
    'drop policy ringfence_global on app.currency; create policy ringfence_global on app.currency to APP using (true)',
    'policy app.currency',
  ],
  [
    'a nullable org_id',
    'alter table app.note drop constraint note_pkey; alter table app.note alter org_id drop not null',
    'org_column_null app.note',
    'primary_key app.note',
  ],
  [...shared('org_id without default'), 'org_column_default app.note'],
  [
    'another default of org_id',
    `alter table app.note alter org_id set default gen_random_uuid()`,
    'org_column_default app.note',
  ],
  [
    'the trigger of a migration left',
    `create function app.ringfence_backfill_note() returns trigger language plpgsql as 'begin return new; end';
    create trigger ringfence_backfill before insert on app.note for each row execute function app.ringfence_backfill_note()`,
    'backfill_trigger app.note',
  ],
  // Grants.
  [...shared('truncate granted'), 'grants app.note'],
  [...shared('references granted'), 'grants app.note'],
  [...shared('trigger granted'), 'grants app.note'],
  ['delete granted past the declaration', 'grant delete on app.account to APP', 'grants app.account'],
  ['select revoked', 'revoke select on app.note from APP', 'grants app.note'],
  [...shared('select granted to PUBLIC'), 'grants app.note'],
  [...shared('grant option'), 'grants app.note'],
  ['a column granted', 'grant select (body) on app.note to APP', 'column_grants app.note'],
  ['a column granted to everyone', 'grant update (body) on app.note to public', 'column_grants app.note'],
  [...shared('global table writable'), 'grants app.currency'],
  ['select on a system table', 'grant select on app.schema_version to public', 'grants app.schema_version'],
  ['select past a system declaration', 'grant select on app.outbox to APP', 'grants app.outbox'],
  ['select in a system schema', 'grant select on ops.report to APP', 'grants ops.report'],
  [...shared('context keys readable'), 'grants tenancy.context_key'],
  [
    'select on a sequence',
    'grant select on sequence app.note_number_seq to APP',
    'sequence app.note_number_seq',
  ],
  [
    'update on a sequence for everyone',
    'grant update on sequence app.note_number_seq to public',
    'sequence app.note_number_seq',
  ],
  ['select on a partition', 'grant select on app.event_2026 to APP', 'partition app.event_2026'],
  ['a column of a partition', 'grant select (id) on app.event_2026 to public', 'partition app.event_2026'],
  ['select on a materialized view', 'grant select on app.digest to APP', 'materialized_view app.digest'],
  // Keys.
  [...shared('primary key without org_id'), 'primary_key app.note'],
  [...shared('no primary key'), 'primary_key app.note'],
  [
    'the key in another order',
    'alter table app.note drop constraint note_pkey; alter table app.note add primary key (id, org_id)',
    'primary_key app.note',
  ],
  [
    'no key of a global table',
    'alter table app.note drop constraint note_currency_fkey; alter table app.currency drop constraint currency_pkey',
    'foreign_key app.note',
    'primary_key app.currency',
  ],
  [
    'a unique constraint without org_id',
    'alter table app.note add unique (slug)',
    'unique_without_org app.note',
  ],
  ['a unique index without org_id', 'create unique index on app.note (slug)', 'unique_without_org app.note'],
  [
    'a declared unique missing',
    'alter table app.note drop constraint note_org_id_slug_key',
    'unique app.note',
  ],
  [
    'a declared unique for some rows only',
    'alter table app.note drop constraint note_org_id_slug_key; create unique index on app.note (org_id, slug) where place > 1',
    'unique app.note',
  ],
  [
    'a foreign key without org_id',
    `alter table app.folder add unique (id); alter table app.folder drop constraint folder_org_id_parent_id_fkey;
    alter table app.folder add foreign key (parent_id) references app.folder (id)`,
    'foreign_key app.folder',
    'foreign_key_undeclared app.folder',
    'unique_without_org app.folder',
  ],
  [
    'a foreign key missing',
    'alter table app.note drop constraint note_org_id_folder_id_fkey',
    'foreign_key app.note',
  ],
  [
    'a foreign key that sets org_id null',
    `alter table app.note drop constraint note_org_id_folder_id_fkey;
    alter table app.note add foreign key (org_id, folder_id) references app.folder (org_id, id) on delete set null`,
    'foreign_key app.note',
    'foreign_key_undeclared app.note',
  ],
  [
    'another action of a foreign key',
    `alter table app.folder drop constraint folder_org_id_parent_id_fkey;
    alter table app.folder add foreign key (org_id, parent_id) references app.folder (org_id, id)`,
    'foreign_key app.folder',
    'foreign_key_undeclared app.folder',
  ],
  [
    'a foreign key not validated',
    `alter table app.note drop constraint note_org_id_folder_id_fkey;
    alter table app.note add foreign key (org_id, folder_id) references app.folder (org_id, id) on delete set null (folder_id) not valid`,
    'foreign_key app.note',
  ],
  // Views, rules, functions.
  [...shared('view with the rights of its owner'), 'view_invoker app.recent'],
  ['a view that says so', 'alter view app.recent set (security_invoker = off)', 'view_invoker app.recent'],
  ['a view that may be written', 'grant insert on app.recent to APP', 'grants app.recent'],
  [
    'a rewrite rule',
    'create rule copy as on insert to app.note do also insert into ops.report values (1)',
    'rule app.note',
  ],
  [
    "a function with its owner's rights",
    `create function app.all_notes() returns setof app.note language sql security definer set search_path = pg_catalog, pg_temp as 'select * from app.note'`,
    'definer_function function app.all_notes()',
  ],
  [
    'one with arguments of types with spaces',
    `create procedure app."Odd name"(timestamp with time zone, character varying) language sql security definer set search_path = pg_catalog, pg_temp as 'select 1'`,
    'definer_function function app.Odd name(timestamp with time zone, character varying)',
  ],
  [
    'a path without pg_temp',
    'alter function app.now_utc() set search_path = pg_catalog',
    'search_path function app.now_utc()',
  ],
  // Surroundings.
  [...shared('CREATE on a schema'), 'schema_grants schema app'],
  ['create in a schema for everyone', 'grant create on schema app to public', 'schema_grants schema app'],
  ['no usage of a schema', 'revoke usage on schema app from APP', 'schema_grants schema app'],
  [...shared('CREATE on the database'), 'database_grants database DATABASE'],
  [...shared('default privileges for the app role'), 'default_privileges default privileges of OWNER in app'],
  [
    'tables to come, everywhere, for everyone',
    'alter default privileges grant select on tables to public',
    'default_privileges default privileges of OWNER',
  ],
  [
    'functions to come',
    'alter default privileges grant execute on functions to APP',
    'default_privileges default privileges of OWNER',
  ],
  [...shared('app role with SUPERUSER'), 'app_role role APP'],
  [...shared('app role with BYPASSRLS'), 'app_role role APP'],
  [...shared('app role with REPLICATION'), 'app_role role APP'],
  [...shared('app role with CREATEROLE'), 'app_role role APP'],
  [...shared('app role is a member of the owner'), 'app_role role APP'],
  [...shared('app role is a member of pg_read_all_data'), 'app_role role APP'],
];

/** Mutations that a person has to decide. */
export const DECIDED: readonly (readonly [string, string, ...string[]])[] = [
  ['a table nobody declared', 'create table app.extra (n int)', 'unclassified app.extra'],
  [
    'a view nobody declared',
    'create view app.peek with (security_invoker = true) as select 1 as n',
    'unclassified app.peek',
  ],
  [
    'a materialized view nobody declared',
    'create materialized view app.copy as select 1 as n',
    'unclassified app.copy',
  ],
  [
    'a table in a schema nobody declared',
    'create schema other; create table other.t (n int)',
    'unclassified other.t',
  ],
  ['a declared table missing', 'drop table app.event', 'missing_relation app.event'],
  [
    'a declared table that is a view',
    'drop table app.event; create view app.event as select 1 as n',
    'relation_kind app.event',
  ],
  [
    'a declared view that is materialized',
    'drop view app.recent; create materialized view app.recent as select 1 as n',
    'relation_kind app.recent',
  ],
  [
    'org_id of another type',
    `drop view app.recent; drop materialized view app.digest; drop policy ringfence_org on app.note;
    alter table app.note drop constraint note_org_id_folder_id_fkey; alter table app.note alter org_id drop default; alter table app.note alter org_id type text;
    create view app.recent with (security_invoker = true) as select 1 as n; grant select on app.recent to APP`,
    'foreign_key app.note',
    'org_column_default app.note',
    'org_column_type app.note',
    'policy app.note',
  ],
  [
    'a child by inheritance',
    'create table app.child () inherits (app.note)',
    'inheritance app.child',
    'unclassified app.child',
  ],
  [
    'a unique constraint that nothing declared replaces',
    'alter table app.note add unique (body)',
    'unique_without_org app.note',
  ],
  ['a unique expression', 'create unique index on app.note (lower(slug))', 'unique_without_org app.note'],
  ['an exclusion without org_id', 'alter table app.note add exclude (slug with =)', 'exclusion app.note'],
  [
    'a foreign key nobody declared',
    'alter table app.event add foreign key (org_id) references app.account',
    'foreign_key_undeclared app.event',
  ],
  [
    'a view that reads more than declared',
    'create or replace view app.recent with (security_invoker = true) as select n.* from app.note n where exists (select from app.currency)',
    'view_reads app.recent',
  ],
  [
    'a system table written without row-level security',
    'alter table app.outbox no force row level security',
    'row_security app.outbox',
  ],
  [
    'a publication nobody declared',
    'create publication leak for table app.note',
    'publication publication leak',
  ],
  [...shared('publication for all tables'), 'publication publication ringfence_all'],
  [
    "a trigger with its owner's rights",
    `create function app.copy_row() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin return new; end';
    revoke execute on function app.copy_row() from public; create trigger copy before insert on app.note for each row execute function app.copy_row()`,
    'definer_function function app.copy_row()',
  ],
  [
    'a declared function without a path',
    'alter function app.now_utc() reset search_path',
    'search_path function app.now_utc()',
  ],
  [
    "a path that the caller's name steers",
    'alter function app.now_utc() set search_path = "$user", pg_temp',
    'search_path function app.now_utc()',
  ],
  [
    'a table of the app role',
    `${SUPER}alter table app.schema_version owner to APP`,
    'grants app.schema_version',
    'owner app.schema_version',
  ],
  [...shared('tenancy.org_id() declared IMMUTABLE'), 'context_function function tenancy.org_id()'],
];
