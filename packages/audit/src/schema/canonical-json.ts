/**
 * `audit.canonical_json`: the canonical text of a jsonb value, byte for byte what src/canonical-json.ts makes of it (RFC 8785 and the
 * profile of docs/formats/audit-chain-v1.md). PostgreSQL escapes strings as ECMAScript does and jsonb holds neither NUL nor
 * lone surrogates. A number that is not a safe integer becomes a string of its decimal digits: `1.50` is `"1.50"`.
 */

/** DDL of the canonicaliser. */
export const CANONICAL_JSON: string = `
-- UTF-16 code units, the order of members in RFC 8785 section 3.2.3; it is not the order of code points.
create function audit.code_units(value text) returns integer[]
language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(u.unit order by c.place, u.half), '{}')
    from string_to_table(value, null) with ordinality c(letter, place),
         lateral (select ascii(c.letter) as point) p,
         lateral (select 0 as half, case when p.point < 65536 then p.point else 55296 + ((p.point - 65536) >> 10) end as unit
                  union all
                  select 1, 56320 + ((p.point - 65536) & 1023) where p.point >= 65536) u
$$;

create function audit.canonical_value(value jsonb, depth integer) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  kind constant text := jsonb_typeof(value);
  digits text;
  wide boolean;
begin
  if kind = 'number' then
    digits := value::text;
    if digits ~ '^-?[0-9]{1,16}$' and digits::bigint between -9007199254740991 and 9007199254740991 then
      return digits;
    end if;
    return '"' || digits || '"';
  end if;
  if kind not in ('object', 'array') then
    return value::text;
  end if;
  if depth >= 32 then
    perform audit.refuse_body('audit.not_canonical', 'nested deeper than 32 levels');
  end if;
  if kind = 'array' then
    return (select '[' || coalesce(string_agg(audit.canonical_value(e.item, depth + 1), ',' order by e.place), '') || ']'
              from jsonb_array_elements(value) with ordinality e(item, place));
  end if;
  wide := exists (select from jsonb_object_keys(value) k where octet_length(k) <> char_length(k));
  return (select '{' || coalesce(string_agg(to_json(m.key)::text || ':' || audit.canonical_value(m.value, depth + 1), ','
                   order by case when wide then audit.code_units(m.key) end, m.key collate "C"), '') || '}'
            from jsonb_each(value) m);
end $$;

create function audit.canonical_json(value jsonb) returns text
language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
  select audit.canonical_value(value, 0)
$$;
`;
