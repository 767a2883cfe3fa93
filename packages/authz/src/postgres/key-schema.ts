/**
 * The table of API keys. What must hold against a buggy or injected statement is a constraint or trigger, not code: what a
 * key was made with never changes, a revocation or rotation is not undone, and an overlap does not outlast the key.
 */

/** DDL of the table and its guard. */
export const KEY_TABLE: string = `
create table authz.api_key (
  org_id         uuid        not null,
  id             text        not null check (id ~ '^[0-9A-Za-z]{16}$'),
  name           text        not null check (char_length(name) between 1 and 128),
  mac            bytea       not null check (octet_length(mac) = 32),
  pepper         text        not null check (pepper <> ''),
  creator_issuer text        not null,
  creator_id     text        not null,
  origin_mfa     boolean     not null,
  origin_sso     text,
  roles          text[]      not null check (cardinality(roles) between 1 and 256),
  actions        text[]      not null check (cardinality(actions) between 1 and 256),
  request_id     text        not null check (char_length(request_id) between 1 and 128),
  created_at     timestamptz not null,
  expires_at     timestamptz not null,
  successor      text,
  overlap_until  timestamptz,
  revoked_at     timestamptz,
  last_used_at   timestamptz,
  constraint api_key_pkey primary key (org_id, id),
  -- A key is found before its organisation is known. Ids are random and no secret: that one is taken tells nothing.
  constraint api_key_id unique (id),
  constraint api_key_request unique (org_id, request_id),
  constraint api_key_successor foreign key (org_id, successor) references authz.api_key (org_id, id),
  constraint api_key_ends check (
    expires_at > created_at and expires_at <= created_at + interval '731 days'
    and expires_at = date_trunc('second', expires_at, 'UTC')
  ),
  constraint api_key_overlap check (
    (successor is null) = (overlap_until is null)
    and (overlap_until is null or overlap_until <= expires_at and overlap_until = date_trunc('second', overlap_until, 'UTC'))
  )
);

create function authz.keep_key() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if (new.org_id, new.id, new.name, new.mac, new.pepper, new.creator_issuer, new.creator_id, new.origin_mfa, new.origin_sso,
      new.roles, new.actions, new.request_id, new.created_at, new.expires_at)
     is distinct from
     (old.org_id, old.id, old.name, old.mac, old.pepper, old.creator_issuer, old.creator_id, old.origin_mfa, old.origin_sso,
      old.roles, old.actions, old.request_id, old.created_at, old.expires_at)
     or old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at
     or old.successor is not null
        and (new.successor, new.overlap_until) is distinct from (old.successor, old.overlap_until)
     or old.last_used_at is not null and (new.last_used_at is null or new.last_used_at < old.last_used_at) then
    raise exception 'an API key keeps what it was made with, its end and its revocation'
      using errcode = '42501', schema = 'authz', table = tg_table_name, constraint = 'authz.key_is_kept';
  end if;
  return new;
end $$;
-- ENABLE ALWAYS: also under session_replication_role = replica.
create trigger keep_key before update on authz.api_key for each row execute function authz.keep_key();
alter table authz.api_key enable always trigger keep_key;
`;
