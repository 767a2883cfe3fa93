/** Faults of tables: row-level security, the policy, keys and indexes. */
import { ofLayer } from '../../src/testing/mutations/mutation.ts';
import type { Mutation } from './mutation.ts';

const OWN = 'org_id = (select tenancy.org_id())';

/** Row-level security. */
export const rlsMutations: readonly Mutation[] = ofLayer('rls', [
  {
    name: 'second permissive policy',
    rules: ['several-permissive-policies', 'policy-not-generated'],
    sql: `create policy reports on app.note for select to {app} using (title like 'public%' and ${OWN});`,
  },
  {
    name: 'row-level security disabled on a table that an extension holds',
    as: 'superuser',
    rules: ['rls-disabled'],
    sql: `create extension hstore schema jobs; alter extension hstore add table app.note;
       alter table app.note disable row level security;`,
  },
  {
    name: 'foreign table granted to the app role',
    as: 'superuser',
    rules: ['foreign-table', 'relation-unclassified'],
    sql: `create extension file_fdw schema jobs; create server files foreign data wrapper file_fdw;
       create foreign table app.feed (line text) server files options (filename '/dev/null');
       grant select on app.feed to {app};`,
  },
  {
    name: 'row-level security of a reached system table disabled',
    rules: ['system-relation-open'],
    sql: 'alter table app.inbox disable row level security;',
  },
]);

/** The expression of the policy. */
export const policyMutations: readonly Mutation[] = ofLayer('policy', [
  {
    name: 'membership subquery',
    rules: ['policy-not-generated', 'policy-reads-table'],
    sql: `alter policy ringfence_org on app.note using (org_id in (select f.org_id from app.folder f))
      with check (org_id in (select f.org_id from app.folder f));`,
  },
  {
    name: 'system table open to the app role',
    rules: ['policy-always-true'],
    sql: 'create policy everyone on app.log for select to {app} using (true);',
  },
  {
    name: 'system table that an extension holds open to the app role',
    as: 'superuser',
    rules: ['policy-always-true'],
    sql: `create extension hstore schema jobs; alter extension hstore add table app.log;
       create policy everyone on app.log for select to {app} using (true);`,
  },
  {
    name: 'field of the context taken for each row',
    rules: ['policy-bare-call'],
    sql: 'alter policy own_lines on app.log using (org_id = (tenancy.context()).org_id);',
  },
  {
    name: 'pattern index under a policy',
    rules: ['pattern-index-unused'],
    sql: 'create index on app.note (org_id, title text_pattern_ops);',
  },
]);

/** Keys, columns and indexes. */
export const keyMutations: readonly Mutation[] = ofLayer('keys', [
  {
    name: 'org_id of another type',
    rules: ['org-id-missing', 'policy-not-generated', 'with-check-differs', 'relation-unclassified'],
    sql: `alter table app.setting rename to setting_old;
       create table app.setting (org_id text not null default tenancy.org_id() primary key);
       alter table app.setting enable row level security, force row level security;
       drop policy ringfence_org on app.setting_old; revoke all on app.setting_old from {app};
       create policy ringfence_org on app.setting to {app} using (org_id = (select tenancy.org_id()::text));`,
  },
  {
    name: 'primary key that does not begin with org_id',
    rules: ['primary-key-without-org', 'no-index-on-org'],
    sql: 'alter table app.note drop constraint note_pkey, add primary key (id, org_id);',
  },
  {
    name: 'unique constraint on a partition',
    rules: ['unique-without-org'],
    sql: 'alter table app.reading_2026 add unique (id);',
  },
  {
    name: 'partial unique index over all organisations',
    rules: ['unique-index-without-org'],
    sql: `create unique index on app.note (title) where currency = 'EUR';`,
  },
  {
    name: 'unique index on an expression over all organisations, on a partition',
    rules: ['unique-index-without-org'],
    sql: 'create index on app.reading ((value + 1)); create unique index on app.reading_2026 ((value + 2));',
  },
  {
    name: 'foreign key of a system table the app role writes',
    rules: ['foreign-key-without-org'],
    sql: `alter table app.inbox add column org_id uuid, add column note_id uuid,
       add foreign key (org_id, note_id) references app.note (org_id, id);`,
  },
  {
    name: 'org_id not null, not validated',
    since: 18,
    rules: ['org-id-nullable', 'primary-key-without-org', 'no-index-on-org'],
    sql: `alter table app.setting drop constraint setting_pkey, alter column org_id drop not null;
       alter table app.setting add constraint required not null org_id not valid;`,
  },
  {
    name: 'exclusion constraint over all organisations',
    rules: ['exclusion-without-org'],
    sql: 'alter table app.note add exclude using btree (title with =);',
  },
  {
    name: 'cascade from a global table',
    rules: ['cascade-from-global'],
    sql: 'alter table app.folder add column currency text references app.currency (code) on delete cascade;',
  },
  {
    name: 'index that leads with org_id is partial',
    rules: ['primary-key-without-org', 'no-index-on-org'],
    sql: `alter table app.note drop constraint note_pkey; create index on app.note (org_id) where title <> '';`,
  },
  {
    name: 'invalid index',
    as: 'superuser',
    rules: ['index-invalid'],
    sql: `create index note_idle on app.note (org_id, title);
      update pg_index set indisvalid = false where indexrelid = 'app.note_idle'::regclass;`,
  },
  {
    name: 'constraint not validated',
    rules: ['constraint-not-validated'],
    sql: `alter table app.note add constraint short check (length(title) < 100) not valid;`,
  },
]);
