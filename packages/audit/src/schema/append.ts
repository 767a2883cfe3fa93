/**
 * `audit.append`: the only way to write an event. It takes organisation, actor and request id from the transaction
 * context, splices them around the client's canonical body, and stores the bytes it hashed.
 *
 * Two routes to one chain. When nothing of the organisation waits and its head is free, in READ COMMITTED, the event is
 * sealed in the same transaction. Otherwise it is queued, and `audit.seal_pending` seals it after COMMIT. Neither route
 * waits for a lock.
 */
import { FUNCTION_SETTINGS, type SchemaNames } from './names.ts';

/** DDL of the append function. */
export function appendFunction({ context }: SchemaNames): string {
  return `
create function audit.refuse_body(rule text, problem text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'audit event refused: %', problem using errcode = '22023', schema = 'audit', constraint = rule;
end $$;

create function audit.append(event_id uuid, body text, may_seal boolean)
returns table (org uuid, seq bigint, hash bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} as $$
#variable_conflict use_column
declare
  the_context constant record := ${context};
  the_org constant uuid := the_context.org_id;
  the_actor constant text := the_context.actor;
  the_request constant text := nullif(the_context.request_id, '');
  the_time constant timestamptz := clock_timestamp();
  parsed jsonb;
  the_canon text;
  the_leaf bytea;
  the_seq bigint;
  the_hash bytea;
begin
  if the_org is null or the_actor is null or the_actor = '' then
    raise exception 'the transaction has no organisation or no actor'
      using errcode = '42501', schema = 'audit', constraint = 'audit.no_context';
  end if;
  if event_id is null or body is null then
    perform audit.refuse_body('audit.not_canonical', 'null');
  end if;
  if octet_length(body) > 65536 then
    perform audit.refuse_body('audit.event_too_large', 'larger than 64 KiB');
  end if;
  -- One JSON object, no member twice, nothing before or after it: so it can be spliced as a value and cannot add,
  -- shadow or end a member of the record.
  if not (body is json object with unique keys) or not pg_input_is_valid(body, 'jsonb')
     or left(body, 1) <> '{' or right(body, 1) <> '}' then
    perform audit.refuse_body('audit.not_canonical', 'not one JSON object with unique keys');
  end if;
  parsed := body::jsonb;
  if jsonb_typeof(parsed -> 'type') is distinct from 'string' then
    perform audit.refuse_body('audit.not_canonical', 'no type');
  end if;

  the_canon := '{"actor":' || to_json(the_actor)::text
    || ',"at":"' || to_char(the_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","event":' || body
    || ',"id":"' || event_id::text
    || '","org":"' || the_org::text
    || '","request":' || coalesce(to_json(the_request)::text, 'null')
    || ',"v":1}';
  the_leaf := sha256(decode('00', 'hex') || convert_to(the_canon, 'UTF8'));
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
  values (the_org, event_id, the_time, the_canon, the_leaf, the_actor, parsed ->> 'type',
          (parsed #>> '{target,type}') || ':' || (parsed #>> '{target,id}'));

  if may_seal and current_setting('transaction_isolation') = 'read committed'
     and not exists (select from audit.queue q where q.org_id = the_org) then
    select h.seq + 1, h.hash into the_seq, the_hash
      from audit.head h where h.org_id = the_org for update skip locked;
    if found then
      the_hash := sha256(decode('02', 'hex') || uuid_send(the_org) || int8send(the_seq) || the_hash || the_leaf);
      insert into audit.seal (org_id, seq, event_id, hash) values (the_org, the_seq, event_id, the_hash);
      update audit.head h set seq = the_seq, hash = the_hash where h.org_id = the_org;
      return query select the_org, the_seq, the_hash;
      return;
    end if;
  end if;
  insert into audit.queue (org_id, event_id, queued_at, leaf) values (the_org, event_id, the_time, the_leaf);
  return query select the_org, null::bigint, null::bytea;
end $$;
`;
}
