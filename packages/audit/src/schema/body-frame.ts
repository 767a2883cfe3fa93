/**
 * `audit.body_frame`: what bodies of one kind have in common. Within one batch, a body that differs from one the gate
 * (src/schema/body.ts) has just accepted only inside of its strings is accepted without being read again.
 *
 * The frame is a LIKE pattern: the accepted text with a wildcard for each string that is no name. A text that matches it, and
 * has not one quote, backslash or control character more than the quotes of the frame, has every quote where the frame has
 * its own. So it has the same names, numbers, literals and punctuation, and strings that are their own encoding: it is canonical
 * because the first was. `to_json` counts all three at once, since it adds at least a byte to each.
 *
 * The type, and the target's type, stay as they are: what the batch has checked of them holds for the next as well.
 */

/** Frames of one batch at most; a batch of more kinds reads the rest of them one by one. */
export const MAX_FRAMES = 8;

/**
 * Frames of one batch at most beyond the events that had one: a number is part of its frame, so bodies that count something
 * have each a frame of their own, and making and trying eight of them costs more than reading the bodies.
 */
export const UNUSED_FRAMES = 2;

/** Events that must be to come in a batch for a frame to be made: with fewer it costs more than it saves. */
export const WORTH_A_FRAME = 4;

/** Strings of a framed body at most: LIKE recurses once for each wildcard. */
const MAX_STRINGS = 250;

/** Condition that `body` has the frame `pattern`; `quotes` is what `QUOTES_OF` gave for the body it was made of. */
export function hasFrame(pattern: string, quotes: string): string {
  return `body collate "C" like ${pattern} and ${QUOTES_OF} = ${quotes}`;
}

/** Expression: quotes, backslashes and control characters of `body`, each weighed by what escaping adds, and two. */
export const QUOTES_OF = 'octet_length(to_json(body)::text) - octet_length(body)';

/** Place of the target's id among the pieces between the quotes of a framed body, from its end. */
export const TARGET_ID_FROM_END = 10;

/** DDL of the frame. */
export const BODY_FRAME: string = `
-- Of a body that audit.read_body accepted, with what it answered; null where it has none.
create function audit.body_frame(body text, parsed jsonb) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  has_target constant boolean := parsed ? 'target';
  ending constant text := case when has_target
    then '"target":{"id":' || (parsed #> '{target,id}')::text || ',"type":' || (parsed #> '{target,type}')::text || '},' else '' end
    || '"type":' || (parsed -> 'type')::text || '}';
  pieces text[];
begin
  if strpos(body, E'\\\\') > 0 or right(body, char_length(ending)) <> ending then
    return null;
  end if;
  pieces := string_to_array(replace(replace(body, '_', E'\\\\_'), '%', E'\\\\%'), '"');
  if cardinality(pieces) > ${2 * MAX_STRINGS} then
    return null;
  end if;
  for place in 2 .. cardinality(pieces) + 1 - case when has_target then ${TARGET_ID_FROM_END} else 4 end by 2 loop
    if not starts_with(pieces[place + 1], ':') then
      pieces[place] := '%';
    end if;
  end loop;
  return array_to_string(pieces, '"');
end $$;
`;
