/**
 * Revocations that every process is to hear of, kept for as long as they can end anything (25 hours). The notification
 * carries nothing: whoever listens reads the table, so a forged one tells nothing and ends nothing. A revoked key is
 * written here in the transaction that revokes it.
 */
import { DEFINER } from './sql-names.ts';

/** Channel of the notifications. */
export const REVOKED_CHANNEL = 'ringfence_authz_revoked';

/** DDL of the table and its functions. */
export const REVOCATION_FEED: string = `
create table authz.revocation (
  position   bigint generated always as identity primary key,
  kind       text        not null check (kind in ('token', 'session', 'subject', 'org')),
  issuer     text        not null,
  id         text        not null check (id <> ''),
  at         timestamptz not null,
  written_at timestamptz not null default clock_timestamp(),
  -- Identity values are not given out in the order of commit; this tells what a reader cannot have seen.
  written_by xid8        not null default pg_current_xact_id()
);
create index revocation_written_by on authz.revocation (written_by);
create index revocation_written_at on authz.revocation (written_at);
revoke all on authz.revocation from public;
-- Without a policy for anybody else, a right that is granted by mistake shows no row.
alter table authz.revocation enable row level security;
alter table authz.revocation force row level security;
create policy functions on authz.revocation for all to current_user using (true) with check (true);

create function authz.publish_revocation(kind text, issuer text, id text, at_ms bigint) returns void
language plpgsql volatile ${DEFINER} as $$
begin
  delete from authz.revocation r where r.written_at < clock_timestamp() - interval '26 hours';
  insert into authz.revocation (kind, issuer, id, at) values (kind, issuer, id, authz.instant(at_ms));
  perform pg_notify('${REVOKED_CHANNEL}', '');
end $$;

-- What a reader has not seen that read up to the transaction \`seen\`, and up to which it has then.
create function authz.read_revocations(seen xid8) returns text
language sql stable ${DEFINER} as $$
  select json_build_object(
    'seen', pg_snapshot_xmin(pg_current_snapshot())::text,
    'revocations', coalesce((
      select json_agg(json_build_object('position', r.position, 'kind', r.kind, 'issuer', r.issuer, 'id', r.id, 'at', authz.epoch_ms(r.at))
                      order by r.position)
        from authz.revocation r where r.written_by >= seen), '[]'))::text
$$;

create function authz.tell_revoked_key() returns trigger
language plpgsql volatile ${DEFINER} as $$
begin
  insert into authz.revocation (kind, issuer, id, at) values ('subject', 'api_key', new.id, new.revoked_at);
  perform pg_notify('${REVOKED_CHANNEL}', '');
  return null;
end $$;
create trigger tell_revoked_key after update on authz.api_key for each row
  when (old.revoked_at is null and new.revoked_at is not null) execute function authz.tell_revoked_key();
`;

/** What the role may do that belongs to no organisation. */
export function systemAccess(system: string): string {
  return [
    'revoke_every_key(bigint)',
    'publish_revocation(text, text, text, bigint)',
    'read_revocations(xid8)',
  ]
    .map((signature) => `grant execute on function authz.${signature} to ${system};`)
    .join('\n');
}
