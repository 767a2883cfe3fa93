/**
 * `audit.capture_row`: the trigger function behind `/capture`. A change of a row becomes an event in the chain of the row's
 * organisation, whoever made it and by whatever client.
 *
 * The event is queued, never sealed here: a row changes in the middle of a transaction, and the chain of its organisation
 * must not be held until COMMIT. Invariant: a change that cannot be recorded does not happen.
 */
import type { SchemaNames } from './names.ts';

/** Whatever the session says, a value has one text. */
const SETTINGS = `set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C'`;

/** DDL of the trigger function and of what it calls. */
export function captureFunctions({ context }: SchemaNames): string {
  return `
create function audit.refuse_capture(problem text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'change refused, since it cannot be recorded: %', problem
    using errcode = '42501', schema = 'audit', constraint = 'audit.uncaptured';
end $$;

-- The record of docs/formats/audit-chain-v1.md section 2. Nobody but the owner may call it: its arguments say who acts.
create function audit.append_row(the_org uuid, the_actor text, the_request text, body text, target text) returns void
language plpgsql volatile security definer ${SETTINGS} as $$
declare
  the_time constant timestamptz := clock_timestamp();
  -- UUIDv7 (RFC 9562 section 5.7): 48 bits of time, version, random.
  the_id constant uuid := encode(set_byte(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from the_time) * 1000)::bigint) from 3) from 1), 6,
    112 | (get_byte(uuid_send(gen_random_uuid()), 6) & 15)), 'hex')::uuid;
  the_canon text;
  the_leaf bytea;
begin
  the_canon := '{"actor":' || to_json(the_actor)::text
    || ',"at":"' || to_char(the_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","event":' || body
    || ',"id":"' || the_id::text
    || '","org":"' || the_org::text
    || '","request":' || coalesce(to_json(the_request)::text, 'null')
    || ',"v":1}';
  the_leaf := sha256(decode('00', 'hex') || convert_to(the_canon, 'UTF8'));
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
  values (the_org, the_id, the_time, the_canon, the_leaf, the_actor, body::jsonb ->> 'type', target);
  insert into audit.queue (org_id, event_id, queued_at, leaf) values (the_org, the_id, the_time, the_leaf);
end $$;

create function audit.capture_row() returns trigger
language plpgsql volatile security definer ${SETTINGS} as $$
declare
  the_type constant text := 'row.' || case tg_op when 'INSERT' then 'inserted' when 'UPDATE' then 'updated' else 'deleted' end;
  settings jsonb;
  before jsonb;
  after jsonb;
  the_org text;
  ctx record;
  known boolean;
  the_actor text := 'db:' || session_user;
  the_request text;
  the_id text;
  changes jsonb;
  redacted jsonb;
  the_data jsonb;
  the_target jsonb;
  body text;
begin
  if tg_op = 'TRUNCATE' then
    perform audit.refuse_capture('TRUNCATE tells nobody which rows of which organisations it removes');
  end if;
  settings := tg_argv[0]::jsonb;
  if tg_op <> 'INSERT' then before := to_jsonb(old); end if;
  if tg_op <> 'DELETE' then after := to_jsonb(new); end if;

  -- A column that was renamed would be recorded in clear, and for ever.
  if exists (select from jsonb_array_elements_text((settings -> 'exclude') || (settings -> 'redact')) named(name)
              where not coalesce(before, after) ? named.name) then
    perform audit.refuse_capture('a column to exclude or redact is not in the table: generate the trigger anew');
  end if;

  the_org := coalesce(before, after) ->> (settings ->> 'org');
  if the_org is null or the_org !~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' then
    perform audit.refuse_capture('the row belongs to no organisation');
  end if;
  if tg_op = 'UPDATE' and after ->> (settings ->> 'org') is distinct from the_org then
    perform audit.refuse_capture('a row does not change its organisation');
  end if;

  select coalesce(jsonb_object_agg(c.name, c.change) filter (where not c.hidden), '{}'),
         coalesce(jsonb_agg(c.name order by c.name collate "C") filter (where c.hidden), '[]')
    into changes, redacted
    from (select k.name, (settings -> 'redact') ? k.name as hidden,
                 case tg_op when 'INSERT' then jsonb_build_object('to', after -> k.name)
                            when 'DELETE' then jsonb_build_object('from', before -> k.name)
                            else jsonb_build_object('from', before -> k.name, 'to', after -> k.name) end as change
            from jsonb_object_keys(coalesce(before, after)) k(name)
           where not (settings -> 'exclude') ? k.name
             -- By text: jsonb takes 1.0 for 1.00, a reader of the table does not.
             and (tg_op <> 'UPDATE' or (before -> k.name)::text is distinct from (after -> k.name)::text)) c;
  if tg_op = 'UPDATE' and changes = '{}' and redacted = '[]' then
    return null;
  end if;

  begin
    ctx := ${context};
    known := ctx.org_id is not null and ctx.actor <> '';
  exception when insufficient_privilege then
    if settings ->> 'without_context' <> 'record' then raise; end if;
  end;
  if known then
    if ctx.org_id <> the_org::uuid then
      perform audit.refuse_capture('the row belongs to another organisation than the context');
    end if;
    the_actor := ctx.actor;
    the_request := nullif(ctx.request_id, '');
    if char_length(the_actor) > 1000 or char_length(the_request) > 1000 then
      perform audit.refuse_capture('actor or request of more than 1000 characters');
    end if;
  elsif settings ->> 'without_context' <> 'record' then
    raise exception 'the transaction has no organisation or no actor'
      using errcode = '42501', schema = 'audit', constraint = 'audit.no_context';
  end if;

  select string_agg(coalesce(before, after) ->> i.name, ',' order by i.place) into the_id
    from jsonb_array_elements_text(settings -> 'id') with ordinality i(name, place);
  if the_id is null or the_id = '' then
    perform audit.refuse_capture('the row has no id');
  end if;
  if char_length(the_id) > 200 then
    the_id := 'sha256:' || encode(sha256(convert_to(the_id, 'UTF8')), 'hex');
  end if;
  the_target := jsonb_build_object('id', the_id, 'type', settings ->> 'target');
  the_data := jsonb_build_object('session_user', session_user::text, 'table', tg_table_schema || '.' || tg_table_name);
  if redacted <> '[]' then
    the_data := the_data || jsonb_build_object('redacted', redacted);
  end if;
  body := audit.canonical_json(jsonb_build_object('changes', changes, 'data', the_data, 'outcome', 'success',
    'target', the_target, 'type', the_type));
  if octet_length(body) > 65536 then
    the_data := the_data || jsonb_build_object('changes_bytes', octet_length(audit.canonical_json(changes)),
      'changes_sha256', encode(sha256(convert_to(audit.canonical_json(changes), 'UTF8')), 'hex'));
    body := audit.canonical_json(jsonb_build_object('data', the_data, 'outcome', 'success', 'target', the_target,
      'type', the_type));
  end if;
  perform audit.append_row(the_org::uuid, the_actor, the_request, body, (settings ->> 'target') || ':' || the_id);
  return null;
end $$;
`;
}
