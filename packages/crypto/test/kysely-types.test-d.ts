import type { Insertable, Kysely, Selectable, Updateable } from 'kysely';
import { expectTypeOf, test } from 'vitest';
import { columnMigration, encryptedColumns, type Sealed, whereBlind } from '../src/kysely/index.ts';
import { columns, type Database, type EntryTable } from './kysely-setup.ts';

declare const db: Kysely<Database>;

test('selects give the plain type', async () => {
  const row = await db.selectFrom('ledger.entry').select(['memo', 'scan']).executeTakeFirstOrThrow();
  expectTypeOf(row.memo).toExtend<string | null>();
  expectTypeOf(row.scan).toExtend<Uint8Array | null>();
  const memo: string | null = row.memo;
  expectTypeOf(memo).toEqualTypeOf<string | null>();
  expectTypeOf<Selectable<EntryTable>['memo']>().toExtend<string | null>();
});

test('inserts and updates take the plain type', () => {
  expectTypeOf<Insertable<EntryTable>['memo']>().toEqualTypeOf<string | null | undefined>();
  expectTypeOf<Updateable<EntryTable>['scan']>().toEqualTypeOf<Uint8Array | null | undefined>();
  db.insertInto('ledger.entry').values({ org_id: '', id: '', memo: 'x' });
  db.updateTable('ledger.entry').set({ memo: 'x' }).set('scan', new Uint8Array(1));
  // @ts-expect-error a number is no memo
  db.updateTable('ledger.entry').set({ memo: 1 });
});

test('a blind index cannot be written by hand', () => {
  // @ts-expect-error written with bank_reference
  db.insertInto('ledger.entry').values({ org_id: '', id: '', bank_reference_idx: 'x' });
  // @ts-expect-error written with bank_reference
  db.updateTable('ledger.entry').set({ bank_reference_idx: 'x' });
});

test('a sealed column cannot be compared with a plain value', () => {
  const query = db.selectFrom('ledger.entry as e').selectAll();
  // @ts-expect-error equal contents have different ciphertexts
  query.where('memo', '=', 'x');
  // @ts-expect-error nor qualified
  query.where('e.memo', '=', 'x');
  // @ts-expect-error nor in a list
  query.where('memo', 'in', ['x']);
  // @ts-expect-error nor by pattern
  query.where('memo', 'like', 'x%');
  // @ts-expect-error nor bytes
  query.where('scan', '=', new Uint8Array(1));
  // @ts-expect-error nor the index with a plain value
  query.where('bank_reference_idx', '=', 'x');
  query.where('memo', 'is', null);
});

test('only columns with a blind index can be searched', () => {
  const query = db.selectFrom('ledger.entry as e').innerJoin('ledger.account as a', 'a.owner', 'e.id');
  query.where((eb) => whereBlind(eb, 'e.bank_reference', 'x'));
  query.where((eb) => whereBlind(eb, 'iban', 'x'));
  // @ts-expect-error memo has no index
  query.where((eb) => whereBlind(eb, 'e.memo', 'x'));
  // @ts-expect-error the alias must be in scope
  query.where((eb) => whereBlind(eb, 'ledger.entry.bank_reference', 'x'));
  // @ts-expect-error a value, not null
  query.where((eb) => whereBlind(eb, 'e.bank_reference', null));
});

interface Small {
  invoice: { id: string; memo: Sealed<string> };
  plain: { id: string };
}

test('a declaration names every sealed table and column, and no other', () => {
  encryptedColumns<Small>({ invoice: { row: 'id', columns: { memo: 'text' } } });
  // @ts-expect-error the sealed table is missing
  encryptedColumns<Small>({});
  // @ts-expect-error the sealed column is missing
  encryptedColumns<Small>({ invoice: { row: 'id', columns: {} } });
  const invoice = { row: 'id', columns: { memo: 'text' } } as const;
  // @ts-expect-error no such table
  encryptedColumns<Small>({ invoice, bill: { row: 'id', columns: {} } });
  // @ts-expect-error a table without sealed columns
  encryptedColumns<Small>({ invoice, plain: { row: 'id', columns: {} } });
  // @ts-expect-error no such column
  encryptedColumns<Small>({ invoice: { row: 'id', columns: { memo: 'text', note: 'text' } } });
  // @ts-expect-error no such row-id column
  encryptedColumns<Small>({ invoice: { row: 'number', columns: { memo: 'text' } } });
  // @ts-expect-error memo is a text
  encryptedColumns<Small>({ invoice: { row: 'id', columns: { memo: 'bytes' } } });
  // @ts-expect-error the interface has no index column for memo
  encryptedColumns<Small>({ invoice: { row: 'id', columns: { memo: { type: 'text', blindIndex: 'id' } } } });
});

test('a migration names sealed columns only', () => {
  columnMigration(columns, { columns: ['ledger.entry.memo'], until: new Date() });
  // @ts-expect-error a plain column
  columnMigration(columns, { columns: ['ledger.entry.title'], until: new Date() });
});
