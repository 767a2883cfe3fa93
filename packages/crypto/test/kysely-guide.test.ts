/** The guide docs/encrypted-columns.md, run: each of its TypeScript blocks is a region of this file. */

// #region imports
import {
  type BlindIndex,
  columnMigration,
  countBlindIndexes,
  EncryptedColumnError,
  encryptedColumns,
  reindexBlind,
  type Sealed,
  sealExisting,
  sealedColumnChecks,
  whereBlind,
  withEncryption,
} from '@ringfence/crypto/kysely';
// #endregion

import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { createKeyring, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';

// #region interface
interface Database {
  'ledger.entry': {
    org_id: string;
    id: string;
    amount: number;
    memo: Sealed<string | null>;
    bank_reference: Sealed<string>;
    bank_reference_idx: BlindIndex<'bank_reference'>;
    scan: Sealed<Uint8Array | null>;
  };
}
// #endregion

// #region declaration
const columns = encryptedColumns<Database>({
  'ledger.entry': {
    row: 'id',
    org: 'org_id',
    columns: {
      memo: 'text',
      bank_reference: {
        type: 'text',
        blindIndex: { column: 'bank_reference_idx', normalise: 'lowercase-trim' },
      },
      scan: 'bytes',
    },
  },
});
// #endregion

// #region rotated
const rotated = encryptedColumns<Database>({
  'ledger.entry': {
    row: 'id',
    org: 'org_id',
    columns: {
      memo: 'text',
      bank_reference: {
        type: 'text',
        blindIndex: {
          column: 'bank_reference_idx',
          version: 2,
          normalise: { name: 'digits', normalise: (text) => text.replaceAll(/\D/g, '') },
          previous: [{ version: 1, normalise: 'lowercase-trim' }],
        },
      },
      scan: 'bytes',
    },
  },
});
// #endregion

it('the guide does what it says', async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'guide');
  const pool = new pg.Pool({ connectionString: database.ownerUrl, max: 2 });
  pool.on('error', () => {}); // the server may be stopped while a session ends
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  await sql
    .raw(`create schema ledger; create table ledger.entry (org_id uuid, id uuid primary key, amount int, memo text,
      bank_reference text, bank_reference_idx text, scan bytea)`)
    .execute(kysely);
  const keyring = createKeyring({
    app: 'ledger',
    kms: [localKms({ keks: { main: new Uint8Array(32).fill(1) } })],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
  });
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
  await keyring.createOrg(org);
  const id = '0190f5d2-0000-7000-8000-000000000001';
  const old = '0190f5d2-0000-7000-8000-000000000002';
  const plain = [org, old, 5, 'old plaintext', 'INV-2041 '];

  // #region handle
  const db = withEncryption(kysely, await keyring.org(org), columns, { mode: 'strict' });

  await db
    .insertInto('ledger.entry')
    .values({ org_id: org, id, amount: 1200, memo: 'Paid by wire', bank_reference: 'INV-2041' })
    .execute();

  const entry = await db
    .selectFrom('ledger.entry as e')
    .select(['e.amount', 'e.memo'])
    .where('e.id', '=', id)
    .executeTakeFirstOrThrow();
  // entry.memo is 'Paid by wire'

  await db.updateTable('ledger.entry').set({ memo: 'Paid by card' }).where('id', '=', id).execute();
  // #endregion
  expect(entry).toEqual({ amount: 1200, memo: 'Paid by wire' });
  // #region cte
  const recent = await db
    .with('recent', (qc) =>
      qc.selectFrom('ledger.entry').select(['id', 'memo']).orderBy('id', 'desc').limit(20),
    )
    .selectFrom('recent')
    .selectAll()
    .execute();
  // #endregion
  expect(recent).toEqual([{ id, memo: 'Paid by card' }]);

  await sql`insert into ledger.entry (org_id, id, amount, memo, bank_reference) values (${sql.join(plain)})`.execute(
    kysely,
  );

  // #region failure
  try {
    await db.selectFrom('ledger.entry').select('memo').execute();
  } catch (error) {
    if (!(error instanceof EncryptedColumnError)) throw error;
    error.code; // 'crypto.malformed_message': somebody wrote plaintext
    error.details; // { org, table: 'ledger.entry', column: 'memo', row: '0190f5d2-…' }, never content
  }
  // #endregion

  // #region migration
  const migration = columnMigration(columns, {
    columns: ['ledger.entry.memo', 'ledger.entry.bank_reference'],
    until: new Date('2099-01-31T00:00:00Z'),
    onPlaintext: (counts) => console.debug(counts),
  });
  const migrating = withEncryption(kysely, await keyring.org(org), columns, { mode: 'migrating', migration });
  // #endregion
  console.debug = () => {};
  expect(await migrating.selectFrom('ledger.entry').select('memo').where('id', '=', old).execute()).toEqual([
    { memo: 'old plaintext' },
  ]);
  expect(migration.migrationReport()[0]).toEqual({ column: 'ledger.entry.memo', plaintextReads: 1 });

  // #region sweep
  const swept = await sealExisting(kysely, await keyring.org(org), columns, { batch: 500 });
  const done = swept.every(({ remaining }) => remaining === 0);
  // #endregion
  expect(done).toBe(true);

  // #region search
  const hits = await db
    .selectFrom('ledger.entry as e')
    .select(['e.id', 'e.memo'])
    .where((eb) => whereBlind(eb, 'e.bank_reference', 'inv-2041'))
    .execute();
  // #endregion
  expect(hits.map((hit) => hit.memo).sort()).toEqual(['Paid by card', 'old plaintext']);

  // #region checks
  for (const statement of sealedColumnChecks(columns)) await sql.raw(statement).execute(kysely);
  // alter table "ledger"."entry" add constraint "memo_sealed" check ("memo" ^@ 'rf1.');
  // #endregion

  // #region rotation
  await reindexBlind(kysely, await keyring.org(org), rotated);
  const counts = await countBlindIndexes(kysely, await keyring.org(org), rotated);
  const retired = counts.every(({ prefix }) => prefix?.startsWith('v2.') === true);
  // #endregion
  expect(retired).toBe(true);
  await kysely.destroy();
  await keyring.close();
  await database.drop();
});

it('every TypeScript block of the guide is a region of this file', () => {
  const guide = new URL('../../../docs/encrypted-columns.md', import.meta.url);
  expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
});
