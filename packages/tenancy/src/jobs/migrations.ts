/**
 * The DDL of `tenancy.job_mark`, for deployments that use jobs. Plain SQL that a reviewer reads before the owner role
 * runs it, behind the migrations of the context.
 */
import { identifier } from '../identifier.ts';
import type { SqlMigration } from '../migrations/tenancy-migrations.ts';
import { orgTablePolicy } from '../policies/org-table-policy.ts';

/** Settings of the migrations. */
export interface JobMigrationOptions {
  /** The application's login role. */
  readonly appRole: string;
}

/**
 * The migrations of the job record, in order. Run them as the owner role, behind `tenancyMigrations`.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when the role is not a plain SQL name.
 * @example
 * ```ts
 * for (const { up } of [...tenancyMigrations({ appRole, signedContext: true }), ...jobMigrations({ appRole })]) {
 *   await owner.query(up);
 * }
 * ```
 */
export function jobMigrations(options: JobMigrationOptions): readonly SqlMigration[] {
  const app = identifier(options.appRole);
  return [
    {
      name: '1001_tenancy_job_mark',
      up: `
-- What has been done of each job. Rows are written once: the app role may not update them, and deletes only old ones.
create table tenancy.job_mark (
  org_id uuid not null,
  job_id uuid not null,
  mark text not null check (mark in ('effect', 'completed')),
  marked_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (org_id, job_id, mark)
);
create index job_mark_expiry on tenancy.job_mark (org_id, expires_at);
${orgTablePolicy({ table: 'tenancy.job_mark', appRole: options.appRole, privileges: ['select', 'insert', 'delete'] })}
-- Without its mark a job could run again. A day covers clocks that disagree about when its envelope expires.
create function tenancy.keep_job_mark() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.expires_at >= now() - interval '1 day' then
    raise exception 'a job mark is kept until its job has expired'
      using errcode = '42501', constraint = 'tenancy.job_mark_kept', schema = 'tenancy';
  end if;
  return old;
end $$;
revoke all on function tenancy.keep_job_mark() from public, ${app};
create trigger keep before delete on tenancy.job_mark for each row execute function tenancy.keep_job_mark();
`,
    },
  ];
}
