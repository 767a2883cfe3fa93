/**
 * The DDL of break-glass access: plain SQL that a reviewer reads before the owner role runs it, behind `tenancyMigrations`.
 *
 *     tenancy.open_break_glass(token)    verifies the token and records its opening; the only moment it is accepted
 *     tenancy.break_glass_org(wanted)    what policies call: the organisation of an opening, once it is committed
 *     tenancy.break_glass_context()      who acts, for an audit log that writes in the transaction of the opening
 *     tenancy.close_break_glass()        ends the session before the token expires
 *     tenancy.revoke_break_glass(id)     ends it from outside, opened or not
 *
 * Invariant: no row is shown under an opening that the reading transaction could still undo. So whoever holds the login
 * and a token and speaks raw SQL has left a committed record of who, why and when, before the first row.
 */
import { type QueryExecutorProvider, sql } from 'kysely';
import { hmacPads } from '../hmac-pads.ts';
import { identifier } from '../identifier.ts';
import type { SqlMigration } from '../migrations/tenancy-migrations.ts';
import { type BreakGlassKey, checkBreakGlassKey, MAX_TOKEN_LIFE_MS, TOKEN_DOMAIN } from './token.ts';

/** Settings of the break-glass migrations. */
export interface BreakGlassMigrationOptions {
  /** The login role of break-glass sessions: no superuser, no BYPASSRLS, member of nothing. It exists already. */
  readonly role: string;
}

/** The token field by field. */
const FIELD = {
  keyId: 2,
  tokenId: 3,
  org: 4,
  mode: 5,
  issued: 6,
  expires: 7,
  actor: 8,
  approvedBy: 9,
  ticket: 10,
  reason: 11,
} as const;

/** How far the issuer's clock may be ahead of the database's, ms. */
const CLOCK_SKEW_MS = 60_000;

const TABLES = `
-- The keys that sign tokens, as the two padded blocks of HMAC-SHA-256 (RFC 2104): only the owner reads them.
create table tenancy.break_glass_key (
  id text primary key check (id ~ '^[a-z0-9_]{1,32}$'),
  inner_pad bytea not null check (length(inner_pad) = 64),
  outer_pad bytea not null check (length(outer_pad) = 64)
);
-- Every opening there has been. A token opens once.
create table tenancy.break_glass_use (
  token_id uuid primary key,
  token_digest bytea not null unique,
  key_id text not null,
  org_id uuid not null,
  mode text not null check (mode in ('read', 'write')),
  actor text not null,
  approved_by text,
  ticket text not null,
  reason text not null,
  issued_at timestamptz not null,
  expires_at timestamptz not null,
  login name not null,
  client inet,
  opened_at timestamptz not null,
  opened_by xid8 not null,
  closed_at timestamptz
);
create table tenancy.break_glass_revocation (
  token_id uuid primary key,
  revoked_at timestamptz not null,
  revoked_by name not null
);`;

function refuse(code: string, message: string): string {
  return `raise exception '${message}'
      using errcode = '42501', constraint = 'tenancy.${code}', schema = 'tenancy';`;
}

function field(index: number): string {
  return `split_part(open_break_glass.token, '|', ${index})`;
}

function instant(index: number): string {
  return `to_timestamp(${field(index)}::bigint / 1000.0)`;
}

const OPEN = `
-- Nothing of a token is read before its signature has been verified.
create function tenancy.open_break_glass(token text) returns tenancy.break_glass_use
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  now_ms constant bigint := extract(epoch from clock_timestamp()) * 1000;
  inner_pad bytea;
  outer_pad bytea;
  issued bigint;
  expires bigint;
  opening tenancy.break_glass_use;
begin
  if exists (select from pg_roles r where r.rolname = session_user
              and (r.rolsuper or r.rolbypassrls or r.rolreplication or r.rolcreaterole
                   or exists (select from pg_auth_members m where m.member = r.oid))) then
    ${refuse('unsafe_role', 'the break-glass login is more than a login')}
  end if;
  select k.inner_pad, k.outer_pad into inner_pad, outer_pad
    from tenancy.break_glass_key k where k.id = ${field(FIELD.keyId)};
  if not found or right(open_break_glass.token, 64) is distinct from encode(sha256(outer_pad || sha256(
       inner_pad || convert_to('${TOKEN_DOMAIN}' || left(open_break_glass.token, -64), 'UTF8'))), 'hex') then
    ${refuse('break_glass_forged', 'break-glass token is not signed by a known key')}
  end if;
  issued := ${field(FIELD.issued)};
  expires := ${field(FIELD.expires)};
  if expires - issued > ${MAX_TOKEN_LIFE_MS} or issued > now_ms + ${CLOCK_SKEW_MS}
     or ${field(FIELD.approvedBy)} = ${field(FIELD.actor)} then
    ${refuse('break_glass_invalid', 'break-glass token lives too long, is not valid yet, or is approved by its actor')}
  end if;
  if expires < now_ms then
    ${refuse('break_glass_expired', 'break-glass token has expired')}
  end if;
  if exists (select from tenancy.break_glass_revocation r where r.token_id = ${field(FIELD.tokenId)}::uuid) then
    ${refuse('break_glass_revoked', 'break-glass token is revoked')}
  end if;
  insert into tenancy.break_glass_use (token_id, token_digest, key_id, org_id, mode, actor, approved_by, ticket, reason,
    issued_at, expires_at, login, client, opened_at, opened_by)
  values (${field(FIELD.tokenId)}::uuid, sha256(convert_to(open_break_glass.token, 'UTF8')), ${field(FIELD.keyId)},
    ${field(FIELD.org)}::uuid, ${field(FIELD.mode)}, ${field(FIELD.actor)}, nullif(${field(FIELD.approvedBy)}, ''),
    ${field(FIELD.ticket)}, convert_from(decode(${field(FIELD.reason)}, 'hex'), 'UTF8'),
    ${instant(FIELD.issued)}, ${instant(FIELD.expires)},
    session_user, inet_client_addr(), clock_timestamp(), pg_current_xact_id())
  on conflict (token_id) do nothing returning * into opening;
  if not found then
    ${refuse('break_glass_used', 'break-glass token has been opened before')}
  end if;
  perform set_config('ringfence.break_glass', open_break_glass.token, true);
  return opening;
end $$;`;

/** The row of the token in the setting: the token itself is the secret, and no other copy of it exists in the database. */
const OF_SETTING = `u.token_digest = sha256(convert_to(current_setting('ringfence.break_glass', true), 'UTF8'))`;

const ORG = `
-- Removing a key ends its sessions too. Only READ COMMITTED sees a closing or revocation in the next statement.
create function tenancy.break_glass_org(wanted text) returns uuid
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
declare
  opening tenancy.break_glass_use;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    ${refuse('break_glass_isolation', 'a break-glass transaction must be READ COMMITTED')}
  end if;
  -- The top-level transaction's id: a savepoint does not make the opening another transaction's.
  select u.* into opening
    from tenancy.break_glass_use u join tenancy.break_glass_key k on k.id = u.key_id
   where ${OF_SETTING} and u.opened_by is distinct from pg_current_xact_id_if_assigned();
  if not found then
    ${refuse('break_glass_not_open', 'no committed break-glass opening')}
  end if;
  if opening.closed_at is not null then
    ${refuse('break_glass_closed', 'break-glass session is closed')}
  end if;
  if exists (select from tenancy.break_glass_revocation r where r.token_id = opening.token_id) then
    ${refuse('break_glass_revoked', 'break-glass token is revoked')}
  end if;
  if opening.expires_at < clock_timestamp() then
    ${refuse('break_glass_expired', 'break-glass token has expired')}
  end if;
  if wanted <> 'read' and opening.mode <> wanted then
    ${refuse('break_glass_read_only', 'break-glass token permits no writing')}
  end if;
  return opening.org_id;
end $$;`;

const CONTEXT = `
-- For an audit log only: it answers in the transaction of the opening, and until the closing, expired or revoked.
create function tenancy.break_glass_context(out org_id uuid, out kind text, out actor text, out request_id text)
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
begin
  select u.org_id, 'break_glass', u.actor, u.token_id::text into org_id, kind, actor, request_id
    from tenancy.break_glass_use u where ${OF_SETTING} and u.closed_at is null;
  if not found then
    ${refuse('break_glass_not_open', 'no break-glass opening')}
  end if;
end $$;`;

const CLOSE = `
create function tenancy.close_break_glass() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update tenancy.break_glass_use u set closed_at = clock_timestamp() where ${OF_SETTING} and u.closed_at is null;
  if not found then
    ${refuse('break_glass_not_open', 'no break-glass opening')}
  end if;
end $$;`;

const REVOKE = `
-- Granted to nobody: the owner may call it, and whoever the owner grants it to.
create function tenancy.revoke_break_glass(revoked uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into tenancy.break_glass_revocation (token_id, revoked_at, revoked_by)
  values (revoked, clock_timestamp(), session_user) on conflict do nothing;
end $$;`;

/**
 * The migrations of break-glass access, in order and behind those of `tenancyMigrations`. Run them as the owner role.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when the role is not a plain SQL name.
 * @example
 * ```ts
 * for (const { up } of breakGlassMigrations({ role: 'break_glass' })) console.log(up);
 * ```
 */
export function breakGlassMigrations(options: BreakGlassMigrationOptions): readonly SqlMigration[] {
  const role = identifier(options.role);
  return [
    {
      name: '0100_tenancy_break_glass',
      up: `${TABLES}
${OPEN}
${ORG}
${CONTEXT}
${CLOSE}
${REVOKE}
revoke all on tenancy.break_glass_key, tenancy.break_glass_use, tenancy.break_glass_revocation from public;
revoke all on function tenancy.open_break_glass(text), tenancy.break_glass_org(text), tenancy.break_glass_context(),
  tenancy.close_break_glass(), tenancy.revoke_break_glass(uuid) from public;
grant usage on schema tenancy to ${role};
grant execute on function tenancy.open_break_glass(text), tenancy.break_glass_org(text), tenancy.break_glass_context(),
  tenancy.close_break_glass() to ${role};
`,
    },
  ];
}

/**
 * Installs a key, as the owner role: tokens signed by it can be opened from the next statement on.
 *
 * @throws TypeError when the key is out of bounds.
 */
export async function installBreakGlassKey(owner: QueryExecutorProvider, key: BreakGlassKey): Promise<void> {
  checkBreakGlassKey(key);
  const { inner, outer } = hmacPads(key.secret);
  await sql`insert into tenancy.break_glass_key (id, inner_pad, outer_pad)
    values (${key.id}, ${inner}, ${outer})`.execute(owner);
}

/** Removes a key, as the owner role: its tokens cannot be opened any more, and its open sessions end. */
export async function removeBreakGlassKey(owner: QueryExecutorProvider, keyId: string): Promise<void> {
  await sql`delete from tenancy.break_glass_key where id = ${keyId}`.execute(owner);
}

/**
 * Revokes a token, opened or not, as the owner role or a role that may execute `tenancy.revoke_break_glass`. Statements
 * that begin later are refused; one that is running goes on with what it saw.
 */
export async function revokeBreakGlass(db: QueryExecutorProvider, tokenId: string): Promise<void> {
  await sql`select tenancy.revoke_break_glass(${tokenId})`.execute(db);
}
