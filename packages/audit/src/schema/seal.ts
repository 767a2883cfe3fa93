/**
 * Sealing: puts queued events into the chains of their organisations.
 *
 * The chain of an organisation is moved by whoever holds its head row. A head that somebody holds is skipped, and nothing is
 * locked while it is waited for, so a sealing that does not end stops the chains it took and no other. Hence how few it
 * takes, docs/threat-model.md: `seal_pending` those of the queued events whose ids the caller names, `seal_next` one, and
 * either of them only once in a transaction. They need no context and therefore tell nothing but the fate of event ids that the caller already has.
 */

import { FUNCTION_SETTINGS, linkExpression } from './names.ts';

/** For locks on whole tables, which a migration may hold. */
const LOCK_TIMEOUT = '10s';

/**
 * Refusals. A transaction that wrote has an id: so has one that sealed before, appended or changed rows. What is locked by
 * sealing is locked until COMMIT.
 */
const CHECK_TRANSACTION = `
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'sealing needs READ COMMITTED'
      using errcode = '25001', schema = 'audit', constraint = 'audit.sealer_isolation';
  end if;
  if pg_current_xact_id_if_assigned() is not null then
    raise exception 'sealing needs a transaction of its own'
      using errcode = '25001', schema = 'audit', constraint = 'audit.sealer_transaction';
  end if;`;

/** DDL of the sealing functions. */
export const SEALING: string = `
-- Seals all that is queued of these organisations; returns how many chains were free. For the functions below, whose
-- settings it runs under.
create function audit.seal_orgs(wanted_orgs uuid[]) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  item record;
  new_org uuid;
  ignored text;
  free_orgs uuid[];
  free_seqs bigint[];
  free_hashes bytea[];
  chain_org uuid;
  chain_seq bigint;
  chain_hash bytea;
  orgs uuid[] := '{}';
  seqs bigint[] := '{}';
  ids uuid[] := '{}';
  hashes bytea[] := '{}';
begin
  for new_org in
    select o.org_id from unnest(wanted_orgs) o(org_id)
     where not exists (select from audit.head h where h.org_id = o.org_id)
  loop
    -- A row that another transaction has inserted cannot be skipped. So it is waited for, for a moment.
    begin
      ignored := set_config('lock_timeout', '1ms', true);
      insert into audit.head (org_id) values (new_org) on conflict do nothing;
    exception when lock_not_available then null;
    end;
    ignored := set_config('lock_timeout', '${LOCK_TIMEOUT}', true);
  end loop;

  select array_agg(f.org_id), array_agg(f.seq), array_agg(f.hash) into free_orgs, free_seqs, free_hashes
    from (select h.org_id, h.seq, h.hash from audit.head h where h.org_id = any (wanted_orgs)
           for update skip locked) f;
  if free_orgs is null then
    return 0;
  end if;
  -- A session that forgets to COMMIT keeps the chains no longer than this.
  if current_setting('idle_in_transaction_session_timeout') = '0' then
    ignored := set_config('idle_in_transaction_session_timeout', '5s', true);
  end if;

  -- In a statement of its own, whose snapshot is taken behind the locks: it sees what whoever held them before has done.
  for item in
    with taken as (
      delete from audit.queue q using unnest(free_orgs, free_seqs, free_hashes) f(org_id, seq, hash)
       where q.org_id = f.org_id
      returning q.org_id, q.event_id, q.position, q.leaf, f.seq, f.hash
    )
    select * from taken t order by t.org_id, t.position
  loop
    if chain_org is distinct from item.org_id then
      chain_org := item.org_id;
      chain_seq := item.seq;
      chain_hash := item.hash;
    end if;
    chain_seq := chain_seq + 1;
    chain_hash := ${linkExpression('chain_org', 'chain_seq', 'chain_hash', 'item.leaf')};
    orgs := orgs || chain_org;
    seqs := seqs || chain_seq;
    ids := ids || item.event_id;
    hashes := hashes || chain_hash;
  end loop;

  if cardinality(ids) > 0 then
    insert into audit.seal (org_id, seq, event_id, hash)
      select * from unnest(orgs, seqs, ids, hashes);
    update audit.head h set seq = last.seq, hash = last.hash
      from (select distinct on (u.org_id) u.org_id, u.seq, u.hash
              from unnest(orgs, seqs, hashes) u(org_id, seq, hash) order by u.org_id, u.seq desc) last
     where h.org_id = last.org_id;
  end if;
  return cardinality(free_orgs);
end $$;

-- Seals the organisations of those of the events that are queued, and tells where each went: sealed, or (seq null)
-- committed but its organisation's chain is held. An event without its organisation is looked for in all.
create function audit.seal_pending(wanted uuid[], wanted_orgs uuid[])
returns table (id uuid, org uuid, seq bigint, hash bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} set lock_timeout = '${LOCK_TIMEOUT}' as $$
#variable_conflict use_column
declare
  orgless constant uuid[] := array(
    select w.event_id from unnest(wanted, wanted_orgs) w(event_id, org_id) where w.org_id is null);
  queued_orgs uuid[];
  free integer;
  ignored text;
begin${CHECK_TRANSACTION}
  queued_orgs := array(
    select distinct q.org_id from unnest(wanted, wanted_orgs) w(event_id, org_id)
      join audit.queue q on q.org_id = w.org_id and q.event_id = w.event_id);
  if cardinality(orgless) > 0 then
    queued_orgs := array(
      select unnest(queued_orgs) union select q.org_id from audit.queue q where q.event_id = any (orgless));
  end if;
  free := audit.seal_orgs(queued_orgs);
  if free = 0 and cardinality(queued_orgs) > 0 then
    -- Held by another process that seals, most of the time, and so for milliseconds. Nothing is locked yet.
    begin
      ignored := set_config('lock_timeout', '5ms', true);
      perform from audit.head h where h.org_id = queued_orgs[1] for update;
    exception when lock_not_available then null;
    end;
    ignored := set_config('lock_timeout', '${LOCK_TIMEOUT}', true);
    free := audit.seal_orgs(queued_orgs);
  end if;
  if free < cardinality(queued_orgs) then
    -- Before the chains are looked at: what somebody else seals meanwhile is told twice, and not missed.
    return query
      select q.event_id, q.org_id, null::bigint, null::bytea from audit.queue q
       where q.org_id = any (queued_orgs) and q.event_id = any (wanted);
  end if;
  return query
    select s.event_id, s.org_id, s.seq, s.hash
      from unnest(wanted, wanted_orgs) w(event_id, org_id)
      join audit.seal s on s.org_id = w.org_id and s.event_id = w.event_id;
  if cardinality(orgless) > 0 then
    return query
      select s.event_id, s.org_id, s.seq, s.hash
        from audit.head h
        join audit.seal s on s.org_id = h.org_id and s.event_id = any (orgless);
  end if;
end $$;

-- Seals what is queued of one organisation in which an event has waited for so long, and tells whether there was one whose
-- chain was free. Repeated until there is none, it seals what dead processes left; one transaction takes one chain.
create function audit.seal_next(waited_ms double precision) returns boolean
language plpgsql volatile security definer ${FUNCTION_SETTINGS} set lock_timeout = '${LOCK_TIMEOUT}' as $$
declare
  latest constant timestamptz := clock_timestamp() - waited_ms * interval '1 millisecond';
  queued_org uuid;
  broken text;
begin${CHECK_TRANSACTION}
  for queued_org in
    -- From one organisation to the next by the index, however many events each has.
    with recursive queued(org_id) as (
      (select q.org_id from audit.queue q order by q.org_id limit 1)
      union all
      select (select q.org_id from audit.queue q where q.org_id > o.org_id order by q.org_id limit 1)
        from queued o where o.org_id is not null
    )
    select o.org_id from queued o
     where exists (select from audit.queue q where q.org_id = o.org_id
                      -- The clock may have been set back since.
                      and q.queued_at not between latest and clock_timestamp())
  loop
    begin
      if audit.seal_orgs(array[queued_org]) > 0 then
        return true;
      end if;
    exception when unique_violation then
      -- Of a chain that somebody set back; it must not keep the others from being sealed.
      get stacked diagnostics broken = constraint_name;
    end;
  end loop;
  if broken is not null then
    raise unique_violation using message = 'the end of a chain is not its last link',
      schema = 'audit', table = 'seal', constraint = broken;
  end if;
  return false;
end $$;

-- How much is committed but not sealed, over all organisations, and for how long.
create function audit.pending() returns table (events bigint, oldest_ms double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select count(*), coalesce(extract(epoch from clock_timestamp() - min(q.queued_at)) * 1000, 0)::double precision
    from audit.queue q
$$;
`;
