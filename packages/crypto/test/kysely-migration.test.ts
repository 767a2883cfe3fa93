import { sql } from 'kysely';
import { afterAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { columnMigration, type PlaintextCount, sealExisting, withEncryption } from '../src/kysely/index.ts';
import { codeOf, columns, failure, ORG_A, ORG_B, rowId, type World, world } from './kysely-setup.ts';

const worlds: World[] = [];
let w: World;
beforeEach(async () => {
  w = await world(inject('databaseUrl'));
  worlds.push(w);
});
afterAll(() => Promise.all(worlds.map((one) => one.close())));

const END = Date.UTC(2027, 0, 31);

function migrating(now: () => number = () => END - 1) {
  const told: (readonly PlaintextCount[])[] = [];
  const migration = columnMigration(columns, {
    columns: ['ledger.entry.memo', 'ledger.entry.bank_reference'],
    until: new Date(END),
    onPlaintext: (counts) => told.push(counts),
    now,
  });
  return { db: withEncryption(w.raw, w.keysA, columns, { mode: 'migrating', migration }), migration, told };
}

async function plaintext(count: number, org: string = ORG_A): Promise<string[]> {
  const ids = Array.from({ length: count }, rowId);
  for (const id of ids)
    await sql`insert into ledger.entry (org_id, id, memo, bank_reference, scan)
      values (${org}, ${id}, ${`plain ${id}`}, 'Ref', 'bytes')`.execute(w.raw);
  return ids;
}

describe('migration mode', () => {
  it('reads plaintext of the listed columns through, counts it and tells once per query', async () => {
    const ids = await plaintext(3);
    const { db, migration, told } = migrating();
    const rows = await db.selectFrom('ledger.entry').select(['id', 'memo']).orderBy('id').execute();
    expect(rows).toEqual(ids.map((id) => ({ id, memo: `plain ${id}` })));
    const counts = [
      { column: 'ledger.entry.memo', plaintextReads: 3 },
      { column: 'ledger.entry.bank_reference', plaintextReads: 0 },
    ];
    expect(migration.migrationReport()).toEqual(counts);
    expect(told).toEqual([counts]);
  });

  it('seals what it writes', async () => {
    const [id = ''] = await plaintext(1);
    await migrating()
      .db.updateTable('ledger.entry')
      .set({ memo: 'now sealed' })
      .where('id', '=', id)
      .execute();
    expect(await w.db.selectFrom('ledger.entry').select('memo').execute()).toEqual([{ memo: 'now sealed' }]);
  });

  it('refuses plaintext in a column that is not listed', async () => {
    await plaintext(1);
    const query = migrating().db.selectFrom('ledger.entry').select('scan');
    expect(await failure(() => query.execute())).toMatchObject({
      code: 'crypto.malformed_message',
      column: 'scan',
    });
  });

  it('ends on its date', async () => {
    await plaintext(1);
    let now = END - 1;
    const { db } = migrating(() => now);
    const query = db.selectFrom('ledger.entry').select('memo');
    expect(await query.execute()).toHaveLength(1);
    now = END;
    expect(await codeOf(() => query.execute())).toBe('crypto.malformed_message');
  });

  it('does not take ciphertext of another cell for plaintext', async () => {
    const [id = ''] = await plaintext(1);
    await w.db.updateTable('ledger.entry').set({ payee: 'p' }).where('id', '=', id).execute();
    await sql`update ledger.entry set memo = payee`.execute(w.raw);
    expect(await codeOf(() => migrating().db.selectFrom('ledger.entry').select('memo').execute())).toBe(
      'crypto.decrypt_failed',
    );
  });

  it('has an end and declared columns', () => {
    const options = { columns: ['ledger.entry.memo'] as const, until: new Date(Number.NaN) };
    expect(() => columnMigration(columns, options)).toThrow(TypeError);
    expect(() =>
      columnMigration(columns, { columns: ['ledger.entry.title' as never], until: new Date() }),
    ).toThrow(TypeError);
  });
});

describe('the sweep', () => {
  const single = { singleOrg: true };

  it('seals all plaintext of its organisation, with indexes, and counts none left', async () => {
    const ids = await plaintext(7);
    const [foreign = ''] = await plaintext(1, ORG_B);
    const report = await sealExisting(w.raw, w.keysA, columns, { ...single, batch: 3 });
    expect(report.filter(({ changed }) => changed > 0)).toEqual([
      { column: 'ledger.entry.memo', changed: 7, remaining: 0 },
      { column: 'ledger.entry.bank_reference', changed: 7, remaining: 0 },
      { column: 'ledger.entry.scan', changed: 7, remaining: 0 },
    ]);
    const rows = await w.db
      .selectFrom('ledger.entry')
      .selectAll()
      .where('org_id', '=', ORG_A)
      .orderBy('id')
      .execute();
    expect(rows.map(({ memo }) => memo)).toEqual(ids.map((id) => `plain ${id}`));
    expect(rows.every((row) => row.bank_reference_idx?.startsWith('v1.') === true)).toBe(true);
    expect(Buffer.from(rows[0]?.scan ?? []).toString()).toBe('bytes');
    const theirs = await w.raw
      .selectFrom('ledger.entry')
      .select('memo')
      .where('id', '=', foreign)
      .executeTakeFirst();
    expect(theirs).toEqual({ memo: `plain ${foreign}` });
  });

  it('goes on where it was stopped', async () => {
    await plaintext(5);
    const stop = new AbortController();
    const first = await sealExisting(w.raw, w.keysA, columns, {
      ...single,
      batch: 2,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    expect(first[0]).toEqual({ column: 'ledger.entry.memo', changed: 2, remaining: 3 });
    const second = await sealExisting(w.raw, w.keysA, columns, { ...single, batch: 2 });
    expect(second[0]).toEqual({ column: 'ledger.entry.memo', changed: 3, remaining: 0 });
    expect(
      await w.db.selectFrom('ledger.entry').select(['memo', 'scan', 'bank_reference']).execute(),
    ).toHaveLength(5);
  });

  it('needs to know whose rows it sees', async () => {
    expect(await codeOf(() => sealExisting(w.raw, w.keysA, columns))).toBe('TypeError');
  });
});
