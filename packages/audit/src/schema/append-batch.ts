/**
 * `audit.append_batch`: events of many organisations, actors and requests in one statement and one flush.
 *
 * Whose an event is does not come from an argument. The caller hands over the *settings* that carry each context; the
 * function sets one after the other, as the caller could by itself, and asks the context function. So a signed context is
 * verified here as anywhere: forged or expired, it takes its own events out of the batch and no others. Only settings named
 * `ringfence.…` can be set, and all are empty when the function is done: what follows in the transaction has no context.
 *
 * The heads of the organisations are taken in their order, and skipped while somebody holds them: no wait, so no deadlock.
 */
import { bodyCheck, CLOSING, contextCheck, LEAF, OPENING, TARGET } from './append.ts';
import {
  FIND_FRAME,
  FRAMES,
  KEEP_FRAME,
  MAX_FRAMES,
  TARGET_ID_FROM_END,
  UNUSED_FRAMES,
  WORTH_A_FRAME,
} from './body-frame.ts';
import { FUNCTION_SETTINGS, linkExpression, type SchemaNames } from './names.ts';

/** Events of one batch at most, which bounds how long its transaction holds the chains. */
export const MAX_BATCH_EVENTS = 500;

/** What is said of arguments that are no batch. */
const SHAPE = `'a batch has 1 to ${MAX_BATCH_EVENTS} ids, as many bodies and contexts, and settings named ringfence.…'`;

/** DDL of the batch function. Needs `audit.append`. */
export function appendBatchFunction({ context }: SchemaNames): string {
  return `
create function audit.append_batch(
  event_ids uuid[], bodies text[], context_of integer[], setting_names text[], setting_values text[], may_seal boolean)
returns table (place bigint, org uuid, seq bigint, hash bytea, refused text)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} as $$
#variable_conflict use_column
declare
  size constant integer := cardinality(event_ids);
  settings constant integer := cardinality(setting_names);
  contexts constant integer := cardinality(setting_values) / nullif(settings, 0);
  the_time constant timestamptz := clock_timestamp();
  the_context record;
  the_org uuid;
  the_actor text;
  the_request text;
  rule text;
  problem text;
  ignored text;
  known_orgs uuid[] := '{}';
  known_actors text[] := '{}';
  openings text[] := '{}';
  closings text[] := '{}';
  known_rules text[] := '{}';
  whose integer;
  event_id uuid;
  body text;
  parsed jsonb;
  the_action text;
  the_target text;${FRAMES}
  the_canon text;
  orgs uuid[] := '{}';
  actors text[] := '{}';
  canons text[] := '{}';
  leaves bytea[] := '{}';
  actions text[] := '{}';
  targets text[] := '{}';
  rules text[] := '{}';
  seqs bigint[];
  hashes bytea[];
  item record;
  chains integer := 0;
  chain_orgs uuid[] := '{}';
  chain_seqs bigint[] := '{}';
  chain_hashes bytea[] := '{}';
  the_seq bigint;
  the_hash bytea;
begin
  if size is null or size not between 1 and ${MAX_BATCH_EVENTS}
     or array_lower(event_ids, 1) <> 1 -- else an id read by its number is not the one that unnest gives with it
     or array_ndims(context_of) <> 1 or array_lower(context_of, 1) <> 1 -- else the context of an event is none
     or size is distinct from cardinality(bodies) or size is distinct from cardinality(context_of)
     or contexts is null or contexts not between 1 and size or contexts * settings <> cardinality(setting_values)
     or (settings <= 8 and 1 <= all (context_of) and contexts >= all (context_of)) is not true then
    perform audit.refuse_body('audit.not_canonical', ${SHAPE});
  end if;
  for s in 1 .. settings loop
    if (setting_names[s] ~ '^ringfence[.][a-z_]+$') is not true then
      perform audit.refuse_body('audit.not_canonical', ${SHAPE});
    end if;
  end loop;

  for c in 1 .. contexts loop
    for s in 1 .. settings loop
      ignored := set_config(setting_names[s], coalesce(setting_values[(c - 1) * settings + s], ''), true);
    end loop;
    begin
      the_context := ${context};
      the_org := the_context.org_id;
      the_actor := the_context.actor;
      the_request := nullif(the_context.request_id, '');${contextCheck()}
    exception when insufficient_privilege or data_exception then
      get stacked diagnostics rule = constraint_name;
      rule := coalesce(nullif(rule, ''), 'audit.no_context');
    end;
    known_rules[c] := rule;
    known_orgs[c] := case when rule is null then the_org end;
    known_actors[c] := the_actor;
    openings[c] := ${OPENING};
    closings[c] := ${CLOSING};
  end loop;
  for s in 1 .. settings loop
    ignored := set_config(setting_names[s], '', true);
  end loop;

  for i in 1 .. size loop
    whose := context_of[i];
    rule := known_rules[whose];
    event_id := event_ids[i];
    body := bodies[i];
    the_action := null;
    the_target := null;
    if rule is null then
      kind := null;
      if octet_length(body) <= 65536 and event_id is not null then${FIND_FRAME}
      end if;
      if kind is not null then
        framed := framed + 1;
        the_action := frame_actions[kind];
        the_target := frame_targets[kind] || split_part(body, '"', -${TARGET_ID_FROM_END});
      else${bodyCheck(true)}
        the_action := parsed ->> 'type';
        the_target := ${TARGET};
        if rule is null and size - i >= ${WORTH_A_FRAME} and frames < least(${MAX_FRAMES}, framed + ${UNUSED_FRAMES}) then${KEEP_FRAME}
        end if;
      end if;
    end if;
    the_canon := case when rule is null
      then openings[whose] || body || ',"id":"' || event_id::text || closings[whose] end;
    -- Every array gets an element for every event: one that began later would stand beside the wrong ones.
    rules[i] := rule;
    actions[i] := the_action;
    targets[i] := the_target;
    orgs[i] := case when rule is null then known_orgs[whose] end;
    actors[i] := known_actors[whose];
    canons[i] := the_canon;
    leaves[i] := ${LEAF};
  end loop;
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
    select e.org, e.id, the_time, e.canon, e.leaf, e.actor, e.action, e.target
      from unnest(orgs, event_ids, canons, leaves, actors, actions, targets) e(org, id, canon, leaf, actor, action, target)
     where e.org is not null;

  seqs := array_fill(null::bigint, array[size]);
  hashes := array_fill(null::bytea, array[size]);
  if may_seal and current_setting('transaction_isolation') = 'read committed' then
    for item in
      with free as materialized (
        select h.org_id, h.seq, h.hash from audit.head h
         where h.org_id = any (known_orgs) and not exists (select from audit.queue q where q.org_id = h.org_id)
         order by h.org_id for update skip locked
      )
      select e.place, e.org, e.leaf, f.seq, f.hash
        from free f join unnest(orgs, leaves) with ordinality e(org, leaf, place) on e.org = f.org_id
       order by f.org_id, e.place
    loop
      if chains = 0 or chain_orgs[chains] <> item.org then
        chains := chains + 1;
        chain_orgs[chains] := item.org;
        the_seq := item.seq;
        the_hash := item.hash;
      end if;
      the_seq := the_seq + 1;
      the_hash := ${linkExpression('item.org', 'the_seq', 'the_hash', 'item.leaf')};
      seqs[item.place] := the_seq;
      hashes[item.place] := the_hash;
      chain_seqs[chains] := the_seq;
      chain_hashes[chains] := the_hash;
    end loop;
    if chains > 0 then
      insert into audit.seal (org_id, seq, event_id, hash)
        select e.org, e.seq, e.id, e.hash from unnest(orgs, seqs, event_ids, hashes) e(org, seq, id, hash)
         where e.seq is not null;
      update audit.head h set seq = e.seq, hash = e.hash
        from unnest(chain_orgs, chain_seqs, chain_hashes) e(org, seq, hash) where h.org_id = e.org;
    end if;
  end if;
  if array_position(seqs, null) is not null then
    insert into audit.queue (org_id, event_id, queued_at, leaf)
      select e.org, e.id, the_time, e.leaf
        from unnest(orgs, event_ids, leaves, seqs) with ordinality e(org, id, leaf, seq, place)
       where e.org is not null and e.seq is null order by e.place;
  end if;
  return query select e.place, e.org, e.seq, e.hash, e.refused
    from unnest(orgs, seqs, hashes, rules) with ordinality e(org, seq, hash, refused, place);
end $$;
`;
}
