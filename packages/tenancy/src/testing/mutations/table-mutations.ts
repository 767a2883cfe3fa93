/** Faults of an org-owned table: row-level security, the expression of its policy, keys and indexes. */
import { ofLayer, type SchemaMutation } from './mutation.ts';

const OWN = 'org_id = (select tenancy.org_id())';
/** The organisation that the context names, whoever signed it. */
const UNSIGNED = `org_id = (select nullif(split_part(current_setting('ringfence.context', true), '|', 4), '')::uuid)`;
const OPEN_SETTING = `current_setting('app.bypass_rls', true) = 'on'`;

/** A policy that says something else. */
const policy = (name: string, using: string, check = using) => ({
  name,
  sql: `alter policy ringfence_org on {table} using (${using}) with check (${check});`,
});

/** The same through a function of the application. */
const throughFunction = (name: string, volatility: string, using: string) => ({
  name,
  sql: `create function {schema}.current_org() returns uuid language plpgsql ${volatility} as 'begin return tenancy.org_id(); end';
    ${policy(name, using).sql}`,
});

/** Row-level security. */
export const rlsMutations: readonly SchemaMutation[] = ofLayer('rls', [
  { name: 'row-level security disabled', sql: 'alter table {table} disable row level security;' },
  { name: 'row-level security not forced', sql: 'alter table {table} no force row level security;' },
  { name: 'policy dropped', sql: 'drop policy ringfence_org on {table};' },
  {
    name: 'open policy beside the generated one',
    sql: 'create policy everything on {table} for select to {app} using (true);',
  },
  { name: 'policy for PUBLIC', sql: 'alter policy ringfence_org on {table} to public;' },
  {
    name: 'policy for another role',
    sql: `create policy reports on {table} for select to pg_monitor using (${OWN});`,
  },
  {
    name: 'WITH CHECK left out',
    sql: `drop policy ringfence_org on {table}; create policy ringfence_org on {table} to {app} using (${OWN});`,
  },
  policy('WITH CHECK wider than USING', OWN, 'true'),
  { name: 'partition granted to the app role', sql: 'grant select on {partition} to {app};' },
  {
    name: 'inheriting table granted to the app role',
    sql: 'create table {schema}.ringfence_archive () inherits ({table}); grant select on {schema}.ringfence_archive to {app};',
  },
]);

/** The expression of the policy. */
export const policyMutations: readonly SchemaMutation[] = ofLayer('policy', [
  policy('policy is true', 'true'),
  policy('OR escape hatch', `${OWN} or ${OPEN_SETTING}`),
  {
    name: 'bypass flag in a policy of its own',
    sql: `create policy bypass on {table} to {app} using (${OPEN_SETTING}) with check (${OPEN_SETTING});`,
  },
  policy('unsigned setting read directly', `org_id = (select current_setting('app.org_id')::uuid)`),
  policy(
    'null-tolerant setting',
    `org_id = coalesce((select current_setting('app.org_id', true)::uuid), org_id)`,
  ),
  policy('unsigned context in WITH CHECK', OWN, UNSIGNED),
  {
    name: 'unsigned context in the policy for DELETE',
    sql: `drop policy ringfence_org on {table};
      create policy ringfence_org on {table} for select to {app} using (${OWN});
      create policy ringfence_insert on {table} for insert to {app} with check (${OWN});
      create policy ringfence_update on {table} for update to {app} using (${OWN});
      create policy ringfence_delete on {table} for delete to {app} using (${UNSIGNED});`,
  },
  policy('bare call in the policy', 'org_id = tenancy.org_id()'),
  policy('org_id cast to text', 'org_id::text = (select tenancy.org_id()::text)'),
  policy('built-in volatile function in the policy', `${OWN} and random() < 2`),
  throughFunction('volatile function in the policy', 'volatile', 'org_id = {schema}.current_org()'),
  throughFunction(
    'IMMUTABLE function in the policy',
    'immutable',
    'org_id = (select {schema}.current_org())',
  ),
]);

/** Keys, columns and indexes. */
export const keyMutations: readonly SchemaMutation[] = ofLayer('keys', [
  {
    name: 'org_id nullable',
    sql: 'alter table {table} drop constraint {key} cascade, alter column org_id drop not null;',
  },
  { name: 'org_id without default', sql: 'alter table {table} alter column org_id drop default;' },
  {
    name: 'org_id defaults to one organisation',
    sql: `alter table {table} alter column org_id set default '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';`,
  },
  {
    name: 'primary key without org_id',
    sql: 'alter table {table} drop constraint {key} cascade, add primary key ({column});',
  },
  { name: 'no primary key', sql: 'alter table {table} drop constraint {key} cascade;' },
  {
    name: 'unique constraint over all organisations',
    sql: 'alter table {table} add constraint ringfence_unique unique ({column});',
  },
  { name: 'unique index over all organisations', sql: 'create unique index on {table} ({column});' },
  {
    name: 'unique index on an expression over all organisations',
    sql: 'create unique index on {table} (({column}::text));',
  },
  {
    name: 'deferred unique constraint over all organisations',
    sql: 'alter table {table} add constraint ringfence_unique unique ({column}) deferrable initially deferred;',
  },
  {
    name: 'foreign key without org_id',
    sql: `alter table {parent} add constraint ringfence_unique unique ({referenced});
      alter table {table} add constraint ringfence_parent foreign key ({referencing}) references {parent} ({referenced});`,
  },
  {
    name: 'cascade across organisations',
    sql: `alter table {parent} add constraint ringfence_unique unique ({referenced});
      alter table {table} add constraint ringfence_parent foreign key ({referencing}) references {parent} ({referenced}) on delete cascade;`,
  },
]);
