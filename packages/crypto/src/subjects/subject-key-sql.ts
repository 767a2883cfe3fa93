/**
 * DDL of subject keys, a step of `cryptoMigrations`.
 * Invariant: constraints, triggers and missing privileges hold what must hold against a buggy statement: a subject has one
 * key; an erased one stays erased and has no key bytes; no key is wrapped under a version that is retired or shredded, and
 * no version is retired under a key.
 */

/** Statements for quoted role names. */
export function subjectKeySql(app: string, operator: string | undefined): string {
  const operatorGrants =
    operator === undefined
      ? ''
      : `
grant select, insert on crypto.subject_key to ${operator};
grant update (dek_key_id, wrapped, erased_at) on crypto.subject_key to ${operator};
`;
  return `
create table crypto.subject_key (
  org_id     uuid        not null,
  subject_id text        collate "C" not null check (octet_length(subject_id) between 1 and 1024),
  key_id     bytea       check (octet_length(key_id) = 16),
  dek_key_id bytea,
  wrapped    bytea       check (octet_length(wrapped) = 122),
  created_at timestamptz not null,
  erased_at  timestamptz,
  primary key (org_id, subject_id),
  unique (org_id, key_id),
  foreign key (org_id, dek_key_id) references crypto.dek_version (org_id, key_id),
  constraint subject_key_whole_or_erased check (
    case when erased_at is null
      then key_id is not null and dek_key_id is not null and wrapped is not null
      else dek_key_id is null and wrapped is null
    end
  )
);
create index subject_key_by_dek on crypto.subject_key (org_id, dek_key_id) where erased_at is null;

create function crypto.keep_erased_dark() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  if tg_op = 'UPDATE' and old.erased_at is not null and new is distinct from old then
    raise exception 'an erased subject stays erased' using errcode = 'check_violation';
  end if;
  if new.erased_at is null then
    -- The lock makes a retirement and a new wrap wait for each other.
    perform from crypto.dek_version v
      where v.org_id = new.org_id and v.key_id = new.dek_key_id and v.state in ('active', 'decrypt_only') for share;
    if not found then
      raise exception 'a subject key is wrapped under a version in use only' using errcode = 'check_violation';
    end if;
  end if;
  return new;
end $$;
create trigger keep_erased_dark before insert or update on crypto.subject_key
  for each row execute function crypto.keep_erased_dark();

create function crypto.keep_wrapping_version() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  if exists (select from crypto.subject_key s where s.org_id = new.org_id and s.dek_key_id = new.key_id) then
    raise exception 'subject keys are wrapped under this version' using errcode = 'foreign_key_violation';
  end if;
  return new;
end $$;
create trigger keep_wrapping_version before update on crypto.dek_version
  for each row when (new.state = 'retired' and old.state <> 'retired')
  execute function crypto.keep_wrapping_version();

grant select, insert on crypto.subject_key to ${app};
grant update (dek_key_id, wrapped, erased_at) on crypto.subject_key to ${app};
${operatorGrants}`;
}
