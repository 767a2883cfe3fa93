/**
 * The functions of API keys. Each is one atomic step. They lock the keys that change, several in the order of organisation
 * and id, so that steps wait for each other and never in a circle; a revocation looks again after it has waited, because a
 * successor may have been stored meanwhile. Answers are JSON in one text column: no type parser and no naming plugin of the application changes them.
 */
import { DEFINER } from './sql-names.ts';

const RECORD = `jsonb_strip_nulls(jsonb_build_object(
    'id', k.id, 'org', k.org_id, 'name', k.name, 'mac', encode(k.mac, 'hex'), 'pepper', k.pepper,
    'creator', jsonb_build_object('issuer', k.creator_issuer, 'subject', k.creator_id),
    'origin', jsonb_build_object('mfa', k.origin_mfa, 'ssoConnection', k.origin_sso),
    'scope', jsonb_build_object('roles', k.roles, 'actions', k.actions),
    'requestId', k.request_id, 'createdAt', authz.epoch_ms(k.created_at), 'expiresAt', authz.epoch_ms(k.expires_at),
    'successor', k.successor, 'overlapUntil', authz.epoch_ms(k.overlap_until),
    'revokedAt', authz.epoch_ms(k.revoked_at), 'lastUsedAt', authz.epoch_ms(k.last_used_at)))`;

/** Marks what is selected until nothing is left to mark: each turn sees what was committed while the one before waited. */
function revocation(selected: string): string {
  return `
  loop
    perform from authz.api_key k where k.revoked_at is null and ${selected} order by k.org_id, k.id for update;
    update authz.api_key k set revoked_at = authz.instant(at_ms) where k.revoked_at is null and ${selected};
    exit when not found;
  end loop;
  return (select coalesce(json_agg(k.id), '[]') from authz.api_key k
           where k.expires_at > authz.instant(at_ms) and ${selected})::text;`;
}

/** DDL of the functions. */
export const keyFunctions: string = `
-- For functions of this schema.
create function authz.store_key(the_org uuid, record jsonb) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if (record ->> 'org')::uuid is distinct from the_org then
    raise exception 'the record is of another organisation'
      using errcode = '42501', schema = 'authz', constraint = 'authz.other_org';
  end if;
  insert into authz.api_key (org_id, id, name, mac, pepper, creator_issuer, creator_id, origin_mfa, origin_sso,
    roles, actions, request_id, created_at, expires_at)
  values (the_org, record ->> 'id', record ->> 'name', decode(record ->> 'mac', 'hex'), record ->> 'pepper',
    record #>> '{creator,issuer}', record #>> '{creator,subject}',
    (record #>> '{origin,mfa}')::boolean, record #>> '{origin,ssoConnection}',
    array(select jsonb_array_elements_text(record #> '{scope,roles}')),
    array(select jsonb_array_elements_text(record #> '{scope,actions}')),
    record ->> 'requestId', authz.instant((record ->> 'createdAt')::bigint), authz.instant((record ->> 'expiresAt')::bigint))
  on conflict (org_id, request_id) do nothing;
  return found;
end $$;

-- Before the organisation is known: by the public id of one key, one row or none.
create function authz.find_key(key_id text) returns text
language sql stable ${DEFINER} as $$
  select ${RECORD}::text from authz.api_key k where k.id = key_id
$$;

create function authz.insert_key(claimed uuid, record jsonb) returns text
language plpgsql volatile ${DEFINER} as $$
begin
  return case when authz.store_key(authz.own_org(claimed), record) then 'stored' else 'replayed' end;
end $$;

create function authz.rotate_key(claimed uuid, key_id text, successor jsonb, overlap_ms bigint) returns text
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
  old authz.api_key;
begin
  select k.* into old from authz.api_key k where k.org_id = the_org and k.id = key_id for update;
  if exists (select from authz.api_key k
              where k.org_id = the_org and k.request_id = rotate_key.successor ->> 'requestId') then
    return 'replayed';
  end if;
  if old.id is null or old.successor is not null or old.revoked_at is not null
     or old.expires_at <= authz.instant((rotate_key.successor ->> 'createdAt')::bigint) then
    return 'conflict';
  end if;
  if not authz.store_key(the_org, rotate_key.successor) then
    return 'replayed';
  end if;
  update authz.api_key k
     set successor = rotate_key.successor ->> 'id', overlap_until = authz.instant(overlap_ms)
   where k.org_id = the_org and k.id = key_id;
  return 'stored';
end $$;

-- One key, those of a creator, or, when neither is given, all of the organisation.
create function authz.revoke_keys(claimed uuid, key_id text, issuer text, subject text, at_ms bigint) returns text
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin${revocation(`k.org_id = the_org and (key_id is null or k.id = key_id)
      and (issuer is null or k.creator_issuer = issuer) and (subject is null or k.creator_id = subject)`)}
end $$;

create function authz.revoke_every_key(at_ms bigint) returns text
language plpgsql volatile ${DEFINER} as $$
begin${revocation('true')}
end $$;

create function authz.touch_keys(claimed uuid, uses jsonb) returns void
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  perform from authz.api_key k where k.org_id = the_org
    and k.id in (select each ->> 'id' from jsonb_array_elements(uses) each) order by k.id for update;
  update authz.api_key k set last_used_at = greatest(k.last_used_at, u.at)
    from (select each ->> 'id' as id, max(authz.instant((each ->> 'at')::bigint)) as at
            from jsonb_array_elements(uses) each group by 1) u
   where k.org_id = the_org and k.id = u.id;
end $$;

create function authz.list_keys(claimed uuid) returns text
language plpgsql stable ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  return (select coalesce(jsonb_agg(${RECORD} order by k.created_at, k.id), '[]')::text
            from authz.api_key k where k.org_id = the_org);
end $$;
`;
