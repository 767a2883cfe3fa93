/**
 * Retention: `audit.prune` takes the content of the oldest events out of the database, and keeps the leaf of each. So every link,
 * checkpoint and proof still verifies; and an event in the chain says up to where content was taken out, by whom and under
 * which policy. A record that is gone without such an event is "deleted" to every verifier.
 *
 * What may be pruned is decided here, under the lock on the chain's end, not by the caller: only a beginning of the chain that
 * verifies, lies under a signed checkpoint and in every write-once copy, and is older than the days fixed in the migration.
 */
import { contextCheck, openingOf } from './append.ts';
import { linkExpression, type SchemaNames } from './names.ts';

/** Events that one call prunes at most: its transaction holds the end of the chain. */
export const MAX_PRUNED_EVENTS = 10_000;

/** DDL of the table of kept leaves. Needed by the guards of the log. */
export const PRUNED = `
-- What is left of events whose content was pruned.
create table audit.pruned (
  org_id uuid not null,
  seq bigint not null,
  event_id uuid not null,
  leaf bytea not null,
  constraint pruned_pkey primary key (org_id, seq),
  constraint pruned_event unique (org_id, event_id),
  constraint pruned_leaf check (octet_length(leaf) = 32)
);
`;

/** Guards, row-level security and grants of the table. Needs `audit.refuse_change`. */
export function prunedAccess({ app, auditor, checkpointer, copier, org }: SchemaNames): string {
  const own = `org_id = (select ${org})`;
  const readers = [auditor, checkpointer, copier].filter((role) => role !== undefined);
  return `
create trigger refuse_row_change before update or delete on audit.pruned
  for each row execute function audit.refuse_change();
create trigger refuse_change before update or delete or truncate on audit.pruned
  for each statement execute function audit.refuse_change();
alter table audit.pruned enable always trigger refuse_row_change;
alter table audit.pruned enable always trigger refuse_change;
alter table audit.pruned enable row level security;
alter table audit.pruned force row level security;
revoke all on audit.pruned from public, ${app};
create policy read_own_org on audit.pruned for select to ${app} using (${own});
create policy owner_reads_own_org on audit.pruned for select to current_user using (${own});
grant select on audit.pruned to ${app};
${readers
  .map(
    (role) => `
create policy read_every_org_${role.replaceAll('"', '')} on audit.pruned for select to ${role} using (true);
grant select on audit.pruned to ${role};`,
  )
  .join('')}`;
}

/** DDL of the function; nothing where nobody prunes. Needs all other tables and `audit.append_unchecked`. */
export function pruning({ context, org, retention }: SchemaNames): string {
  if (retention === undefined) return '';
  const own = `org_id = (select ${org})`;
  return `
grant usage on schema audit to ${retention.role};
create policy keep_leaf on audit.pruned for insert to current_user with check (${own});
create policy prune on audit.event for delete to current_user using (${own});
create policy prune on audit.personal for delete to current_user using (${own});
create policy owner_reads_own_org on audit.checkpoint for select to current_user using (${own});
create policy owner_reads_own_org on audit.copy for select to current_user using (${own});

-- The key of audit.event does not know the ids of pruned events any more. Another record under such an id could not be
-- sealed, and would stop the chain; links are for ever, so here no pruning is too quick to be seen.
create function audit.is_new(org uuid, event uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from audit.seal s where s.org_id = org and s.event_id = event) then
    raise unique_violation using message = 'an event of this id was sealed before',
      schema = 'audit', table = 'event', constraint = 'event_pkey';
  end if;
  return true;
end $$;
create policy once on audit.event as restrictive for insert to current_user with check (audit.is_new(org_id, id));

create function audit.prune(event_id uuid, before timestamp with time zone, policy text)
returns table (event uuid, org uuid, seq bigint, hash bytea, through bigint, removed bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
  the_context constant record := ${context};
  the_org constant uuid := the_context.org_id;
  the_actor constant text := the_context.actor;
  the_request constant text := nullif(the_context.request_id, '');
  rule text;
  problem text;
  first_seq bigint;
  last_seq bigint;
  signed bigint;
  copied bigint;
  younger bigint;
  the_hash bytea;
  sound bigint;
  gone bigint;
  ignored text;
begin${contextCheck()}
  if rule is null and (event_id is null or policy is null or policy = '' or char_length(policy) > 200) then
    rule := 'audit.not_canonical';
    problem := 'a pruning names its policy in 1 to 200 characters';
  end if;
  if rule is not null then
    perform audit.refuse_body(rule, problem);
  end if;
  -- In hours: how long a day is would be for the caller's time zone to say.
  if before is null or not before <= clock_timestamp() - interval '${24 * retention.afterDays} hours' then
    raise exception 'events are kept for ${retention.afterDays} days'
      using errcode = '42501', schema = 'audit', constraint = 'audit.not_prunable';
  end if;

  -- One pruning of an organisation at a time; the chain does not move meanwhile.
  perform from audit.head h where h.org_id = the_org for update;
  select coalesce(max(p.seq), 0) + 1 into first_seq from audit.pruned p where p.org_id = the_org;
  select max(c.size) into signed
    from audit.checkpoint c join audit.seal s on s.org_id = c.org_id and s.seq = c.size and s.hash = c.link
   where c.org_id = the_org;
  -- A store in which a copy has only begun holds nothing yet.
  select min(k.upto) into copied
    from (select coalesce(max(c.upto) filter (where c.kind = 'checkpoint'), 0) as upto from audit.copy c
           where c.org_id = the_org and c.kind <> 'tile' group by c.store) k;
  last_seq := case when signed is null or copied is null then 0
    else least(signed, copied, first_seq + ${MAX_PRUNED_EVENTS - 1}) end;
  select s.seq - 1 into younger
    from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
   where s.org_id = the_org and s.seq between first_seq and last_seq and e.at >= before order by s.seq limit 1;
  last_seq := least(last_seq, younger);
  if last_seq < first_seq then
    return query select null::uuid, the_org, null::bigint, null::bytea, first_seq - 1, 0::bigint;
    return;
  end if;

  -- The time too: the column decided what is young, and is in no hash.
  select count(*) filter (where l.leaf = sha256(decode('00', 'hex') || convert_to(l.canon, 'UTF8'))
                            and l.hash = ${linkExpression('the_org', 'l.seq', 'l.previous', 'l.leaf')}
                            and starts_with(l.canon, ${openingOf('l.actor', 'l.at')}))
    into sound
    from (select s.seq, s.hash, e.leaf, e.canon, e.actor, e.at, coalesce(lag(s.hash) over (order by s.seq), decode(repeat('00', 32), 'hex')) as previous
            from audit.seal s left join audit.event e on e.org_id = s.org_id and e.id = s.event_id
           where s.org_id = the_org and s.seq between first_seq - 1 and last_seq) l
   where l.seq >= first_seq;
  if sound <> last_seq - first_seq + 1 then
    raise exception 'the links % to % do not verify', first_seq, last_seq
      using errcode = '55000', schema = 'audit', constraint = 'audit.history_changed';
  end if;

  the_hash := (select s.hash from audit.seal s where s.org_id = the_org and s.seq = last_seq);
  insert into audit.pruned (org_id, seq, event_id, leaf)
    select s.org_id, s.seq, s.event_id, e.leaf
      from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
     where s.org_id = the_org and s.seq between first_seq and last_seq;
  delete from audit.personal v using audit.pruned p
   where p.org_id = the_org and p.seq between first_seq and last_seq and v.org_id = the_org and v.event_id = p.event_id;
  ignored := set_config('ringfence.pruning', 'on', true);
  delete from audit.event e using audit.pruned p
   where p.org_id = the_org and p.seq between first_seq and last_seq and e.org_id = the_org and e.id = p.event_id;
  get diagnostics gone = row_count;
  ignored := set_config('ringfence.pruning', '', true);
  perform audit.append_unchecked(
    event_id,
    '{"data":{"hash":"' || encode(the_hash, 'hex') || '","policy":' || to_json(policy)::text || ',"through":' || last_seq
      || '},"outcome":"success","type":"log.pruned"}',
    false);
  -- Behind whatever waits, and in this transaction: until the chain tells of it, what is gone counts as deleted.
  perform audit.seal_orgs(array[the_org]);
  return query select s.event_id, s.org_id, s.seq, s.hash, last_seq, gone
    from audit.seal s where s.org_id = the_org and s.event_id = prune.event_id;
end $$;
`;
}
