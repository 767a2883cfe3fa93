/** Faults of code and of what surrounds the tables: views, functions, replication, activity, the declaration. */
import { tenancyMigrations } from '../../src/migrations/index.ts';
import { ofLayer } from '../../src/testing/mutations/mutation.ts';
import type { Mutation } from './mutation.ts';

/** Views and rules. */
export const viewMutations: readonly Mutation[] = ofLayer('views', [
  {
    name: 'view owned by a superuser',
    as: 'superuser',
    rules: ['view-owner-bypasses'],
    sql: 'alter view app.note_title owner to postgres;',
  },
  {
    name: 'view that reads more than declared',
    rules: ['view-reads-undeclared'],
    sql: `create or replace view app.note_title with (security_invoker = true) as
        select n.org_id, n.id, n.title, f.name, s.locale from app.note n left join app.folder f using (org_id)
        left join app.setting s using (org_id);`,
  },
  {
    name: 'view over a system table',
    rules: ['view-reads-undeclared', 'view-over-system'],
    sql: `create or replace view app.note_title with (security_invoker = true) as
        select n.org_id, n.id, n.title, m.name from app.note n left join app.migration m on true;`,
  },
  {
    name: 'rewrite rule on a table',
    rules: ['rewrite-rule'],
    sql: 'create rule copy as on insert to app.note do also insert into app.migration values (new.title);',
  },
  {
    name: 'rewrite rule on a system table the app role writes',
    rules: ['rewrite-rule'],
    sql: 'create rule titles as on insert to app.inbox do instead select title from app.note;',
  },
  {
    name: 'view with the rights of its owner that an extension holds',
    as: 'superuser',
    rules: ['view-not-invoker', 'view-owner-bypasses', 'relation-unclassified'],
    sql: `create extension hstore schema jobs; create view app.titles as select title from app.note;
       grant select on app.titles to {app}; alter extension hstore add view app.titles;`,
  },
  {
    name: 'declared view that an extension holds, with the rights of its owner',
    as: 'superuser',
    rules: ['view-not-invoker'],
    sql: `create extension hstore schema jobs; alter extension hstore add view app.note_title;
       alter view app.note_title reset (security_invoker);`,
  },
  {
    name: 'view of an extension that reads a table instead',
    as: 'superuser',
    rules: [
      'statement-statistics-readable',
      'view-not-invoker',
      'view-owner-bypasses',
      'grant-public',
      'grant-beyond-declaration',
    ],
    sql: `create extension pg_stat_statements schema jobs;
       create or replace view jobs.pg_stat_statements_info as
        select count(*) as dealloc, max(touched) as stats_reset from app.note;`,
  },
  {
    name: 'view granted by a column',
    rules: ['view-not-invoker', 'grant-on-column', 'relation-unclassified'],
    sql: 'create view app.titles as select title from app.note; grant select (title) on app.titles to {app};',
  },
  {
    name: 'materialized view granted by a column',
    rules: ['materialized-view-reachable', 'grant-on-column', 'relation-unclassified'],
    sql: `create materialized view app.total as select count(*) from app.note where false;
       grant select (count) on app.total to {app};`,
  },
  {
    name: 'view in information_schema',
    as: 'superuser',
    rules: ['view-not-invoker', 'view-owner-bypasses', 'grant-public', 'relation-unclassified'],
    sql: `create view information_schema.titles as select title from app.note;
       grant select on information_schema.titles to public;`,
  },
  {
    name: 'view moved into pg_catalog',
    as: 'superuser',
    rules: ['view-not-invoker', 'view-owner-bypasses', 'relation-unclassified'],
    sql: `create view app.titles as select title from app.note; grant select on app.titles to {app};
       alter view app.titles set schema pg_catalog;`,
  },
  {
    name: 'rewrite rule on a table that an extension holds',
    as: 'superuser',
    rules: ['rewrite-rule'],
    sql: `create extension hstore schema jobs; alter extension hstore add table app.note;
       create rule copy as on insert to app.note do also insert into app.migration values (new.title);`,
  },
]);

/** `tenancy.org_id()`, as generated but for one replacement. */
function altered(from: string, to: string, signedContext = true): string {
  const { up = '' } = tenancyMigrations({ appRole: 'app', signedContext })[0] ?? {};
  const [text = ''] = /create function tenancy\.org_id\(\)[\s\S]*?end \$\$;/.exec(up) ?? [];
  if (!text.includes(from)) throw new Error(`tenancy.org_id() has no ${from}`);
  return text.replace('create function', 'create or replace function').replace(from, to);
}

const SPILL = `create function app.spill() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$ begin return new; end $$; revoke execute on function app.spill() from public;`;

/** Functions and triggers. */
export const functionMutations: readonly Mutation[] = ofLayer('functions', [
  {
    name: 'declared definer function whose search_path forgets pg_temp',
    rules: ['definer-search-path'],
    sql: 'alter function app.touch_folder() set search_path = app, public;',
  },
  {
    name: 'declared definer function with an empty search_path',
    rules: ['definer-search-path'],
    sql: `alter function app.touch_folder() set search_path = '';`,
  },
  {
    name: 'declared definer function whose search_path begins with pg_temp',
    rules: ['definer-search-path'],
    sql: 'alter function app.touch_folder() set search_path = pg_temp, app, pg_temp;',
  },
  {
    name: 'declared definer function with a standard SQL body and no search_path',
    rules: ['definer-search-path'],
    sql: 'alter function app.log_line(uuid, text) reset search_path;',
  },
  {
    name: 'trigger that runs an undeclared definer function',
    rules: ['trigger-definer'],
    sql: `create function app.copy() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $$ begin return new; end $$;
       revoke execute on function app.copy() from public;
       create trigger copy after insert on app.folder for each row execute function app.copy();`,
  },
  {
    name: 'trigger of a system table that runs an undeclared definer function',
    rules: ['trigger-definer'],
    sql: `${SPILL} create trigger spill after insert on app.log for each row execute function app.spill();`,
  },
  {
    name: 'trigger that runs an undeclared definer function, on a table whose columns are granted',
    rules: ['trigger-definer', 'grant-on-column'],
    sql: `${SPILL} create trigger spill after insert on app.inbox for each row execute function app.spill();
       revoke insert on app.inbox from {app}; grant insert (body) on app.inbox to {app};`,
  },
  {
    name: 'trigger of a partition that runs an undeclared definer function',
    rules: ['trigger-definer'],
    sql: `${SPILL} create trigger spill after insert on app.reading_2026 for each row execute function app.spill();`,
  },
  {
    name: 'trigger that a referential action sets off runs an undeclared definer function',
    rules: ['trigger-definer'],
    sql: `${SPILL} create trigger spill after delete on app.note for each row execute function app.spill();
       revoke all on app.note from {app};`,
  },
  {
    name: 'event trigger that runs an undeclared definer function',
    as: 'superuser',
    rules: ['event-trigger', 'trigger-definer'],
    sql: `create function jobs.at_ddl() returns event_trigger language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $$ begin end $$;
       revoke execute on function jobs.at_ddl() from public;
       create event trigger at_ddl on ddl_command_start execute function jobs.at_ddl();`,
  },
  {
    name: 'undeclared definer procedure',
    rules: ['definer-undeclared'],
    sql: `create procedure app.purge() language sql security definer set search_path = pg_catalog, pg_temp
        begin atomic delete from app.note; end;`,
  },
  {
    name: 'undeclared definer function in information_schema',
    as: 'superuser',
    rules: ['definer-undeclared'],
    sql: `create function information_schema.titles() returns setof text language sql security definer
        set search_path = pg_catalog, pg_temp begin atomic select title from app.note; end;`,
  },
  {
    name: 'function of PostgreSQL made a definer',
    as: 'superuser',
    rules: ['definer-undeclared', 'definer-search-path'],
    sql: 'alter function pg_catalog.ts_debug(text) security definer;',
  },
  {
    name: 'undeclared definer function that an extension holds',
    as: 'superuser',
    rules: ['definer-undeclared'],
    sql: `create extension hstore schema jobs;
       create function app.titles() returns setof text language sql security definer set search_path = pg_catalog, pg_temp
        begin atomic select title from app.note; end;
       alter extension hstore add function app.titles();`,
  },
  {
    name: 'definer function that an extension holds, without search_path',
    as: 'superuser',
    rules: ['definer-search-path'],
    sql: `create extension hstore schema jobs; alter extension hstore add function app.touch_folder();
       alter function app.touch_folder() reset search_path;`,
  },
  {
    name: 'undeclared definer function in pg_catalog',
    as: 'superuser',
    rules: ['definer-undeclared'],
    sql: `create function pg_catalog.titles() returns setof text language sql security definer set search_path = pg_catalog, pg_temp
        begin atomic select title from app.note; end;`,
  },
  {
    name: 'undeclared definer function that an aggregate runs',
    as: 'superuser',
    rules: ['definer-undeclared'],
    sql: `create function app.add_titles(text[], int) returns text[] language sql security definer set search_path = pg_catalog, pg_temp
        begin atomic select array_agg(title) from app.note; end;
       revoke execute on function app.add_titles(text[], int) from public;
       create aggregate app.titles(int) (sfunc = app.add_titles, stype = text[]);`,
  },
  {
    name: 'BEFORE trigger that a referential action runs as the owner',
    rules: ['trigger-as-owner'],
    sql: `create function app.count_notes() returns trigger language plpgsql set search_path = pg_catalog, pg_temp
        as $$ begin perform count(*) from app.note; return old; end $$;
       create trigger count_notes before delete on app.note for each row execute function app.count_notes();`,
  },
  {
    name: 'undeclared definer function that an operator class runs',
    as: 'superuser',
    rules: ['definer-undeclared'],
    sql: `create function app.compare(text, text) returns int language plpgsql immutable security definer
        set search_path = pg_catalog, pg_temp as $$ begin return bttextcmp($1, $2); end $$;
       revoke execute on function app.compare(text, text) from public;
       create operator class app.odd for type text using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=,
        operator 5 >, function 1 app.compare(text, text);`,
  },
  {
    name: 'leakproof function',
    as: 'superuser',
    rules: ['leakproof-function'],
    sql: `create function app.peek(text) returns boolean language plpgsql leakproof as $$ begin raise notice '%', $1; return true; end $$;`,
  },
  {
    name: 'function of PostgreSQL marked leakproof',
    as: 'superuser',
    rules: ['leakproof-function'],
    sql: 'alter function pg_catalog.int4div(integer, integer) leakproof;',
  },
  {
    name: 'app role owns tenancy.org_id()',
    as: 'superuser',
    rules: ['policy-function-replaceable'],
    sql: `alter function tenancy.org_id() owner to {app};`,
  },
  {
    name: 'tenancy.org_id() lets a forged context pass',
    rules: ['tenancy-function-altered'],
    sql: altered("split_part(context, '|', 8) = encode(", "'' <> encode("),
  },
  {
    name: 'tenancy.org_id() lets an expired context pass',
    rules: ['tenancy-function-altered'],
    sql: altered('if found and', 'if found or'),
  },
  {
    name: 'tenancy.context() answers without verifying',
    rules: ['tenancy-function-altered'],
    sql: `create or replace function tenancy.context(out org_id uuid, out kind text, out actor text, out request_id text)
        language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp
        as $$ begin org_id := split_part(current_setting('ringfence.context'), '|', 4)::uuid; end $$;`,
  },
  {
    name: 'tenancy.keep_job_mark() lets every mark go',
    rules: ['tenancy-function-altered'],
    sql: `create or replace function tenancy.keep_job_mark() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $$ begin return old; end $$;`,
  },
  {
    name: 'trigger that keeps job marks disabled',
    rules: ['tenancy-function-altered'],
    sql: 'alter table tenancy.job_mark disable trigger keep;',
  },
  {
    name: 'trigger that keeps job marks dropped',
    rules: ['tenancy-function-altered'],
    sql: 'drop trigger keep on tenancy.job_mark;',
  },
  {
    name: 'function of a generated name and other arguments in schema tenancy',
    rules: ['tenancy-function-foreign'],
    sql: `create function tenancy.assert_session(whole text) returns boolean language sql stable return whole is null;`,
  },
  {
    name: 'foreign function in schema tenancy',
    rules: ['tenancy-function-foreign'],
    sql: `create function tenancy.org_id(text) returns uuid language sql stable return $1::uuid;`,
  },
  {
    name: 'context accepted unsigned',
    rules: ['context-unsigned'],
    sql: altered('', '', false),
  },
  {
    name: 'three context keys',
    rules: ['context-keys-many'],
    sql: `insert into tenancy.context_key select 'k' || n, inner_pad, outer_pad from tenancy.context_key, generate_series(2, 3) n;`,
  },
  {
    name: 'function with a standard SQL body that reads the context keys',
    rules: ['context-key-read'],
    sql: `create function app.sign() returns bytea language sql begin atomic select inner_pad from tenancy.context_key; end;
       revoke execute on function app.sign() from public;`,
  },
  {
    name: 'function that reads the context keys',
    rules: ['context-key-read'],
    sql: `create function app.sign(text) returns bytea language sql as $$ select inner_pad from tenancy.context_key $$;
       revoke execute on function app.sign(text) from public;`,
  },
]);

/** Replication. */
export const replicationMutations: readonly Mutation[] = ofLayer('replication', [
  {
    name: 'publication for a schema',
    as: 'superuser',
    rules: ['publication-all-tables'],
    sql: 'create publication everything for tables in schema app;',
  },
]);

/** What sessions show of each other. */
export const activityMutations: readonly Mutation[] = ofLayer('activity', [
  {
    name: 'event trigger',
    as: 'superuser',
    rules: ['event-trigger'],
    sql: `create function jobs.at_ddl() returns event_trigger language plpgsql as $$ begin end $$;
       create event trigger at_ddl on ddl_command_end execute function jobs.at_ddl();`,
  },
  {
    name: 'pg_stat_statements readable',
    as: 'superuser',
    rules: ['statement-statistics-readable'],
    sql: 'create extension pg_stat_statements schema jobs;',
  },
  {
    name: 'pg_stat_statements executable, its views revoked',
    as: 'superuser',
    rules: ['statement-statistics-readable'],
    sql: `create extension pg_stat_statements schema jobs;
       revoke all on jobs.pg_stat_statements, jobs.pg_stat_statements_info from public;`,
  },
  {
    name: 'trigger of tcn on an org-owned table',
    as: 'superuser',
    rules: ['notify-shared'],
    sql: `create extension tcn schema jobs;
       create trigger tell after update on app.note for each row execute function jobs.triggered_change_notification();`,
  },
  {
    name: 'function with a standard SQL body that notifies',
    rules: ['notify-shared'],
    sql: `create function app.tell() returns void language sql begin atomic select pg_notify('notes', 'a title'); end;`,
  },
  {
    name: 'function that notifies',
    rules: ['notify-shared'],
    sql: `create function app.tell() returns void language sql as $$ select pg_notify('notes', 'a title') $$;`,
  },
]);

/** What exists and was not declared, and the other way round. */
export const declarationMutations: readonly Mutation[] = ofLayer('declaration', [
  {
    name: 'unclassified sequence',
    rules: ['relation-unclassified'],
    sql: 'create sequence app.number;',
  },
  {
    name: 'view in the place of a table',
    rules: ['relation-kind', 'relation-unclassified'],
    sql: `drop policy ringfence_global on app.currency; alter table app.currency rename to currency_old;
       create view app.currency as select * from app.currency_old;`,
  },
  {
    name: 'declared publication dropped',
    rules: ['exception-stale'],
    sql: 'drop publication currency_feed;',
  },
]);
