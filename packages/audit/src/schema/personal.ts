/**
 * Personal values beside the chain: what an event committed to, sealed under the key of its data subject, and the state
 * of each subject. The database sees ciphertext only.
 *
 * Rows are written with their event, in one function, and go away in one way: `begin_erasure`, destruction of the key,
 * `finish_erasure`, which leaves an event in the chain. The row of a subject is the lock between the two: writers hold it
 * FOR SHARE until COMMIT, so an erasure waits for them, and who comes later is refused.
 */
import { reservedType } from './append.ts';
import { FUNCTION_SETTINGS, type SchemaNames } from './names.ts';

/** Signatures of the functions that the app role may call. */
export const PERSONAL_CALLABLE: readonly string[] = [
  'append_with_personal(uuid, uuid, text, boolean, text[], bytea[])',
  'begin_erasure(uuid, text)',
  'finish_erasure(uuid, text, uuid, text, boolean)',
];

const TABLES = `
-- One row per data subject that events speak of. erasing_at: no new values, the key is being destroyed. erased_at: done.
create table audit.subject (
  org_id uuid not null,
  subject text not null,
  erasing_at timestamptz,
  erased_at timestamptz,
  erasure_event uuid,
  constraint subject_pkey primary key (org_id, subject),
  constraint subject_state check ((erased_at is null) = (erasure_event is null)
    and (erased_at is null or erasing_at is not null))
);

create table audit.personal (
  org_id uuid not null,
  event_id uuid not null,
  field text not null,
  subject text not null,
  ciphertext bytea not null,
  constraint personal_pkey primary key (org_id, event_id, field),
  constraint personal_size check (octet_length(ciphertext) >= 1 and octet_length(ciphertext) <= 131072)
);
create index personal_subject on audit.personal (org_id, subject);
`;

const GUARDS = `
create trigger refuse_row_change before update on audit.personal
  for each row execute function audit.refuse_change();
create trigger refuse_change before update or truncate on audit.personal
  for each statement execute function audit.refuse_change();
-- One look over all deleted rows, not one per row: an erasure of a hundred thousand values stays quick.
create function audit.refuse_deletion() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from gone g where not exists (
       select from audit.subject s
        where s.org_id = g.org_id and s.subject = g.subject and s.erasing_at is not null)
       and not exists (select from audit.pruned p where p.org_id = g.org_id and p.event_id = g.event_id)) then
    raise exception 'DELETE on audit.personal refused: a value goes away only when its subject is erased or its event pruned'
      using errcode = '42501', schema = 'audit', table = 'personal', constraint = 'audit.append_only';
  end if;
  return null;
end $$;
create trigger refuse_deletion after delete on audit.personal
  referencing old table as gone for each statement execute function audit.refuse_deletion();
alter table audit.personal enable always trigger refuse_row_change;
alter table audit.personal enable always trigger refuse_change;
alter table audit.personal enable always trigger refuse_deletion;

-- A subject moves forward only: known, erasing, erased.
create trigger refuse_return before update on audit.subject for each row when (
  new.org_id <> old.org_id or new.subject <> old.subject or old.erased_at is not null
  or (old.erasing_at is not null and new.erasing_at is distinct from old.erasing_at)
) execute function audit.refuse_change();
create trigger refuse_removal before delete or truncate on audit.subject
  for each statement execute function audit.refuse_change();
alter table audit.subject enable always trigger refuse_return;
alter table audit.subject enable always trigger refuse_removal;
`;

function access({ app, auditor, org }: SchemaNames): string {
  const own = `org_id = (select ${org})`;
  return ['subject', 'personal']
    .map(
      (table) => `
alter table audit.${table} enable row level security;
alter table audit.${table} force row level security;
revoke all on audit.${table} from public, ${app};
grant select on audit.${table} to ${app};
create policy read_own_org on audit.${table} for select to ${app} using (${own});
create policy write on audit.${table} for insert to current_user with check (${own});
create policy owner_reads_own_org on audit.${table} for select to current_user using (${own});${
        auditor === undefined
          ? ''
          : `
grant select on audit.${table} to ${auditor};
create policy read_every_org on audit.${table} for select to ${auditor} using (true);`
      }`,
    )
    .concat(
      `create policy move on audit.subject for update to current_user using (${own}) with check (${own});`,
      `create policy erase on audit.personal for delete to current_user using (${own});`,
    )
    .join('\n');
}

/** Refuses another organisation than the context's: values were sealed under the key of the one the caller named. */
const ASSERT_ORG = `
  if the_org is distinct from expected_org then
    raise exception 'the values are sealed for another organisation than the context'
      using errcode = '42501', schema = 'audit', constraint = 'audit.other_org';
  end if;`;

/** DDL of personal values: tables, guards, access and functions. Needs `audit.append` and the guards of the log. */
export function personalValues(names: SchemaNames): string {
  const { org } = names;
  return `${TABLES}${GUARDS}${access(names)}

create function audit.append_with_personal(
  expected_org uuid, event_id uuid, body text, may_seal boolean, fields text[], ciphertexts bytea[])
returns table (org uuid, seq bigint, hash bytea)
language plpgsql volatile security definer ${FUNCTION_SETTINGS} as $$
#variable_conflict use_column
declare
  the_org constant uuid := ${org};
  the_event constant uuid := event_id;
  parsed constant jsonb := body::jsonb;
  committed constant jsonb := parsed -> 'personal';
  the_subject constant text := committed ->> 'subject';
  place record;
begin${ASSERT_ORG}
  -- An erasure that nobody carried out would excuse values that are gone, and a verifier skips what it cannot read.
  if ${reservedType('parsed')}
     or committed is distinct from jsonb_build_object('fields', committed -> 'fields', 'subject', to_jsonb(the_subject))
     or char_length(the_subject) > 200 then
    perform audit.refuse_body('audit.not_canonical', 'not an event with personal parts of a subject');
  end if;
  -- Each commitment has its value and each value its commitment, or neither is written.
  if coalesce(the_subject, '') = '' or jsonb_typeof(committed -> 'fields') is distinct from 'object'
     or exists (select from jsonb_each(committed -> 'fields') c
       where c.key !~ '^(reason|note|(data|changes)[.].+)$' or c.value::text !~ '^"[0-9a-f]{64}"$')
     or coalesce(cardinality(fields), 0) = 0 or cardinality(fields) is distinct from cardinality(ciphertexts)
     or (select array_agg(k order by k collate "C") from jsonb_object_keys(committed -> 'fields') k)
        is distinct from (select array_agg(f order by f collate "C") from unnest(fields) f) then
    perform audit.refuse_body('audit.not_canonical', 'commitments and values differ');
  end if;
  insert into audit.subject (org_id, subject) values (the_org, the_subject) on conflict do nothing;
  perform from audit.subject s
    where s.org_id = the_org and s.subject = the_subject and s.erasing_at is null for share;
  if not found then
    raise exception 'the data subject was erased'
      using errcode = '55000', schema = 'audit', constraint = 'audit.subject_erased';
  end if;
  insert into audit.personal (org_id, event_id, field, subject, ciphertext)
    select the_org, the_event, u.field, the_subject, u.ciphertext
      from unnest(fields, ciphertexts) u(field, ciphertext);
  select a.org, a.seq, a.hash into place from audit.append_unchecked(the_event, body, may_seal) a;
  return query select place.org, place.seq, place.hash;
end $$;

create function audit.begin_erasure(expected_org uuid, data_subject text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  the_org constant uuid := ${org};
begin${ASSERT_ORG}
  insert into audit.subject as s (org_id, subject, erasing_at)
    values (the_org, data_subject, clock_timestamp())
    on conflict (org_id, subject) do update set erasing_at = excluded.erasing_at where s.erasing_at is null;
end $$;

-- The event is built here, so that no caller can delete values and record something else.
create function audit.finish_erasure(
  expected_org uuid, data_subject text, event_id uuid, certificate text, may_seal boolean)
returns table (event uuid, org uuid, seq bigint, hash bytea, removed bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  the_org constant uuid := ${org};
  state record;
  gone bigint;
  place record;
begin${ASSERT_ORG}
  if certificate is null or certificate !~ '^[0-9a-f]{64}$' then
    perform audit.refuse_body('audit.not_canonical', 'no digest of a certificate');
  end if;
  select s.erasing_at, s.erasure_event into state
    from audit.subject s where s.org_id = the_org and s.subject = data_subject for update;
  if not found or state.erasing_at is null then
    raise exception 'the erasure was not begun'
      using errcode = '42501', schema = 'audit', constraint = 'audit.append_only';
  end if;
  if state.erasure_event is not null then
    return query select state.erasure_event, the_org, l.seq, l.hash, 0::bigint
      from (select) o left join audit.seal l on l.org_id = the_org and l.event_id = state.erasure_event;
    return;
  end if;
  delete from audit.personal p where p.org_id = the_org and p.subject = data_subject;
  get diagnostics gone = row_count;
  update audit.subject s set erased_at = clock_timestamp(), erasure_event = finish_erasure.event_id
    where s.org_id = the_org and s.subject = data_subject;
  select a.org, a.seq, a.hash into place from audit.append_unchecked(
    event_id,
    '{"data":{"certificate":"' || certificate || '","fields":' || gone || '},"outcome":"success","target":{"id":'
      || to_json(data_subject)::text || ',"type":"subject"},"type":"subject.erased"}',
    may_seal) a;
  return query select event_id, place.org, place.seq, place.hash, gone;
end $$;
`;
}
