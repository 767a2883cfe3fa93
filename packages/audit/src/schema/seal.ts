/**
 * `audit.seal_pending`: puts everything that is queued into the chains, of all organisations, in one call.
 *
 * One call at a time (the lock on audit.sealer), heads locked in the order of organisations. A head that a transaction
 * holds is skipped, never waited for, so one slow transaction delays its own organisation only. The call itself must not be
 * part of one: what it locks, it holds until COMMIT, for all organisations (docs/threat-model.md). It needs no context and
 * therefore tells nothing but the fate of event ids that the caller already has.
 */

import { FUNCTION_SETTINGS, linkExpression } from './names.ts';

/** DDL of the sealing functions. */
export const SEALING: string = `
create function audit.seal_pending(wanted uuid[], wanted_orgs uuid[])
returns table (id uuid, org uuid, seq bigint, hash bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
  item record;
  chain_org uuid;
  chain_seq bigint;
  chain_hash bytea;
  orgs uuid[] := '{}';
  seqs bigint[] := '{}';
  ids uuid[] := '{}';
  hashes bytea[] := '{}';
  told bigint;
begin
  -- Each statement below needs a snapshot of its own, taken after the lock.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'sealing needs READ COMMITTED'
      using errcode = '25001', schema = 'audit', constraint = 'audit.sealer_isolation';
  end if;
  lock table audit.sealer in exclusive mode;

  insert into audit.head (org_id)
    select distinct q.org_id from audit.queue q
     where not exists (select from audit.head h where h.org_id = q.org_id);

  for item in
    with free as materialized (
      select h.org_id, h.seq, h.hash from audit.head h
       where h.org_id in (select q.org_id from audit.queue q)
       order by h.org_id for update skip locked
    ), taken as (
      delete from audit.queue q using free f where q.org_id = f.org_id
      returning q.org_id, q.event_id, q.position, q.leaf
    )
    select t.org_id, t.event_id, t.leaf, f.seq, f.hash
      from taken t join free f on f.org_id = t.org_id order by t.org_id, t.position
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

  -- The fate of what was asked for: sealed, or (seq null) committed but its organisation's head was held.
  return query
    select s.event_id, s.org_id, s.seq, s.hash
      from unnest(wanted, wanted_orgs) w(event_id, org_id)
      join audit.seal s on s.org_id = w.org_id and s.event_id = w.event_id;
  get diagnostics told = row_count;
  if told = cardinality(wanted) then
    return;
  end if;
  return query
    select s.event_id, s.org_id, s.seq, s.hash
      from unnest(wanted, wanted_orgs) w(event_id, org_id)
      cross join audit.head h
      join audit.seal s on s.org_id = h.org_id and s.event_id = w.event_id
     where w.org_id is null;
  return query
    select q.event_id, q.org_id, null::bigint, null::bytea from audit.queue q where q.event_id = any (wanted);
end $$;

-- How much is committed but not sealed, over all organisations, and for how long.
create function audit.pending() returns table (events bigint, oldest_ms double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select count(*), coalesce(extract(epoch from clock_timestamp() - min(q.queued_at)) * 1000, 0)::double precision
    from audit.queue q
$$;
`;
