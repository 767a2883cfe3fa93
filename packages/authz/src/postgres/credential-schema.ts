/**
 * The table of integration credentials and its functions. Only sealed bytes are stored; a revoked credential has none and
 * gets none again; a version is replaced by the next and by no other.
 */
import { DEFINER } from './sql-names.ts';

/** DDL of the table. */
export const credentialTable: string = `
create table authz.credential (
  org_id       uuid        not null,
  id           text        not null check (char_length(id) between 1 and 128),
  provider     text        not null check (provider <> ''),
  sealed       bytea       check (octet_length(sealed) between 1 and 65536),
  version      integer     not null check (version >= 1),
  scopes       text[]      not null,
  rotate_after interval    not null,
  rotated_at   timestamptz not null,
  revoked_at   timestamptz,
  constraint credential_pkey primary key (org_id, id),
  constraint credential_ended check ((sealed is null) = (revoked_at is not null))
);

create function authz.keep_credential() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if (new.org_id, new.id, new.provider, new.scopes, new.rotate_after)
     is distinct from (old.org_id, old.id, old.provider, old.scopes, old.rotate_after)
     or old.revoked_at is not null and new is distinct from old
     or new.version not in (old.version, old.version + 1)
     or new.version = old.version and new.sealed is distinct from old.sealed and new.revoked_at is null then
    raise exception 'a credential keeps what it was made with, its versions and its end'
      using errcode = '42501', schema = 'authz', table = tg_table_name, constraint = 'authz.credential_is_kept';
  end if;
  return new;
end $$;
create trigger keep_credential before update on authz.credential for each row execute function authz.keep_credential();
alter table authz.credential enable always trigger keep_credential;
`;

const RECORD = `jsonb_strip_nulls(jsonb_build_object(
    'id', c.id, 'org', c.org_id, 'provider', c.provider, 'sealed', encode(c.sealed, 'hex'), 'version', c.version,
    'scopes', c.scopes, 'rotateAfterMs', (extract(epoch from c.rotate_after) * 1000)::bigint,
    'rotatedAt', authz.epoch_ms(c.rotated_at), 'revokedAt', authz.epoch_ms(c.revoked_at)))`;

/** DDL of the functions, all of one organisation. */
export const credentialFunctions: string = `
create function authz.insert_credential(claimed uuid, record jsonb) returns void
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  if (record ->> 'org')::uuid is distinct from the_org then
    raise exception 'the record is of another organisation'
      using errcode = '42501', schema = 'authz', constraint = 'authz.other_org';
  end if;
  insert into authz.credential (org_id, id, provider, sealed, version, scopes, rotate_after, rotated_at)
  values (the_org, record ->> 'id', record ->> 'provider', decode(record ->> 'sealed', 'hex'),
    (record ->> 'version')::integer, array(select jsonb_array_elements_text(record -> 'scopes')),
    (record ->> 'rotateAfterMs')::bigint * interval '1 millisecond', authz.instant((record ->> 'rotatedAt')::bigint));
end $$;

create function authz.find_credential(claimed uuid, credential_id text) returns text
language plpgsql stable ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  return (select ${RECORD}::text from authz.credential c where c.org_id = the_org and c.id = credential_id);
end $$;

create function authz.replace_credential(
  claimed uuid, credential_id text, from_version integer, new_sealed text, rotated_ms bigint
) returns boolean
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  update authz.credential c
     set sealed = decode(new_sealed, 'hex'), version = from_version + 1, rotated_at = authz.instant(rotated_ms)
   where c.org_id = the_org and c.id = credential_id and c.revoked_at is null and c.version = from_version;
  return found;
end $$;

create function authz.revoke_credential(claimed uuid, credential_id text, at_ms bigint) returns void
language plpgsql volatile ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  update authz.credential c set sealed = null, revoked_at = authz.instant(at_ms)
   where c.org_id = the_org and c.id = credential_id and c.revoked_at is null;
end $$;

create function authz.list_credentials(claimed uuid) returns text
language plpgsql stable ${DEFINER} as $$
declare
  the_org constant uuid := authz.own_org(claimed);
begin
  return (select coalesce(jsonb_agg(${RECORD} order by c.id), '[]')::text
            from authz.credential c where c.org_id = the_org);
end $$;
`;
