/** A database with encrypted tables, two organisations with real keys, and attack tools, for the tests of `/kysely`. */
import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { createKeyring, type OrgId, type OrgKeys, parseOrgId } from '../src/index.ts';
import {
  type BlindIndex,
  type EncryptedColumns,
  encryptedColumns,
  type Sealed,
  withEncryption,
} from '../src/kysely/index.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';

export interface EntryTable {
  org_id: string;
  id: string;
  title: string | null;
  memo: Sealed<string | null>;
  bank_reference: Sealed<string | null>;
  bank_reference_idx: BlindIndex<'bank_reference'>;
  payee: Sealed<string | null>;
  payee_idx: BlindIndex<'payee'>;
  scan: Sealed<Uint8Array | null>;
}

export interface AccountTable {
  owner: string;
  number: number;
  label: string | null;
  memo: Sealed<string | null>;
  iban: Sealed<string | null>;
  iban_idx: BlindIndex<'iban'>;
}

export interface Database {
  'ledger.entry': EntryTable;
  'ledger.account': AccountTable;
  'ledger.note': { id: string; memo: string | null };
}

export const ORG_A: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const ORG_B: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');

export const columns: EncryptedColumns<Database> = encryptedColumns<Database>({
  'ledger.entry': {
    row: 'id',
    org: 'org_id',
    columns: {
      memo: 'text',
      bank_reference: {
        type: 'text',
        blindIndex: { column: 'bank_reference_idx', normalise: 'lowercase-trim' },
      },
      payee: { type: 'text', blindIndex: { column: 'payee_idx', truncateBits: 8 } },
      scan: 'bytes',
    },
  },
  'ledger.account': {
    row: { owner: 'text', number: 'integer' },
    columns: { memo: { type: 'text' }, iban: { type: 'text', blindIndex: 'iban_idx' } },
  },
});

export interface World {
  /** URL of the database's owner. */
  readonly url: string;
  /** Without the plugin: what the database holds, and the attacker's hand. */
  readonly raw: Kysely<Database>;
  readonly db: Kysely<Database>;
  readonly keysA: OrgKeys;
  readonly keysB: OrgKeys;
  readonly dbB: Kysely<Database>;
  /** SQL texts and parameters sent so far. */
  readonly sent: string[];
  close(): Promise<void>;
}

export async function world(serverUrl: string): Promise<World> {
  const database = await createTestDatabase(serverUrl, 'columns');
  const pool = new pg.Pool({ connectionString: database.ownerUrl, max: 4 });
  pool.on('error', () => {}); // the server may be stopped while a session ends
  const sent: string[] = [];
  const raw = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query }) => {
      sent.push(`${query.sql} ${JSON.stringify(query.parameters)}`);
    },
  });
  await sql
    .raw(`create schema ledger;
      create table ledger.entry (
        org_id uuid not null default '${ORG_A}', id uuid primary key, title text unique, memo text, bank_reference text,
        bank_reference_idx text, payee text, payee_idx text, scan bytea);
      create table ledger.account (
        owner text, number bigint, label text, memo text, iban text, iban_idx text, primary key (owner, number));
      create table ledger.note (id uuid primary key, memo text);
      create view ledger.entry_view as select * from ledger.entry;`)
    .execute(raw);
  const keyring = createKeyring({
    app: 'ledger',
    kms: [localKms({ keks: { main: randomBytes(32) } })],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
  });
  await keyring.createOrg(ORG_A);
  await keyring.createOrg(ORG_B);
  const keysA = await keyring.org(ORG_A);
  const keysB = await keyring.org(ORG_B);
  return {
    url: database.ownerUrl,
    raw,
    db: withEncryption(raw, keysA, columns, { mode: 'strict' }),
    dbB: withEncryption(raw, keysB, columns),
    keysA,
    keysB,
    sent,
    close: async () => {
      await raw.destroy();
      await keyring.close();
      await database.drop();
    },
  };
}

let counter = 0;

/** A fresh row id. */
export function rowId(): string {
  counter += 1;
  return `0190f5d2-0000-7000-8000-${counter.toString(16).padStart(12, '0')}`;
}

export interface Failure {
  readonly code: string;
  readonly table: string | undefined;
  readonly column: string | undefined;
  readonly row: string | undefined;
  readonly text: string;
}

/** How an attempt failed; fails the test when it does not. */
export async function failure(attempt: () => unknown): Promise<Failure> {
  try {
    await attempt();
  } catch (error) {
    const { code, details } = error as { code?: string; details?: Record<string, string> };
    return {
      code: code ?? (error as Error).name,
      table: details?.['table'],
      column: details?.['column'],
      row: details?.['row'],
      text: `${(error as Error).stack} ${JSON.stringify(error)} ${JSON.stringify(details)}`,
    };
  }
  throw new Error('the attempt did not fail');
}

/** Code an attempt fails with. */
export async function codeOf(attempt: () => unknown): Promise<string> {
  return (await failure(attempt)).code;
}

/** The code of a query that is refused. */
export const REFUSED = 'crypto.query_refused';

/** A row of `ledger.entry` as a test inserts it. */
export const entry = (
  id: string,
  memo: string | null = `memo of ${id}`,
): { org_id: string; id: string; memo: string | null } => ({ org_id: ORG_A, id, memo });

/** A memo as the database has it. */
export async function rawMemo(w: World, id: string): Promise<string | null> {
  const row = await w.raw
    .selectFrom('ledger.entry')
    .select('memo')
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  return row.memo;
}
