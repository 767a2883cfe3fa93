import { createHook } from 'node:async_hooks';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { isSealedText } from '../src/index.ts';
import { whereBlind } from '../src/kysely/index.ts';
import { codeOf, entry, ORG_A, REFUSED, rawMemo, rowId, type World, world } from './kysely-setup.ts';

let w: World;
beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());

async function promisesMadeBy(run: () => Promise<unknown>): Promise<number> {
  let made = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'PROMISE') made += 1;
    },
  }).enable();
  await run();
  hook.disable();
  return made;
}

describe('writing and reading', () => {
  it.each([
    ['a text', 'Paid by wire'],
    ['the empty string', ''],
    ['Unicode', 'Überweisung 🦊 \u0000-free \u202e é'.replace('\u0000', '')],
    ['a text that looks sealed', 'rf1.not really'],
  ])('stores %s sealed and gives it back', async (_what, memo) => {
    const id = rowId();
    await w.db.insertInto('ledger.entry').values(entry(id, memo)).execute();
    expect(isSealedText((await rawMemo(w, id)) ?? '')).toBe(true);
    const row = await w.db.selectFrom('ledger.entry').select('memo').where('id', '=', id).executeTakeFirst();
    expect(row).toEqual({ memo });
  });

  it('keeps null as null, in the index too', async () => {
    const id = rowId();
    await w.db
      .insertInto('ledger.entry')
      .values({ ...entry(id, null), bank_reference: null })
      .execute();
    expect(await rawMemo(w, id)).toBeNull();
    const row = await w.db.selectFrom('ledger.entry').selectAll().where('id', '=', id).executeTakeFirst();
    expect(row).toMatchObject({ memo: null, bank_reference: null, bank_reference_idx: null });
  });

  it('inserts many rows with different columns, each for its own cell', async () => {
    const [a, b, c] = [rowId(), rowId(), rowId()];
    const scan = Uint8Array.of(0, 255, 7);
    await w.db
      .insertInto('ledger.entry')
      .values([
        entry(a, 'one'),
        { org_id: ORG_A, id: b, scan, bank_reference: 'R-2' },
        { ...entry(c, null), title: null },
      ])
      .execute();
    const rows = await w.db
      .selectFrom('ledger.entry')
      .select(['id', 'memo', 'scan', 'bank_reference'])
      .where('id', 'in', [a, b, c])
      .orderBy('id')
      .execute();
    expect(rows).toEqual([
      { id: a, memo: 'one', scan: null, bank_reference: null },
      { id: b, memo: null, scan, bank_reference: 'R-2' },
      { id: c, memo: null, scan: null, bank_reference: null },
    ]);
  });

  it('updates one row, by object, by name and to null', async () => {
    const id = rowId();
    await w.db.insertInto('ledger.entry').values(entry(id)).execute();
    const update = w.db.updateTable('ledger.entry').where('id', '=', id);
    await update.set({ memo: 'second', title: `t ${id}` }).execute();
    await update.set('bank_reference', 'R-9').execute();
    const row = w.db.selectFrom('ledger.entry').select(['memo', 'bank_reference']).where('id', '=', id);
    expect(await row.executeTakeFirst()).toEqual({ memo: 'second', bank_reference: 'R-9' });
    await w.db
      .updateTable('ledger.entry as e')
      .set({ bank_reference: null })
      .where('e.id', '=', id)
      .execute();
    const stored = await w.raw.selectFrom('ledger.entry').selectAll().where('id', '=', id).executeTakeFirst();
    expect(stored).toMatchObject({ bank_reference: null, bank_reference_idx: null });
  });

  it('opens what insert, update and delete return', async () => {
    const id = rowId();
    const inserted = await w.db
      .insertInto('ledger.entry')
      .values(entry(id, 'a'))
      .returningAll()
      .executeTakeFirst();
    expect(inserted).toMatchObject({ id, memo: 'a' });
    const updated = await w.db
      .updateTable('ledger.entry')
      .set({ memo: 'b' })
      .where('id', '=', id)
      .returning(['memo as now', 'title'])
      .execute();
    expect(updated).toEqual([{ now: 'b', title: null }]);
    const deleted = await w.db
      .deleteFrom('ledger.entry as e')
      .where('e.id', '=', id)
      .returning('e.memo')
      .execute();
    expect(deleted).toEqual([{ memo: 'b' }]);
  });

  it('opens joined tables under aliases, each with its own row id', async () => {
    const [id, other] = [rowId(), rowId()];
    await w.db
      .insertInto('ledger.entry')
      .values([entry(id, 'first'), entry(other, 'second')])
      .execute();
    await w.db
      .insertInto('ledger.account')
      .values({ owner: id, number: 7, memo: 'account', label: 'L' })
      .execute();
    const rows = await w.db
      .selectFrom('ledger.entry as e')
      .innerJoin('ledger.entry as f', (join) => join.on('f.id', '=', other))
      .leftJoin('ledger.account as a', (join) => join.onRef('a.owner', '=', sql<string>`e.id::text`))
      .leftJoin('ledger.account as none', (join) => join.on('none.owner', '=', 'nobody'))
      .select(['e.memo as mine', 'f.memo', 'a.memo as account', 'none.memo as nothing', 'a.label'])
      .where('e.id', '=', id)
      .execute();
    expect(rows).toEqual([{ mine: 'first', memo: 'second', account: 'account', nothing: null, label: 'L' }]);
  });

  it('opens select * of a joined table beside a plain one', async () => {
    const id = rowId();
    await w.db.insertInto('ledger.entry').values(entry(id, 'x')).execute();
    const rows = await w.db
      .selectFrom('ledger.entry as e')
      .leftJoin('ledger.note as n', 'n.id', 'e.id')
      .selectAll('e')
      .select('n.id as note')
      .where('e.id', '=', id)
      .execute();
    expect(rows[0]).toMatchObject({ id, memo: 'x', note: null });
    expect(Object.keys(rows[0] ?? {}).some((name) => name.startsWith('rf$'))).toBe(false);
  });

  it('keeps composite row ids apart, and numbers and texts of one id together', async () => {
    await w.db
      .insertInto('ledger.account')
      .values([
        { owner: 'a', number: 11, memo: 'a-11' },
        { owner: 'a1', number: 1, memo: 'a1-1' },
      ])
      .execute();
    await w.db
      .updateTable('ledger.account')
      .set({ memo: 'new' })
      .where('number', '=', 1)
      .where('owner', '=', 'a1')
      .execute();
    const rows = await w.db
      .selectFrom('ledger.account')
      .select('memo')
      .where('number', 'in', [1, 11])
      .orderBy('number')
      .execute();
    expect(rows).toEqual([{ memo: 'new' }, { memo: 'a-11' }]);
  });

  it('seals under the canonical row id, however the id is spelled', async () => {
    const id = rowId();
    await w.db.insertInto('ledger.entry').values(entry(id.toUpperCase(), 'upper')).execute();
    const row = await w.db.selectFrom('ledger.entry').select('memo').where('id', '=', id).executeTakeFirst();
    expect(row).toEqual({ memo: 'upper' });
    expect(
      await codeOf(() =>
        w.db
          .insertInto('ledger.entry')
          .values(entry(`{${rowId()}}`))
          .execute(),
      ),
    ).toBe('TypeError');
    const spelled = { owner: 'o', number: '007' as unknown as number, memo: 'x' };
    expect(await codeOf(() => w.db.insertInto('ledger.account').values(spelled).execute())).toBe('TypeError');
  });

  it('works in transactions and compiled queries', async () => {
    const id = rowId();
    const memo = await w.db.transaction().execute(async (trx) => {
      await trx.insertInto('ledger.entry').values(entry(id, 'in trx')).execute();
      return trx.selectFrom('ledger.entry').select('memo').where('id', '=', id).executeTakeFirstOrThrow();
    });
    expect(memo).toEqual({ memo: 'in trx' });
    const compiled = w.db.selectFrom('ledger.entry').select('memo').where('id', '=', id).compile();
    expect((await w.db.executeQuery(compiled)).rows).toEqual([{ memo: 'in trx' }]);
    expect((await w.db.executeQuery(compiled)).rows).toEqual([{ memo: 'in trx' }]);
  });

  it('seals and opens a batch of 1000 rows', async () => {
    const ids = Array.from({ length: 1000 }, rowId);
    await w.db
      .insertInto('ledger.entry')
      .values(ids.map((id) => ({ ...entry(id), bank_reference: 'batch' })))
      .execute();
    const rows = await w.db
      .selectFrom('ledger.entry')
      .select(['id', 'memo'])
      .where('id', 'in', ids)
      .execute();
    expect(rows).toHaveLength(1000);
    expect(rows.every(({ id, memo }) => memo === `memo of ${id}`)).toBe(true);
    const query = (db: typeof w.db) => () =>
      db.selectFrom('ledger.entry').select('memo').where('id', 'in', ids).execute();
    const [plain, opened] = [await promisesMadeBy(query(w.raw)), await promisesMadeBy(query(w.db))];
    expect(opened - plain).toBeLessThan(50); // opening is synchronous: promises per query, not per row
  });

  it('keeps queries apart that were built from one builder and run at the same time', async () => {
    const id = rowId();
    await w.db
      .insertInto('ledger.entry')
      .values({ ...entry(id, 'memo!'), bank_reference: 'ref!', title: id })
      .execute();
    const base = w.db.selectFrom('ledger.entry').where('id', '=', id);
    const search = (value: string) =>
      base.select('id').where((eb) => whereBlind(eb, 'bank_reference', value));
    const runs = [
      base.select('memo'),
      base.select('bank_reference as memo'),
      base.select('title'),
      base.selectAll(),
    ];
    const searches = [search('ref!'), search('none'), search('REF!')];
    const [memo, reference, title, all] = await Promise.all(runs.map((query) => query.execute()));
    const hits = await Promise.all(searches.map((query) => query.execute()));
    expect([memo, reference, title]).toEqual([[{ memo: 'memo!' }], [{ memo: 'ref!' }], [{ title: id }]]);
    expect(all?.[0]).toMatchObject({ memo: 'memo!', bank_reference: 'ref!' });
    expect(hits.map((rows) => rows.length)).toEqual([1, 0, 1]);
    const again = base.select('memo');
    expect(again.compile().sql).toBe(again.compile().sql);
  });

  it('can be explained', async () => {
    const plan = await w.db.selectFrom('ledger.entry').select('memo').explain();
    expect(plan.length).toBeGreaterThan(0);
  });

  it('seals in a CTE that writes', async () => {
    const id = rowId();
    await w.db
      .with('written', (q) => q.insertInto('ledger.entry').values(entry(id, 'cte')).returning('id'))
      .selectFrom('written')
      .select('id')
      .execute();
    const row = await w.db.selectFrom('ledger.entry').select('memo').where('id', '=', id).executeTakeFirst();
    expect(row).toEqual({ memo: 'cte' });
  });

  it('sends no plaintext to the database', async () => {
    const id = rowId();
    w.sent.length = 0;
    await w.db
      .insertInto('ledger.entry')
      .values({ ...entry(id, 'secret-memo'), bank_reference: 'secret-ref' })
      .execute();
    await w.db.updateTable('ledger.entry').set({ memo: 'secret-again' }).where('id', '=', id).execute();
    expect(w.sent).toHaveLength(2);
    expect(w.sent.join()).not.toMatch(/secret/i);
  });
});

describe('upserts', () => {
  it('seal excluded and plain values when the conflict is on the row id', async () => {
    const id = rowId();
    const insert = (memo: string) =>
      w.db.insertInto('ledger.entry').values({ ...entry(id, memo), bank_reference: memo });
    await insert('one').execute();
    await insert('two')
      .onConflict((oc) =>
        oc.column('id').doUpdateSet((eb) => ({
          memo: eb.ref('excluded.memo'),
          bank_reference: eb.ref('excluded.bank_reference'),
        })),
      )
      .execute();
    const read = () =>
      w.db
        .selectFrom('ledger.entry')
        .select(['memo', 'bank_reference'])
        .where('id', '=', id)
        .executeTakeFirst();
    expect(await read()).toEqual({ memo: 'two', bank_reference: 'two' });
    const { bank_reference_idx: index } = await w.raw
      .selectFrom('ledger.entry')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    await insert('three')
      .onConflict((oc) => oc.column('id').doUpdateSet({ bank_reference: 'four' }))
      .execute();
    expect(await read()).toEqual({ memo: 'two', bank_reference: 'four' });
    const after = await w.raw
      .selectFrom('ledger.entry')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    expect(after.bank_reference_idx).not.toBe(index);
  });

  it('are refused when the existing row may have another id', async () => {
    const title = `unique ${rowId()}`;
    await w.db
      .insertInto('ledger.entry')
      .values({ ...entry(rowId(), 'kept'), title })
      .execute();
    const insert = w.db.insertInto('ledger.entry').values({ ...entry(rowId(), 'taken'), title });
    const attempts = [
      insert.onConflict((oc) => oc.column('title').doUpdateSet({ memo: 'x' })),
      insert.onConflict((oc) => oc.column('title').doUpdateSet((eb) => ({ memo: eb.ref('excluded.memo') }))),
      insert.onConflict((oc) => oc.constraint('entry_title_key').doUpdateSet({ memo: 'x' })),
      insert.onConflict((oc) => oc.column('id').doUpdateSet((eb) => ({ memo: eb.ref('excluded.payee') }))),
      insert.onConflict((oc) => oc.column('id').doUpdateSet((eb) => ({ title: eb.ref('excluded.memo') }))),
      insert.onConflict((oc) => oc.column('id').doUpdateSet({ id: rowId() })),
      w.db
        .insertInto('ledger.entry')
        .values([entry(rowId()), entry(rowId())])
        .onConflict((oc) => oc.column('id').doUpdateSet({ memo: 'x' })),
    ];
    for (const attempt of attempts) expect(await codeOf(() => attempt.execute())).toBe(REFUSED);
    await insert.onConflict((oc) => oc.column('title').doUpdateSet({ title: `${title}!` })).execute();
    await insert.onConflict((oc) => oc.doNothing()).execute();
  });
});
