/**
 * `@ringfence/crypto/migrations`: the DDL of the key store, schema `crypto`, plain SQL in order, also as Kysely migrations.
 * Invariant: what must hold against a buggy or injected statement is a constraint, trigger or missing privilege, not
 * code: one active version per organisation, no wrap for a shredded version, a shredded version stays shredded and keeps
 * what was destroyed, the application neither changes nor deletes what it has no business with.
 *
 * @packageDocumentation
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { subjectKeySql } from '../subjects/subject-key-sql.ts';

/** Settings of the migrations: the roles that get privileges. */
export interface CryptoMigrationOptions {
  /** Login of the application: reads, inserts versions, wraps and subject keys, changes states, erases subjects. */
  readonly appRole: string;
  /** Login of key operations (re-wrap, move, shred): may delete wraps too. None unless given: then only the owner may. */
  readonly operatorRole?: string;
}

/** One migration: a name that sorts, and its SQL. */
export interface SqlMigration {
  /** Name, in the order of application. */
  readonly name: string;
  /** Statements, separated by semicolons. Run them in one transaction. */
  readonly up: string;
}

/**
 * The ordered steps of the schema.
 *
 * @throws TypeError when a role name is not 1 to 63 of `a-z 0-9 _` beginning with a letter or `_`, or both roles are one.
 * @example
 * ```ts
 * for (const { up } of cryptoMigrations({ appRole: 'ledger_app' })) await owner.query(up);
 * ```
 */
export function cryptoMigrations(options: CryptoMigrationOptions): readonly SqlMigration[] {
  const app = roleName(options.appRole);
  const operator = options.operatorRole === undefined ? undefined : roleName(options.operatorRole);
  // Whoever deletes wraps ends an organisation's data for good: not a right of the role that serves requests.
  if (app === operator)
    throw new TypeError('the roles of application and operator are not two different ones');
  return [
    { name: '0001_crypto_key_store', up: keyStoreSql(app, operator) },
    { name: '0002_crypto_subject_keys', up: subjectKeySql(app, operator) },
  ];
}

/**
 * The same steps for Kysely's `Migrator`.
 *
 * @throws TypeError as `cryptoMigrations`.
 */
export function cryptoKyselyMigrations(options: CryptoMigrationOptions): Record<string, Migration> {
  return Object.fromEntries(
    cryptoMigrations(options).map(({ name, up }) => [
      name,
      {
        up: async (db: Kysely<unknown>) => {
          await sql.raw(up).execute(db);
        },
      },
    ]),
  );
}

function keyStoreSql(app: string, operator: string | undefined): string {
  return `
create schema crypto;
revoke all on schema crypto from public;

create table crypto.dek_version (
  org_id     uuid        not null,
  version    integer     not null check (version >= 1),
  key_id     bytea       not null check (octet_length(key_id) = 16),
  state      text        not null check (state in ('active', 'decrypt_only', 'retired', 'shredded')),
  created_at timestamptz not null,
  shredded_at        timestamptz,
  destroyed_kek_uris text[],
  primary key (org_id, version),
  unique (org_id, key_id),
  constraint dek_version_tombstone check (
    (state = 'shredded') = (shredded_at is not null) and (state = 'shredded') = (destroyed_kek_uris is not null)
  )
);
create unique index dek_version_one_active on crypto.dek_version (org_id) where state = 'active';

create table crypto.dek_wrap (
  org_id     uuid        not null,
  key_id     bytea       not null,
  kek_uri    text        not null check (kek_uri like '_%:%'),
  wrapped    bytea       not null check (octet_length(wrapped) between 1 and 65535),
  binding    bytea       not null check (octet_length(binding) = 32),
  position   smallint    not null check (position >= 0),
  created_at timestamptz not null default now(),
  primary key (org_id, key_id, kek_uri),
  foreign key (org_id, key_id) references crypto.dek_version (org_id, key_id)
);

create function crypto.keep_version_order() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  if tg_op = 'INSERT' then
    if exists (select from crypto.dek_version v where v.org_id = new.org_id and v.state = 'shredded') then
      raise exception 'the organisation is shredded' using errcode = 'check_violation';
    end if;
    if new.version <> 1 + coalesce((select max(v.version) from crypto.dek_version v where v.org_id = new.org_id), 0) then
      raise exception 'versions of an organisation have no gaps' using errcode = 'check_violation';
    end if;
  elsif not (
    (old.state = 'active' and new.state in ('decrypt_only', 'shredded'))
    or (old.state = 'decrypt_only' and new.state in ('retired', 'shredded'))
    or (old.state = 'retired' and new.state in ('decrypt_only', 'shredded'))
    or old.state = new.state
  ) then
    raise exception 'a version cannot go from % to %', old.state, new.state using errcode = 'check_violation';
  elsif new.state = 'shredded' then
    if new.shredded_at is distinct from coalesce(old.shredded_at, new.shredded_at) then
      raise exception 'a tombstone keeps its time' using errcode = 'check_violation';
    end if;
    -- Here and not in a statement, so that what a shred certifies is what was there.
    new.destroyed_kek_uris := coalesce(old.destroyed_kek_uris, '{}') || array(
      select w.kek_uri from crypto.dek_wrap w
        where w.org_id = new.org_id and w.key_id = new.key_id order by w.position, w.kek_uri);
  end if;
  return new;
end $$;
create trigger keep_version_order before insert or update on crypto.dek_version
  for each row execute function crypto.keep_version_order();

create function crypto.keep_shredded_dark() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  -- The lock makes a shred and a new wrap wait for each other.
  perform from crypto.dek_version v
    where v.org_id = new.org_id and v.key_id = new.key_id and v.state <> 'shredded' for share;
  if not found then
    raise exception 'a shredded version gets no wrap' using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger keep_shredded_dark before insert or update on crypto.dek_wrap
  for each row execute function crypto.keep_shredded_dark();

grant usage on schema crypto to ${app};
grant select, insert on crypto.dek_version, crypto.dek_wrap to ${app};
grant update (state) on crypto.dek_version to ${app};
${
  operator === undefined
    ? ''
    : `
grant usage on schema crypto to ${operator};
grant select, insert on crypto.dek_version to ${operator};
grant update (state, shredded_at) on crypto.dek_version to ${operator};
grant select, insert, delete on crypto.dek_wrap to ${operator};
`
}`;
}

function roleName(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) {
    throw new TypeError('a role name is 1 to 63 of a-z 0-9 _ and does not begin with a digit');
  }
  return `"${name}"`;
}
