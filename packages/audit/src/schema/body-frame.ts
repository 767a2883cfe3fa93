/**
 * `audit.body_frame`: what bodies of one kind have in common. Within one batch, a body that differs from one the gate
 * (src/schema/body.ts) has just accepted only inside of its strings and in its numbers is accepted without being read again.
 *
 * The frame is a LIKE pattern: the accepted text with a wildcard for each string that is no name, and for each number that is a
 * member. A text that matches it, and has not one quote, backslash or control character more than the quotes of the frame, has
 * every quote where the frame has its own. So it has the same names, literals and punctuation, and strings that are their own
 * encoding. What stands for a number has a place of its own between two of these quotes, and is looked at there: an integer of at
 * most 15 digits, without a leading zero, and not `-0`. So the text is canonical because the first was. `to_json` counts quotes,
 * backslashes and control characters at once, since it adds at least a byte to each.
 *
 * The type, and the target's type, stay as they are: what the batch has checked of them holds for the next as well.
 */

/** Frames of one batch at most; a batch of more kinds reads the rest of them one by one. */
export const MAX_FRAMES = 8;

/**
 * Frames of one batch at most beyond the events that had one: bodies of which no two are of one kind have each a frame of their
 * own, and making and trying eight of them costs more than reading the bodies.
 */
export const UNUSED_FRAMES = 2;

/** Events that must be to come in a batch for a frame to be made: with fewer it costs more than it saves. */
export const WORTH_A_FRAME = 4;

/** Strings of a framed body at most: LIKE recurses once for each wildcard, and there is a name for each number. */
const MAX_STRINGS = 250;

/** Expression: quotes, backslashes and control characters of `body`, each weighed by what escaping adds, and two. */
const QUOTES_OF = 'octet_length(to_json(body)::text) - octet_length(body)';

/** Place of the target's id among the pieces between the quotes of a framed body, from its end. */
export const TARGET_ID_FROM_END = 10;

/** Declarations of the frames of a batch. The numbers of all frames are in one list; each frame knows where its own end. */
export const FRAMES = `
  kind integer;
  frame record;
  frames integer := 0;
  framed integer := 0;
  patterns text[] := '{}';
  quotes integer[] := '{}';
  number_gaps integer[] := '{}';
  number_forms text[] := '{}';
  last_numbers integer[] := '{}';
  frame_actions text[] := '{}';
  frame_targets text[] := '{}';`;

/** Statements that put into `kind` which frame `body` has, null when it has none. */
export const FIND_FRAME: string = `
        for f in 1 .. frames loop
          continue when not (body collate "C" like patterns[f] and ${QUOTES_OF} = quotes[f]);
          kind := f;
          for n in coalesce(last_numbers[f - 1], 0) + 1 .. last_numbers[f] loop
            if split_part(body, '"', number_gaps[n]) collate "C" !~ number_forms[n] then
              kind := null;
              exit;
            end if;
          end loop;
          exit when kind is not null;
        end loop;`;

/** Statements that keep the frame of `body`, of which `parsed` and `the_action` are known, where it has one. */
export const KEEP_FRAME: string = `
          frame := audit.body_frame(body, parsed);
          if frame.pattern is not null then
            frames := frames + 1;
            patterns[frames] := frame.pattern;
            quotes[frames] := ${QUOTES_OF};
            number_gaps := number_gaps || frame.number_gaps;
            number_forms := number_forms || frame.number_forms;
            last_numbers[frames] := cardinality(number_gaps);
            frame_actions[frames] := the_action;
            frame_targets[frames] := (parsed #>> '{target,type}') || ':';
          end if;`;

/** DDL of the frame. */
export const BODY_FRAME: string = `
-- Of a body that audit.read_body accepted, with what it answered; pattern is null where it has none. Numbers: each stands alone
-- behind the quote before number_gaps of the pieces between quotes, and what stands there has the form of number_forms.
create function audit.body_frame(
  body text, parsed jsonb, out pattern text, out number_gaps integer[], out number_forms text[])
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  has_target constant boolean := parsed ? 'target';
  ending constant text := case when has_target
    then '"target":{"id":' || (parsed #> '{target,id}')::text || ',"type":' || (parsed #> '{target,type}')::text || '},' else '' end
    || '"type":' || (parsed -> 'type')::text || '}';
  pieces text[];
  gap text collate "C";
  behind text;
begin
  if strpos(body, E'\\\\') > 0 or right(body, char_length(ending)) <> ending then
    return;
  end if;
  pieces := string_to_array(replace(replace(body, '_', E'\\\\_'), '%', E'\\\\%'), '"');
  if cardinality(pieces) > ${2 * MAX_STRINGS} then
    return;
  end if;
  for place in 3 .. cardinality(pieces) + 2 - case when has_target then ${TARGET_ID_FROM_END} else 4 end by 2 loop
    gap := pieces[place];
    if not starts_with(gap, ':') then
      pieces[place - 1] := '%';
    elsif gap not in (':', ':{', ':null,') and gap ~ '^:-?[0-9]{1,15}[],}]+$' then
      behind := ltrim(gap, ':-0123456789');
      number_gaps := number_gaps || place;
      -- Brackets that close mean themselves in a regular expression, and nothing else can stand there.
      number_forms := number_forms || ('^:(0|-?[1-9][0-9]{0,14})' || behind || '$');
      pieces[place] := ':%' || behind;
    end if;
  end loop;
  pattern := array_to_string(pieces, '"');
end $$;
`;
