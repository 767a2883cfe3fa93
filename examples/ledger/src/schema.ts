/**
 * The tables of the ledger: DDL as the owner role runs it, and the same tables as Kysely types.
 * `org_id` leads every key, so that a foreign key or a unique constraint can neither reach nor reveal another organisation.
 * Sealed columns refuse anything that is not in the sealed text form.
 */
import type { AssurancePlan } from '@ringfence/authz/session';
import { type BlindIndex, encryptedColumns, type Sealed, sealedColumnChecks } from '@ringfence/crypto/kysely';
import { policySql } from '@ringfence/tenancy/policies';
import type { ColumnType, Generated } from 'kysely';
import { tenancySchema } from './tenancy-schema.ts';

/** Every table the app reaches, by its qualified name. */
export interface Database {
  'ledger.org': {
    org_id: Generated<string>;
    name: string;
    plan: AssurancePlan;
    require_mfa: Generated<boolean>;
  };
  'ledger.member': {
    org_id: Generated<string>;
    user_id: string;
    issuer: string;
    subject: string;
    name: string;
    roles: string[];
  };
  'ledger.statement': {
    org_id: Generated<string>;
    id: string;
    file: string;
    object_key: string;
    status: 'received' | 'imported' | 'refused';
    problem: string | null;
    problem_code: string | null;
  };
  'ledger.bank_line': {
    org_id: Generated<string>;
    id: string;
    statement_id: string;
    bank_transaction_id: string;
    booked_on: string;
    amount_cents: ColumnType<string, number, number>;
    currency: string;
    counterparty: Sealed<string>;
    description: Sealed<string>;
    reference: Sealed<string>;
  };
  'ledger.entry': {
    org_id: Generated<string>;
    id: string;
    bank_line_id: string | null;
    booked_on: string;
    debit_account: string;
    credit_account: string;
    amount_cents: ColumnType<string, number, number>;
    memo: Sealed<string>;
    bank_reference: Sealed<string>;
    bank_reference_idx: BlindIndex<'bank_reference'>;
    status: 'posted' | 'approved';
    posted_by: string;
    approved_by: string | null;
  };
  'ledger.review': {
    org_id: Generated<string>;
    id: string;
    entry_id: string;
    note: Sealed<string>;
    reviewed_by: string;
  };
  'ledger.attachment': {
    org_id: Generated<string>;
    id: string;
    entry_id: string;
    name: Sealed<string>;
    object_key: string;
  };
}

/** What is sealed, and what can be searched although it is. */
export const columns = encryptedColumns<Database>({
  'ledger.bank_line': {
    row: 'id',
    org: 'org_id',
    columns: { counterparty: 'text', description: 'text', reference: 'text' },
  },
  'ledger.attachment': { row: 'id', org: 'org_id', columns: { name: 'text' } },
  'ledger.review': { row: 'id', org: 'org_id', columns: { note: 'text' } },
  'ledger.entry': {
    row: 'id',
    org: 'org_id',
    columns: {
      memo: 'text',
      bank_reference: {
        type: 'text',
        blindIndex: { column: 'bank_reference_idx', normalise: 'lowercase-trim' },
      },
    },
  },
});

/**
 * What the app role does to entries, whatever SQL was injected into it: posts them as whoever the verified context names,
 * and approves what is posted and was posted by somebody else, as who the context names, with nothing else changed.
 */
const KEPT_ENTRIES = `
create function ledger.keep_entry() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' and new.status = 'posted' and new.posted_by = tenancy.actor() then return null; end if;
  if tg_op = 'UPDATE' and old.status = 'posted' and new.status = 'approved' and new.approved_by = tenancy.actor()
    and to_jsonb(old) - '{status,approved_by}'::text[] = to_jsonb(new) - '{status,approved_by}'::text[] then return null;
  end if;
  raise exception 'an entry is posted and approved by who acts, and changes in no other way'
    using errcode = '42501', schema = 'ledger', table = 'entry', constraint = 'ledger.entry_kept';
end $$;`;

/**
 * The DDL of schema `ledger`. Keys are written here, for people to read; policies and grants are generated from the
 * declaration, behind the migrations of the other packages, which it names too.
 */
export function ledgerSchema(appRole: string): string {
  return `
create schema ledger;

create table ledger.org (
  org_id uuid primary key,
  name text not null,
  plan text not null check (plan in ('free', 'pro', 'enterprise')),
  require_mfa boolean not null default false
);
create table ledger.member (
  org_id uuid not null,
  user_id uuid not null,
  issuer text not null,
  subject text not null,
  name text not null,
  roles text[] not null,
  primary key (org_id, user_id),
  unique (org_id, issuer, subject)
);
create table ledger.statement (
  org_id uuid not null,
  id uuid not null,
  file text not null,
  object_key text not null,
  status text not null check (status in ('received', 'imported', 'refused')),
  problem text check ((problem is not null) = (status = 'refused')),
  problem_code text check ((problem_code is not null) = (status = 'refused')),
  primary key (org_id, id)
);
create table ledger.bank_line (
  org_id uuid not null,
  id uuid not null,
  statement_id uuid not null,
  bank_transaction_id text not null,
  booked_on date not null,
  amount_cents bigint not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  counterparty text not null,
  description text not null,
  reference text not null,
  primary key (org_id, id),
  foreign key (org_id, statement_id) references ledger.statement (org_id, id),
  unique (org_id, bank_transaction_id)
);
create index bank_line_statement on ledger.bank_line (org_id, statement_id);
create table ledger.entry (
  org_id uuid not null,
  id uuid not null,
  bank_line_id uuid,
  booked_on date not null check (isfinite(booked_on)),
  debit_account text not null,
  credit_account text not null check (credit_account <> debit_account),
  amount_cents bigint not null check (amount_cents > 0),
  memo text not null,
  bank_reference text not null,
  bank_reference_idx text not null,
  status text not null check (status in ('posted', 'approved')),
  posted_by text not null,
  approved_by text check ((approved_by is null) = (status = 'posted')) check (approved_by <> posted_by),
  primary key (org_id, id),
  constraint entry_bank_line foreign key (org_id, bank_line_id) references ledger.bank_line (org_id, id),
  constraint entry_books_bank_line_once unique (org_id, bank_line_id)
);
${KEPT_ENTRIES}
create trigger keep after insert or update on ledger.entry for each row
  when (current_user = '${appRole}') execute function ledger.keep_entry();
create table ledger.review (
  org_id uuid not null,
  id uuid not null,
  entry_id uuid not null,
  note text not null,
  reviewed_by text not null,
  primary key (org_id, id),
  foreign key (org_id, entry_id) references ledger.entry (org_id, id)
);
create index review_entry on ledger.review (org_id, entry_id);
create table ledger.attachment (
  org_id uuid not null,
  id uuid not null,
  entry_id uuid not null,
  name text not null,
  object_key text not null,
  primary key (org_id, id),
  foreign key (org_id, entry_id) references ledger.entry (org_id, id)
);
create index entry_bank_reference on ledger.entry (org_id, bank_reference_idx);
${sealedColumnChecks(columns).join('\n')}
${policySql(tenancySchema(appRole), { keys: false })}
`;
}
