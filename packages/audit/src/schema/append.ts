/**
 * `audit.append`: the way to write one event, in the transaction of the change it tells of. It takes organisation, actor and
 * request id from the transaction context, splices them around the client's canonical body, and stores the bytes it hashed.
 *
 * Two routes to one chain. When nothing of the organisation waits and its head is free, in READ COMMITTED, the event is
 * sealed in the same transaction. Otherwise it is queued, and `audit.seal_pending` seals it after COMMIT. Neither route
 * waits for a lock.
 */
import { FUNCTION_SETTINGS, linkExpression, type SchemaNames } from './names.ts';

/** Largest canonical body, bytes of UTF-8; that of the client (src/event-body.ts). */
const MAX_BODY_BYTES = 65_536;

/** Statements that put into `rule` and `problem` why a context cannot be recorded under; null when it can. */
export function contextCheck(org = 'the_org', actor = 'the_actor', request = 'the_request'): string {
  return `
  rule := null;
  if ${org} is null or ${actor} is null or ${actor} = '' then
    rule := 'audit.no_context';
  -- A record of this size stays one line of an export.
  elsif char_length(${actor}) > 1000 or char_length(${request}) > 1000 then
    rule := 'audit.event_too_large';
    problem := 'actor or request of more than 1000 characters';
  end if;`;
}

/**
 * Statements that refuse a context, and a body of more bytes than any has, before anything is made of them. One expression tells that
 * all is well: each that PL/pgSQL prepares, in every transaction anew, costs more than to compute it.
 */
export function refuseContext(): string {
  return `
  if org is null or (the_context.actor <> '') is not true
     or greatest(octet_length(the_context.actor), octet_length(the_context.request_id)) > 1000
     or octet_length(body) > ${MAX_BODY_BYTES} then${contextCheck('org', 'the_context.actor', 'the_context.request_id').replaceAll('\n', '\n  ')}
    if rule is null and octet_length(body) > ${MAX_BODY_BYTES} then
      rule := 'audit.event_too_large';
      problem := 'larger than 64 KiB';
    end if;
    if rule is not null then
      perform audit.refuse_body(rule, problem);
    end if;
  end if;`;
}

/** Expression of the record of `body` under `the_context`. */
export const RECORD = `format('{"actor":%s,"at":"%s","event":%s,"id":"%s","org":"%s","request":%s,"v":1}', to_json(the_context.actor),
    to_char(the_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), body, event_id, the_context.org_id,
    coalesce(to_json(nullif(the_context.request_id, ''))::text, 'null'))`;

/** Expression: the type of an event is one that only functions of this schema record. */
export function reservedType(event: string): string {
  return `${event} ->> 'type' in ('subject.erased', 'log.pruned') or ${event} ->> 'type' like 'row.%'`;
}

/**
 * Statements that read `body` into `parsed`, and put into `rule` and `problem` why it cannot be recorded; null when it can.
 * It is spliced as a value, so it must not add, shadow or end a member of the record. `reserved` is what other functions of
 * this schema record: said by the app it would pass for theirs.
 */
export function bodyCheck(reserved: boolean): string {
  return `
  rule := null;
  parsed := null;
  if event_id is null or body is null then
    rule := 'audit.not_canonical';
    problem := 'null';
  elsif octet_length(body) > ${MAX_BODY_BYTES} then
    rule := 'audit.event_too_large';
    problem := 'larger than 64 KiB';
  else
    parsed := audit.read_body(body);
    if parsed is null then
      rule := 'audit.not_canonical';
      problem := 'not the canonical form of one JSON object';
    elsif jsonb_typeof(parsed -> 'type') is distinct from 'string'
       or parsed ? 'target' and (jsonb_typeof(parsed #> '{target,type}') is distinct from 'string'
         or jsonb_typeof(parsed #> '{target,id}') is distinct from 'string') then
      rule := 'audit.not_canonical';
      problem := 'no type, or a target without type and id';${
        reserved
          ? `
    elsif ${reservedType('parsed')} or parsed ? 'personal' then
      rule := 'audit.not_canonical';
      problem := 'reserved: erasures, prunings, row changes and personal values have functions of their own';`
          : ''
      }
    end if;
  end if;`;
}

/** Expression of the beginning of a record, up to the body. */
export function openingOf(actor: string, time: string): string {
  return `'{"actor":' || to_json(${actor})::text
    || ',"at":"' || to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","event":'`;
}
/** That of the event which is recorded. */
export const OPENING: string = openingOf('the_actor', 'the_time');
/** Expression of the end of a record, behind the event's id. */
export const CLOSING = `'","org":"' || the_org::text
    || '","request":' || coalesce(to_json(the_request)::text, 'null') || ',"v":1}'`;
/** Expression of the leaf of a record. */
export const LEAF = `sha256(decode('00', 'hex') || convert_to(the_canon, 'UTF8'))`;
/** Expression of the column that repeats the target. */
export const TARGET = `(parsed #>> '{target,type}') || ':' || (parsed #>> '{target,id}')`;

/**
 * Statements that seal the event in this transaction, where that waits for nobody, or queue it; they put its place into `seq` and
 * `hash`.
 */
export function sealOrQueue(): string {
  return `
  if may_seal then -- alone, because the next has a query
    if current_setting('transaction_isolation') = 'read committed'
       and not exists (select from audit.queue q where q.org_id = org) then
      select h.seq + 1, h.hash into the_seq, the_hash from audit.head h where h.org_id = org for update skip locked;
    end if;
  end if;
  if the_seq is null then
    insert into audit.queue (org_id, event_id, queued_at, leaf) values (org, event_id, the_time, the_leaf);
  else
    the_hash := ${linkExpression('org', 'the_seq', 'the_hash', 'the_leaf')};
    insert into audit.seal (org_id, seq, event_id, hash) values (org, the_seq, event_id, the_hash);
    update audit.head h set seq = the_seq, hash = the_hash where h.org_id = org;
    seq := the_seq;
    hash := the_hash;
  end if;`;
}

/** Declarations of what the parts above put into variables, for a function that appends one event. */
export const EVENT_VARIABLES = `  the_canon text;
  the_leaf bytea;
  the_seq bigint;
  the_hash bytea;
  rule text;
  problem text;
  parsed jsonb;`;

/** The function that appends one event. */
function appendOne(context: string, name: string, reserved: boolean): string {
  return `
create function audit.${name}(event_id uuid, body text, may_seal boolean, out org uuid, out seq bigint, out hash bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} as $$
#variable_conflict use_column
declare
  the_context constant record := ${context};
  the_time constant timestamptz := clock_timestamp();
${EVENT_VARIABLES}
begin
  org := the_context.org_id;${refuseContext()}${bodyCheck(reserved)}
  if rule is not null then
    perform audit.refuse_body(rule, problem);
  end if;
  the_canon := ${RECORD};
  the_leaf := ${LEAF};
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
  values (org, event_id, the_time, the_canon, the_leaf, the_context.actor, parsed ->> 'type', ${TARGET});
${sealOrQueue()}
end $$;`;
}

/** DDL of the append functions. Needs `audit.read_body`. */
export function appendFunctions({ context }: SchemaNames): string {
  return `
create function audit.refuse_body(rule text, problem text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if rule = 'audit.no_context' then
    raise exception 'the transaction has no organisation or no actor'
      using errcode = '42501', schema = 'audit', constraint = rule;
  end if;
  raise exception 'audit event refused: %', problem using errcode = '22023', schema = 'audit', constraint = rule;
end $$;

${appendOne(context, 'append', true)}
-- For functions of this schema, which check their own events: nobody else may call it.
${appendOne(context, 'append_unchecked', false)}
`;
}
