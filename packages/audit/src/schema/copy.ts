/**
 * Table of what was copied to a write-once store: one row per object, with the version and checksum that the store
 * holds. Only the process that copies adds to it, and nobody changes it.
 */
import type { SchemaNames } from './names.ts';

/** DDL of the table and its guards; it needs `audit.refuse_change`. */
export const COPIES: string = `
-- What lies in a write-once store. upto is the size of the tree that the object was written for; a checkpoint is the
-- last object of its size, so its row says that all others of it are there. mode and retain_until are what the store
-- told when it was asked after the write; null where it locks nothing.
create table audit.copy (
  org_id uuid not null,
  store text not null,
  key text not null,
  kind text not null,
  upto bigint not null,
  version_id text not null,
  sha256 bytea not null,
  bytes bigint not null,
  mode text,
  retain_until timestamptz,
  copied_at timestamptz not null default clock_timestamp(),
  constraint copy_pkey primary key (org_id, store, key),
  constraint copy_kind check (kind in ('segment', 'tile', 'checkpoint')),
  constraint copy_upto check (upto > 0),
  constraint copy_sha256 check (octet_length(sha256) = 32)
);
create index copy_progress on audit.copy (org_id, store, kind, upto desc) where kind <> 'tile';
create trigger refuse_row_change before update or delete on audit.copy
  for each row execute function audit.refuse_change();
create trigger refuse_change before update or delete or truncate on audit.copy
  for each statement execute function audit.refuse_change();
alter table audit.copy enable always trigger refuse_row_change;
alter table audit.copy enable always trigger refuse_change;
`;

/** Row-level security and grants: the copier reads the log of every organisation and adds to this table only. */
export function copyAccess({ app, auditor, copier, org }: SchemaNames): string {
  const reader = (role: string) => `
create policy read_every_org on audit.copy for select to ${role} using (true);
grant select on audit.copy to ${role};`;
  return `
alter table audit.copy enable row level security;
alter table audit.copy force row level security;
revoke all on audit.copy from public, ${app};
create policy read_own_org on audit.copy for select to ${app} using (org_id = (select ${org}));
grant select on audit.copy to ${app};
${auditor === undefined ? '' : reader(auditor)}
${
  copier === undefined
    ? ''
    : `
grant usage on schema audit to ${copier};
${['event', 'queue', 'seal', 'head', 'checkpoint', 'tile', 'copy']
  .map(
    (table) => `
create policy copier_reads on audit.${table} for select to ${copier} using (true);
grant select on audit.${table} to ${copier};`,
  )
  .join('')}
create policy copier_adds on audit.copy for insert to ${copier} with check (true);
grant insert on audit.copy to ${copier};
`
}`;
}
