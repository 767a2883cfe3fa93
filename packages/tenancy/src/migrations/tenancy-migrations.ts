/**
 * The DDL of schema `tenancy`: plain SQL that a reviewer reads before the owner role runs it. Nothing here runs by itself.
 *
 * `tenancy.org_id()` is what policies call. It verifies the context and raises SQLSTATE 42501 when it is missing, forged
 * or expired, so that a statement without context is an error and never an empty result.
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ContextKey } from '../context.ts';
import { hmacPads } from '../hmac-pads.ts';
import { identifier } from '../identifier.ts';

/** Settings of the migrations. */
export interface TenancyMigrationOptions {
  /** The application's login role. */
  readonly appRole: string;
  /** Whether policies verify the signature of the context. Injected SQL can forge an unsigned one. */
  readonly signedContext: boolean;
}

/** One migration: a name that sorts, and its SQL. */
export interface SqlMigration {
  /** Name, in the order of application. */
  readonly name: string;
  /** Statements, separated by semicolons. */
  readonly up: string;
}

/** The context field by field: version, key id, expiry, org, kind, actor, request id, mac. */
const FIELD = { keyId: 2, expires: 3, org: 4, kind: 5, actor: 6, request: 7, mac: 8 } as const;

const CONTEXT_KEY_TABLE = `
-- The keys that sign contexts, as the two padded blocks of HMAC-SHA-256 (RFC 2104): only the owner reads them.
create table tenancy.context_key (
  id text primary key check (id ~ '^[a-z0-9_]{1,32}$'),
  inner_pad bytea not null check (length(inner_pad) = 64),
  outer_pad bytea not null check (length(outer_pad) = 64)
);
revoke all on tenancy.context_key from public;`;

function refusal(constraint: string, message: string, hint = ''): string {
  return `raise exception '${message}'
      using errcode = '42501', constraint = 'tenancy.${constraint}', schema = 'tenancy'${hint};`;
}

const NO_CONTEXT = `if context is null or context = '' then
    ${refusal('no_context', 'no organisation context', `,\n            hint = 'run the statement through the handle of tenancy.forOrg(orgId)'`)}`;

const ORG = `split_part(context, '|', ${FIELD.org})::uuid`;

const KEY_VARIABLES = `
  key_id constant text := split_part(context, '|', ${FIELD.keyId});
  inner_pad bytea;
  outer_pad bytea;`;

const MAC_HOLDS = `split_part(context, '|', ${FIELD.mac}) = encode(
      sha256(outer_pad || sha256(inner_pad || convert_to(left(context, -64), 'UTF8'))), 'hex')`;

/**
 * PostgreSQL prepares what an expression calls once in a transaction, and what a query calls each time it runs; both take longer
 * than to call it. So the query only finds the key, and one expression decides: an insert asks twice, once for the default of
 * each row and once for the policy. What exactly was wrong is asked afterwards.
 */
const VERIFIED_ORG = `-- Under another collation than the index has: to open it takes longer than to look through the few keys.
  select k.inner_pad, k.outer_pad into inner_pad, outer_pad from tenancy.context_key k where k.id collate "C" = key_id;
  -- The mac is the last field of a text that it covers but for its own 64 digits, so no field can be shifted. No other field is
  -- given a type before: of a forged context it may be anything.
  if found and ${MAC_HOLDS}
    and split_part(context, '|', ${FIELD.expires})::bigint >= date_part('epoch', clock_timestamp()) * 1000 then
    return ${ORG};
  end if;
  ${NO_CONTEXT}
  elsif found and ${MAC_HOLDS} then
    ${refusal('context_expired', 'organisation context has expired')}
  end if;
  ${refusal('context_forged', 'organisation context is not signed by a known key')}`;

const UNSIGNED_ORG = `${NO_CONTEXT}
  end if;
  return ${ORG};`;

/** Verifies in its own body: what a policy calls would otherwise be inlined into every plan, and planned there. */
function orgId(signed: boolean): string {
  return `
-- The organisation of this transaction. Every answer about the context begins with this one, for it verifies the context. Its
-- owner reads the keys; its callers see only the answer.
create function tenancy.org_id() returns uuid
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
declare
  context constant text := current_setting('ringfence.context', true);${signed ? KEY_VARIABLES : ''}
begin
  ${signed ? VERIFIED_ORG : UNSIGNED_ORG}
end $$;`;
}

/**
 * A standard SQL body binds its names when it is created, so it needs no search_path of its own and can be inlined. CASE is
 * what PostgreSQL evaluates in the order of its text.
 */
function field(name: string, index: number): string {
  return `
create function tenancy.${name}() returns text language sql stable parallel safe
return case when tenancy.org_id() is not null
  then pg_catalog.split_part(pg_catalog.current_setting('ringfence.context'), '|', ${index}) else null end;`;
}

/** For functions that need several fields: one verification instead of one for each. */
const CONTEXT = `
create function tenancy.context(out org_id uuid, out kind text, out actor text, out request_id text)
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  context text;
begin
  org_id := tenancy.org_id();
  context := current_setting('ringfence.context');
  kind := split_part(context, '|', ${FIELD.kind});
  actor := split_part(context, '|', ${FIELD.actor});
  request_id := split_part(context, '|', ${FIELD.request});
end $$;`;

/**
 * Runs as its caller: it must see the role that the connection really has. What `enter` does is one expression with few
 * functions: PL/pgSQL prepares each anew in every transaction, and each function of it, which takes longer than to run them.
 */
const ASSERT_APP_ROLE = `
-- Called once per connection, in front of its first statement: refuses a role that row-level security does not bind.
create function tenancy.assert_app_role() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  server constant int := current_setting('server_version_num')::int;
begin
  -- Before these a plan made for one role or organisation could be used for another (CVE-2024-10976).
  if server < 150009 or server between 160000 and 160004 or server = 170000 then
    raise exception 'PostgreSQL % does not enforce row-level security in every plan', current_setting('server_version')
      using errcode = '42501', constraint = 'tenancy.unsafe_server', schema = 'tenancy';
  end if;
  if exists (
    select from pg_roles r
     where (r.rolsuper or r.rolbypassrls or r.rolreplication
            or r.rolname in ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
       and (pg_has_role(session_user, r.oid, 'MEMBER') or pg_has_role(current_user, r.oid, 'MEMBER'))
  ) or exists (
    select from pg_class where relrowsecurity
      and (pg_has_role(current_user, relowner, 'MEMBER') or pg_has_role(session_user, relowner, 'MEMBER'))
  ) then
    raise exception 'connection role may bypass row-level security'
      using errcode = '42501', constraint = 'tenancy.unsafe_role', schema = 'tenancy';
  end if;
  -- A role may change its own defaults, which no reset takes back: those that change what SQL means are refused.
  if current_setting('standard_conforming_strings') <> 'on' or current_setting('transform_null_equals') <> 'off'
     or current_setting('row_security') <> 'on' then
    raise exception 'a default of the connection role changes what SQL means'
      using errcode = '42501', constraint = 'tenancy.unsafe_role', schema = 'tenancy';
  end if;
end $$;

-- Called in front of the first statement of every checkout: takes back or refuses what a former borrower may have left by
-- a mere expression, and sets the context. Every name is qualified, because no search_path can be trusted here.
-- The transaction began before the reset, so with the defaults of the former borrower: the flags say which of its modes
-- BEGIN did not name, and are to be the session's. A session of that kind, or with temporary objects, ends itself: behind a
-- pooler only it can. (A changed role may lack the privilege; behind a pooler RESET ROLE comes before.) The seed is a secret
-- of the client's, from -1 to 1: a former borrower may have chosen, or worked out, what random() gives next.
create function tenancy.enter(context text, default_isolation boolean, default_access boolean, seed float8) returns text
language plpgsql volatile as $$
declare
  entered text;
begin
  reset all; -- neither the role nor the modes of this transaction
  discard sequences;
  entered := case
    when current_user operator(pg_catalog.<>) session_user or pg_catalog.pg_my_temp_schema() operator(pg_catalog.<>) 0
      or default_isolation and pg_catalog.current_setting('transaction_isolation')
        operator(pg_catalog.<>) pg_catalog.current_setting('default_transaction_isolation')
      or default_access and pg_catalog.current_setting('transaction_read_only')
        operator(pg_catalog.<>) pg_catalog.current_setting('default_transaction_read_only')
        and not pg_catalog.pg_is_in_recovery()
    then null
    when pg_catalog.pg_advisory_unlock_all() is not null and pg_catalog.setseed(seed) is not null
    then pg_catalog.set_config('ringfence.context', context, true) end;
  if entered is null then
    if current_user operator(pg_catalog.=) session_user then
      perform pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    end if;
    raise exception 'the session carries what a former borrower left'
      using errcode = '42501', constraint = 'tenancy.unclean_session', schema = 'tenancy';
  end if;
  return entered;
end $$;

-- Called when the former borrower may have run more than plain queries: takes back cursors and channels, refuses what it has
-- prepared, for that can stand under a name of the driver's. Of the whole: whether a function with dynamic SQL, which any
-- trigger may set off, lets plain queries do the same. Oids below 16384 are what the cluster was made with; of these, 12, 13 and
-- 14 are the languages internal, c and sql.
create function tenancy.assert_session(whole boolean) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  execute 'close all'; -- PL/pgSQL has a CLOSE of its own
  unlisten *;
  if exists (select from pg_prepared_statement() p where p.from_sql) then
    raise exception 'the session carries what a former borrower left'
      using errcode = '42501', constraint = 'tenancy.unclean_session', schema = 'tenancy';
  end if;
  if not whole then return false; end if; -- no parameter in the query behind it: it is planned once in a session
  return exists (
    select from pg_proc f
     where f.oid >= 16384 and f.pronamespace <> 'tenancy'::regnamespace and f.prolang not in (12, 13, 14)
       and (f.prosrc ~* 'execute' or f.prolang is distinct from (select oid from pg_language where lanname = 'plpgsql')));
end $$;`;

/**
 * The migrations of schema `tenancy`, in order. Run them as the owner role.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when the role is not a plain SQL name.
 */
export function tenancyMigrations(options: TenancyMigrationOptions): readonly SqlMigration[] {
  const app = identifier(options.appRole);
  return [
    {
      name: '0001_tenancy_context',
      up: `
create schema tenancy;
revoke all on schema tenancy from public;
grant usage on schema tenancy to ${app};
${options.signedContext ? CONTEXT_KEY_TABLE : ''}
${orgId(options.signedContext)}
${field('kind', FIELD.kind)}
${field('actor', FIELD.actor)}
${field('request_id', FIELD.request)}
${CONTEXT}
${ASSERT_APP_ROLE}
revoke all on all functions in schema tenancy from public;
grant execute on all functions in schema tenancy to ${app};
`,
    },
  ];
}

/** The same migrations for Kysely's migrator, by name. */
export function tenancyKyselyMigrations(options: TenancyMigrationOptions): Record<string, Migration> {
  return Object.fromEntries(
    tenancyMigrations(options).map(({ name, up }) => [
      name,
      {
        up: async (db: Kysely<unknown>): Promise<void> => {
          await sql.raw(up).execute(db);
        },
      },
    ]),
  );
}

/** Block length of SHA-256, bytes. */
const BLOCK = 64;

/**
 * Installs a key for signed contexts, as the owner role. Contexts signed by it are accepted from the next statement on.
 *
 * @throws TypeError when the secret is longer than 64 bytes or shorter than 32.
 */
export async function installContextKey(owner: Kysely<unknown>, key: ContextKey): Promise<void> {
  if (key.secret.length < 32 || key.secret.length > BLOCK) {
    throw new TypeError('context key secret: expected 32 to 64 bytes');
  }
  const { inner, outer } = hmacPads(key.secret);
  await sql`insert into tenancy.context_key (id, inner_pad, outer_pad)
    values (${key.id}, ${inner}, ${outer})`.execute(owner);
}

/** Removes a key: contexts signed by it are refused from the next statement on. */
export async function removeContextKey(owner: Kysely<unknown>, keyId: string): Promise<void> {
  await sql`delete from tenancy.context_key where id = ${keyId}`.execute(owner);
}
