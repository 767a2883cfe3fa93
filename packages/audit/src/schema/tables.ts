/**
 * Tables of schema `audit` and who sees which rows.
 *
 * Row-level security is forced, so it binds the owner too. The owner (and so the SECURITY DEFINER functions) has exactly
 * the policies the functions need: event is insert-only, seal insert and select, head no delete. No role has an UPDATE or
 * DELETE policy on event or seal. Not partitioned in this version.
 */
import type { SchemaNames } from './names.ts';

/** DDL of the tables. */
export const TABLES = `
-- What happened, once and for ever: the canonical bytes as they were hashed. The columns after leaf repeat what is in
-- canon for the index; the verifier compares them. The hashes of actor and target are PostgreSQL's, for the index too.
create table audit.event (
  org_id uuid not null,
  id uuid not null,
  at timestamptz not null,
  canon text not null,
  leaf bytea not null,
  actor text not null,
  action text not null,
  target text,
  actor_hash bigint generated always as (hashtextextended(actor, '0'::bigint)) stored,
  target_hash bigint generated always as (hashtextextended(target, '0'::bigint)) stored,
  constraint event_pkey primary key (org_id, id),
  constraint event_leaf check (leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8')))
);

-- Committed, not yet in the chain. position orders what one sealing finds. Rows live for milliseconds: vacuumed often.
create table audit.queue (
  org_id uuid not null,
  event_id uuid not null,
  position bigint generated always as identity,
  queued_at timestamptz not null,
  leaf bytea not null,
  constraint queue_pkey primary key (org_id, event_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The chain of each organisation: gap-free, one hash over all before it.
create table audit.seal (
  org_id uuid not null,
  seq bigint not null,
  event_id uuid not null,
  hash bytea not null,
  sealed_at timestamptz not null default clock_timestamp(),
  constraint seal_pkey primary key (org_id, seq),
  constraint seal_event unique (org_id, event_id),
  constraint seal_seq check (seq > 0),
  constraint seal_hash check (octet_length(hash) = 32)
);

-- Where each chain ends. Room on the page, so that its updates stay on it.
create table audit.head (
  org_id uuid not null,
  seq bigint not null default 0,
  hash bytea not null default decode(repeat('00', 32), 'hex'),
  constraint head_pkey primary key (org_id)
) with (fillfactor = 10);
`;

/** Row-level security and grants. */
export function tableAccess({ app, auditor, org }: SchemaNames): string {
  const own = `org_id = (select ${org})`;
  const readers = ['event', 'queue', 'seal', 'head'].map(
    (table) => `
alter table audit.${table} enable row level security;
alter table audit.${table} force row level security;
create policy read_own_org on audit.${table} for select to ${app} using (${own});
grant select on audit.${table} to ${app};${
      auditor === undefined
        ? ''
        : `
create policy read_every_org on audit.${table} for select to ${auditor} using (true);
grant select on audit.${table} to ${auditor};`
    }`,
  );
  return `
revoke all on all tables in schema audit from public, ${app};
revoke all on all sequences in schema audit from public, ${app};
${readers.join('\n')}

create policy append on audit.event for insert to current_user with check (true);
create policy owner_reads_own_org on audit.event for select to current_user using (${own});
create policy enqueue on audit.queue for insert to current_user with check (true);
create policy take on audit.queue for select to current_user using (true);
create policy dequeue on audit.queue for delete to current_user using (true);
create policy chain on audit.seal for insert to current_user with check (true);
create policy look_up on audit.seal for select to current_user using (true);
create policy begin_chain on audit.head for insert to current_user with check (true);
create policy find_head on audit.head for select to current_user using (true);
create policy move_head on audit.head for update to current_user using (true) with check (true);
`;
}
