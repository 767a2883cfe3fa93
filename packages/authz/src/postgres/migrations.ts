/**
 * The DDL of schema `authz`: plain SQL that a reviewer reads before the owner role runs it. Nothing here runs by itself.
 * Invariant: the app role has no right on any table. It calls functions that take the organisation from the context of the
 * transaction, and one that finds a key by its id, because a key is all that is known before it is verified.
 */
import { credentialFunctions, credentialTable } from './credential-schema.ts';
import { keyFunctions } from './key-functions.ts';
import { KEY_TABLE } from './key-schema.ts';
import { REVOCATION_FEED, systemAccess } from './revocation-schema.ts';
import { functionCall, roleName, type SchemaNames } from './sql-names.ts';

/** Settings of the migrations: the roles that may call functions, and the context. */
export interface AuthzMigrationOptions {
  /** The application's login role. */
  readonly appRole: string;
  /** Owner of the schema, best a NOLOGIN role of which the migrating role is a member. Default: the migrating role. */
  readonly ownerRole?: string;
  /**
   * A login role that runs no statement of a request: finds keys, in place of the app role, revokes everywhere, and
   * reads and writes revocations. Default: none; then the app role finds keys, and only the owner may do the rest.
   */
  readonly systemRole?: string;
  /**
   * The organisation of the transaction: a call without arguments, `schema.function()`, of type `uuid`, that raises when
   * there is none: `tenancy.org_id()`. The owner needs USAGE on its schema and EXECUTE. Default: the setting
   * `ringfence.org_id` of the transaction, which injected SQL can set.
   */
  readonly org?: string;
}

/** One migration: a name that sorts, and its SQL. */
export interface SqlMigration {
  /** Name, in the order of application. */
  readonly name: string;
  /** Statements, separated by semicolons. Run them in one transaction. */
  readonly up: string;
}

const DEFAULT_ORG = `
create function authz.org_id() returns uuid
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  org constant text := current_setting('ringfence.org_id', true);
begin
  if org is null or org !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    raise exception 'ringfence.org_id is not set to a lower-case UUID'
      using errcode = '42501', schema = 'authz', constraint = 'authz.no_context';
  end if;
  return org::uuid;
end $$;`;

/** Each function of an organisation says for which it was called: a handle of another one is refused, not believed. */
function ownOrg({ org }: SchemaNames): string {
  return `
create function authz.own_org(claimed uuid) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  the_org constant uuid := ${org};
begin
  if the_org is null or claimed is distinct from the_org then
    raise exception 'the organisation asked for is not that of the transaction'
      using errcode = '42501', schema = 'authz', constraint = 'authz.other_org';
  end if;
  return the_org;
end $$;

create function authz.instant(ms bigint) returns timestamptz language sql immutable parallel safe
return timestamptz '1970-01-01 00:00:00+00' + ms * interval '1 millisecond';
create function authz.epoch_ms(instant timestamptz) returns bigint language sql immutable parallel safe
return (extract(epoch from instant) * 1000)::bigint;`;
}

/** Forced for the owner too. The policy of the app role holds should somebody grant it a right on the table by mistake. */
function rowSecurity({ app, org }: SchemaNames, table: string): string {
  return `
revoke all on authz.${table} from public, ${app};
alter table authz.${table} enable row level security;
alter table authz.${table} force row level security;
create policy own_org on authz.${table} for all to ${app} using (org_id = (select ${org})) with check (org_id = (select ${org}));
create policy functions on authz.${table} for all to current_user using (true) with check (true);`;
}

/**
 * The migrations of schema `authz`, in order: API keys, credentials of integrations, revocations.
 *
 * @throws TypeError when a role's name or the call is not plain, or two of the roles are one.
 * @example
 * ```ts
 * for (const { up } of authzMigrations({ appRole: 'ledger_app', org: 'tenancy.org_id()' })) await owner.query(up);
 * ```
 */
export function authzMigrations(options: AuthzMigrationOptions): readonly SqlMigration[] {
  const owner = options.ownerRole === undefined ? undefined : roleName(options.ownerRole);
  const names: SchemaNames = {
    app: roleName(options.appRole),
    system: options.systemRole === undefined ? undefined : roleName(options.systemRole),
    org: functionCall(options.org ?? 'authz.org_id()'),
  };
  const { app, system } = names;
  // An owner is above its own policies, and the system role finds keys of every organisation.
  if (app === owner || app === system || (owner !== undefined && owner === system))
    throw new TypeError('the roles of application, system and owner are not three different ones');
  const callable = [
    'insert_key(uuid, jsonb)',
    'rotate_key(uuid, text, jsonb, bigint)',
    'revoke_keys(uuid, text, text, text, bigint)',
    'touch_keys(uuid, jsonb)',
    'list_keys(uuid)',
    'insert_credential(uuid, jsonb)',
    'find_credential(uuid, text)',
    'replace_credential(uuid, text, integer, text, bigint)',
    'revoke_credential(uuid, text, bigint)',
    'list_credentials(uuid)',
  ];
  return [
    {
      name: '0001_authz_keys',
      up: `
create schema authz${owner === undefined ? '' : ` authorization ${owner}`};
${owner === undefined ? '' : `set local role ${owner};`}
revoke all on schema authz from public;
grant usage on schema authz to ${app}${system === undefined ? '' : `, ${system}`};
${options.org === undefined ? DEFAULT_ORG : ''}
${ownOrg(names)}
${KEY_TABLE}
${rowSecurity(names, 'api_key')}
${credentialTable}
${rowSecurity(names, 'credential')}
${REVOCATION_FEED}
${keyFunctions}
${credentialFunctions}
revoke all on all functions in schema authz from public, ${app};
${callable.map((signature) => `grant execute on function authz.${signature} to ${app};`).join('\n')}
${options.org === undefined ? `grant execute on function authz.org_id() to ${app};` : ''}
grant execute on function authz.find_key(text) to ${system ?? app};
${system === undefined ? '' : systemAccess(system)}
${owner === undefined ? '' : 'set local role none;'}
`,
    },
  ];
}
