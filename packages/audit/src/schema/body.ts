/**
 * `audit.read_body`: the one gate for an event's body. It answers the parsed body when the text is the canonical form of one
 * object (docs/formats/audit-chain-v1.md §1), and null for everything else. What it let pass could otherwise never be taken
 * back, and every verifier and copy would stop there.
 *
 * One parse, then one look at each string and at what stands between two of them: names in order, nothing but punctuation,
 * small integers, `true`, `false` and `null` outside of strings. That accepts what the SDK sends, for about a tenth of what
 * encoding again costs. What it cannot accept at a glance is encoded again and compared, so no answer hangs on the shortcut
 * alone: `audit.canonical_json` decides.
 */

/** DDL of the gate. Needs `audit.canonical_json`. */
export const EVENT_BODY: string = `
create function audit.read_body(body text) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  parsed jsonb;
  escaped constant boolean := strpos(body, E'\\\\') > 0;
  careful constant boolean := escaped or octet_length(body) <> char_length(body);
  marked text := body;
  pieces text[];
  gap text collate "C";
  word text;
  name text collate "C";
  last_name text collate "C" := '';
  above text[] := '{}';
  depth int := 0;
  letter text;
begin
  -- No write happens in this block, so it costs no transaction id. Nesting that exhausts the parser's stack is 54001.
  begin
    parsed := body::jsonb;
    if jsonb_typeof(parsed) <> 'object' then
      return null;
    end if;
  exception when data_exception or program_limit_exceeded then
    return null;
  end;

  <<at_a_glance>>
  begin
    -- Escaped backslashes and quotes become control characters, which JSON has nowhere: each quote left begins or ends a string.
    if escaped then
      marked := replace(replace(body, E'\\\\\\\\', E'\\x01'), E'\\\\"', E'\\x02');
      exit at_a_glance when marked ~ E'\\\\\\\\(?![bfnrt]|u00(0[1-7bef]|1[0-9a-f]))';
    end if;
    pieces := string_to_array(marked, '"');
    exit at_a_glance when pieces[1] <> '{';
    for place in 3 .. cardinality(pieces) by 2 loop
      gap := pieces[place];
      continue when gap = ',';
      if starts_with(gap, ':') then
        name := pieces[place - 1];
        -- Bytes have the order of UTF-16 code units only in ASCII and without escapes.
        exit at_a_glance when last_name >= name
          or (careful and (octet_length(name) <> char_length(name) or name ~ E'[\\x01\\x02\\\\\\\\]'));
        last_name := name;
        continue when gap in (':', ':null,', ':true,', ':false,');
      end if;
      if gap in (':{', ':[') then
        depth := depth + 1;
        exit at_a_glance when depth > 31;
        above[depth] := last_name;
        last_name := '';
      elsif gap in ('},', '],') then
        last_name := above[depth];
        depth := depth - 1;
      else
        word := btrim(gap, ':,{}[]');
        exit at_a_glance when word not in ('', 'null', 'true', 'false')
          and (octet_length(word) > 15 or translate(word, '0123456789', '') not in ('', '-') or word = '-0');
        foreach letter in array string_to_array(translate(gap, ':,-0123456789aeflnrstu', ''), null) loop
          if letter in ('{', '[') then
            depth := depth + 1;
            exit at_a_glance when depth > 31;
            above[depth] := last_name;
            last_name := '';
          else
            last_name := above[depth];
            depth := depth - 1;
          end if;
        end loop;
      end if;
    end loop;
    return parsed;
  end at_a_glance;

  begin
    if audit.canonical_json(parsed) = body then
      return parsed;
    end if;
  exception when invalid_parameter_value then -- nested too deep
    null;
  end;
  return null;
end $$;
`;
