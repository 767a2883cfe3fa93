/**
 * Chains as they are commonly built inside PostgreSQL, each as one statement over the same columns: what a strict chain
 * costs when the lock on the chain's end is held until COMMIT. All hash with sha256() and keep one chain per organisation.
 */
import { CompiledQuery } from 'kysely';

/** A peer: how it appends the event of a receipt's parameters (id, body, …). */
export interface Peer {
  readonly name: string;
  append(parameters: readonly unknown[]): CompiledQuery;
}

const COLUMNS = `org_id uuid not null, id uuid not null, at timestamptz not null, canon text not null, leaf bytea,
  actor text not null, action text not null, target text, primary key (org_id, id)`;
const VALUES = `tenancy.org_id(), $1::uuid, clock_timestamp(), $2::text, sha256(convert_to($2::text, 'UTF8')),
  tenancy.actor(), 'entry.approved', 'entry:' || tenancy.request_id()`;

const CHAINED = ['head_row', 'trigger', 'deferred', 'last'] as const;

/** Tables, heads and triggers of the peers. */
export const PEER_DDL = (app: string): string => `
${CHAINED.map(
  (name) => `
create table app.${name}_event (${COLUMNS}, seq bigint, hash bytea);
create table app.${name}_head (org_id uuid primary key, seq bigint not null, hash bytea not null) with (fillfactor = 10);
insert into app.${name}_head select ('0190f5d2-7b1c-7d34-9a51-' || lpad(n::text, 12, '0'))::uuid, 0, '\\x00' from generate_series(0, 99) n;
grant select, insert, update on app.${name}_event, app.${name}_head to ${app};`,
).join('\n')}

create function app.chain_by_trigger() returns trigger language plpgsql security definer as $$
declare previous record;
begin
  perform pg_advisory_xact_lock(hashtextextended(new.org_id::text, 7));
  select seq, hash into previous from app.trigger_head where org_id = new.org_id;
  new.seq := previous.seq + 1;
  new.hash := sha256(previous.hash || new.leaf);
  update app.trigger_head set seq = new.seq, hash = new.hash where org_id = new.org_id;
  return new;
end $$;
create trigger chain before insert on app.trigger_event for each row execute function app.chain_by_trigger();

create function app.chain_deferred() returns trigger language plpgsql security definer as $$
declare
  the_seq bigint;
  the_hash bytea;
begin
  update app.deferred_head h set seq = h.seq + 1, hash = sha256(h.hash || new.leaf)
   where h.org_id = new.org_id returning h.seq, h.hash into the_seq, the_hash;
  update app.deferred_event e set seq = the_seq, hash = the_hash where e.org_id = new.org_id and e.id = new.id;
  return null;
end $$;
create constraint trigger chain after insert on app.deferred_event deferrable initially deferred
  for each row execute function app.chain_deferred();

create table app.supa (${COLUMNS}, record jsonb);
create function app.supa_audit() returns trigger language plpgsql security definer as $$
begin
  insert into app.supa_record (org_id, table_name, op, ts, record)
    values (new.org_id, tg_table_name, tg_op, now(), to_jsonb(new));
  return null;
end $$;
create table app.supa_record (id bigint generated always as identity primary key, org_id uuid not null, table_name text,
  op text, ts timestamptz, record jsonb);
create index on app.supa_record using brin (ts);
create trigger audit after insert on app.supa for each row execute function app.supa_audit();
grant insert on app.supa to ${app};
`;

const insert = (name: string, sql: string): Peer => ({
  name,
  append: ([id, body]) => CompiledQuery.raw(sql, [id, body]),
});

/** The lock on the head row is taken by the statement that appends. */
const overHead = (table: string): string => `
with head as (
  update app.${table}_head h set seq = h.seq + 1, hash = sha256(h.hash || sha256(convert_to($2::text, 'UTF8')))
   where h.org_id = tenancy.org_id() returning h.seq, h.hash)
insert into app.${table}_event (org_id, id, at, canon, leaf, actor, action, target, seq, hash)
select ${VALUES}, head.seq, head.hash from head`;

/** A head row per organisation, locked until COMMIT. */
export const headRowChain: Peer = insert('head-row-chain', overHead('head_row'));
/** The best form that holds its lock to COMMIT: the last statement, in the flight of COMMIT. */
export const appendedLast: Peer = insert('appended-last', overHead('last'));
/** BEFORE INSERT trigger under an advisory lock. */
export const triggerChain: Peer = insert(
  'trigger-chain',
  `insert into app.trigger_event (org_id, id, at, canon, leaf, actor, action, target) values (${VALUES})`,
);
/** Constraint trigger at COMMIT. */
export const deferredTrigger: Peer = insert(
  'deferred-trigger',
  `insert into app.deferred_event (org_id, id, at, canon, leaf, actor, action, target) values (${VALUES})`,
);
/** A row trigger that copies the new row as jsonb; no chain. */
export const supaAudit: Peer = insert(
  'supa-audit-idea',
  `insert into app.supa (org_id, id, at, canon, leaf, actor, action, target) values (${VALUES})`,
);
