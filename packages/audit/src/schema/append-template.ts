/**
 * `audit.append_from_template`: appends an event of a kind that the gate has accepted before, without reading its body again.
 *
 * A template is a body with numbered holes for its strings that are no names, and behind these for its integers. That the gate
 * (src/schema/body.ts) has accepted a body of this template is what a MAC says, under a key that only the owner of the schema reads. So
 * the database keeps nothing of what was recorded, neither a text nor a digest, and nothing that a caller could fill.
 *
 * Why a body from a template with its MAC is canonical: it has the names, literals, punctuation and nesting of one that is. What stands in
 * a string has no quote, backslash or control character, so it is its own encoding. What stands for a number was read as one and is
 * written by PostgreSQL: a safe integer. The type, and the target's type, have no holes: what was checked of them holds.
 *
 * Where template, MAC and values do not fit, the body is made all the same and the gate decides, as for `audit.append`.
 */
import { bodyCheck, EVENT_VARIABLES, LEAF, RECORD, refuseContext, sealOrQueue, TARGET } from './append.ts';
import { FUNCTION_SETTINGS, type SchemaNames } from './names.ts';

/** Holes of a template at most. */
export const MAX_HOLES = 250;

/**
 * Expression of the MAC. The numbers and the flag come first and have no space, so no part can be taken for another.
 *
 * Escaping adds to the strings two quotes, a byte for each quote between two of them and each backslash, and one or more for each
 * control character. Both numbers are in the MAC: with as many strings, and no more escapes than these have quotes between them,
 * there is nothing else to escape.
 */
function macOf(escapes: string, strings: string, targeted: string, template: string): string {
  const text = `format('%s %s %s %s', ${escapes}, ${strings}, ${targeted}, ${template})`;
  return `sha256(k.outer_key || sha256(k.inner_key || convert_to(${text}, 'UTF8')))`;
}

/** DDL of templates, and of the function that appends from them. Needs `audit.read_body`. */
export function appendFromTemplate({ app, context }: SchemaNames): string {
  const presented = macOf(
    'octet_length(to_json(strings)::text) - octet_length(strings)',
    'cardinality(the_strings)',
    'targeted',
    'template',
  );
  // Of a template that was made of an accepted body.
  const issued = macOf('t.strings + 1', 't.strings', 't.targeted', 't.template');
  return `
-- Two keys, each a block of SHA-256: NMAC (Bellare, Canetti and Krawczyk 1996). Who reads them brings bodies past the gate.
create table audit.template_key (
  inner_key bytea not null,
  outer_key bytea not null,
  constraint template_key_size check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
revoke all on audit.template_key from public, ${app};
insert into audit.template_key (inner_key, outer_key)
  select k.half[1] || k.half[2], k.half[3] || k.half[4]
    from (select array_agg(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))) as half
            from generate_series(1, 4)) k;

-- The template of a body that audit.read_body accepted, with what it answered; null where it has none.
create function audit.template_of(body text, parsed jsonb, out template text, out strings integer, out targeted boolean)
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  has_target constant boolean := parsed ? 'target';
  ending constant text := case when has_target
    then '"target":{"id":' || (parsed #> '{target,id}')::text || ',"type":' || (parsed #> '{target,type}')::text || '},' else '' end
    || '"type":' || (parsed -> 'type')::text || '}';
  pieces text[] := string_to_array(body, '"');
  -- Behind it are the types.
  last_gap constant integer := cardinality(pieces) - case when has_target then 8 else 1 end;
  gap text collate "C";
  integer_gaps integer[] := '{}';
begin
  -- In a template a percent sign begins a hole.
  if strpos(body, E'\\\\') > 0 or right(body, char_length(ending)) <> ending or strpos(parsed ->> 'type', '%') > 0
     or strpos(coalesce(parsed #>> '{target,type}', ''), '%') > 0 then
    return;
  end if;
  strings := 0;
  for place in 3 .. last_gap by 2 loop
    gap := pieces[place];
    if not starts_with(gap, ':') then
      strings := strings + 1;
      pieces[place - 1] := '%' || strings || '$s';
    elsif strpos(pieces[place - 1], '%') > 0 then
      return;
    elsif gap ~ '^:(0|-?[1-9][0-9]{0,14})[],}]+$' then
      integer_gaps := integer_gaps || place;
    end if;
  end loop;
  if strings = 0 or strings + cardinality(integer_gaps) > ${MAX_HOLES} then
    return;
  end if;
  for n in 1 .. cardinality(integer_gaps) loop
    pieces[integer_gaps[n]] := ':%' || strings + n || '$s' || ltrim(pieces[integer_gaps[n]], ':-0123456789');
  end loop;
  targeted := has_target;
  template := array_to_string(pieces, '"');
end $$;

create function audit.append_from_template(event_id uuid, template text, mac bytea, targeted boolean, strings text,
  integers bigint[], may_seal boolean, out org uuid, out seq bigint, out hash bytea, out template_mac bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} as $$
#variable_conflict use_column
declare
  the_context constant record := ${context};
  the_time constant timestamptz := clock_timestamp();
  the_strings constant text[] := string_to_array(strings, '"');
  body constant text := format(template, variadic the_strings || integers::text[]);
${EVENT_VARIABLES}
begin
  org := the_context.org_id;${refuseContext()}
  the_canon := ${RECORD};
  the_leaf := ${LEAF};
  insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
    select org, event_id, the_time, the_canon, the_leaf, the_context.actor, split_part(template, '"', -2),
           case when targeted then split_part(template, '"', -6) || ':' || the_strings[cardinality(the_strings)] end
      from audit.template_key k
     where mac = ${presented}
       and -9007199254740991 <= all (integers) and 9007199254740991 >= all (integers)
       and event_id is not null;
  if not found then${bodyCheck(true)}
    if rule is not null then
      perform audit.refuse_body(rule, problem);
    end if;
    insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
      values (org, event_id, the_time, the_canon, the_leaf, the_context.actor, parsed ->> 'type', ${TARGET});
    select ${issued} into template_mac
      from audit.template_of(body, parsed) t, audit.template_key k
     where t.template = append_from_template.template and t.targeted = append_from_template.targeted;
  end if;
${sealOrQueue()}
end $$;
`;
}
