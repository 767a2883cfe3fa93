import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { whereBlind } from '../src/kysely/index.ts';
import { codeOf, failure, ORG_A, ORG_B, rowId, type World, world } from './kysely-setup.ts';

let w: World;
let id: string;
const REFUSED = 'crypto.query_refused';
const x = 'x' as never;

beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());
beforeEach(async () => {
  id = rowId();
  await w.db
    .insertInto('ledger.entry')
    .values({ org_id: ORG_A, id, title: id, memo: 'memo', payee: 'payee', scan: Uint8Array.of(7) })
    .execute();
});

/** A CTE `c` over the row of this test. */
const entries = () =>
  w.db.with('c', (q) =>
    q.selectFrom('ledger.entry').select(['title', 'memo', 'payee', 'scan as picture']).where('id', '=', id),
  );

describe('a sealed column that a CTE passes on opens', () => {
  it('by name, by alias, and under *, without its row id in the result', async () => {
    const opened = { title: id, memo: 'memo', payee: 'payee', picture: Uint8Array.of(7) };
    const all = await entries().selectFrom('c').selectAll().execute();
    expect(all.map((row) => ({ ...row, picture: Uint8Array.from(row.picture ?? []) }))).toEqual([opened]);
    expect(await entries().selectFrom('c').selectAll('c').select('c.title as t').execute()).toMatchObject([
      { title: id, memo: 'memo', t: id },
    ]);
    expect(await entries().selectFrom('c as k').select('k.memo as m').execute()).toEqual([{ m: 'memo' }]);
    expect(await entries().selectFrom('c').select('memo').where('memo', 'is not', null).execute()).toEqual([
      { memo: 'memo' },
    ]);
  });

  it('out of * in the CTE, through a second CTE, and materialised', async () => {
    const query = w.db
      .with(
        (name) => name('a').materialized(),
        (q) => q.selectFrom('ledger.entry').selectAll().where('id', '=', id),
      )
      .with('b', (q) => q.selectFrom('a').selectAll().select('a.memo as again'))
      .selectFrom('b')
      .innerJoin('a', 'a.id', 'b.id')
      .select(['b.memo', 'again', 'a.payee']);
    expect(await query.execute()).toEqual([{ memo: 'memo', again: 'memo', payee: 'payee' }]);
  });

  it('out of a CTE within the CTE', async () => {
    const query = w.db
      .with('a', (q) =>
        q
          .with('b', (r) => r.selectFrom('ledger.entry').select('memo').where('id', '=', id))
          .selectFrom('b')
          .select('memo as inner'),
      )
      .selectFrom('a')
      .selectAll();
    expect(await query.execute()).toEqual([{ inner: 'memo' }]);
  });

  it('of two tables joined in the CTE, each with its own row id, and of the same CTE twice', async () => {
    const number = Number.parseInt(id.slice(-12), 16);
    await w.db
      .insertInto('ledger.account')
      .values({ owner: id, number, label: null, memo: 'of the account', iban: null })
      .execute();
    const rows = await w.db
      .with('both', (q) =>
        q
          .selectFrom('ledger.entry as e')
          .innerJoin('ledger.account as a', 'a.owner', 'e.title')
          .select(['e.id as entry', 'e.memo as one', 'a.memo as two'])
          .where('e.id', '=', id),
      )
      .selectFrom('both as l')
      .innerJoin('both as r', 'r.entry', 'l.entry')
      .select(['l.one', 'l.two', 'r.two as three'])
      .execute();
    expect(rows).toEqual([{ one: 'memo', two: 'of the account', three: 'of the account' }]);
  });

  it('of ordered, limited and outer-joined rows, null staying null', async () => {
    const other = rowId();
    await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id: other, memo: null }).execute();
    const rows = await w.db
      .with('c', (q) =>
        q
          .selectFrom('ledger.entry as e')
          .leftJoin('ledger.entry as f', (on) => on.onRef('f.id', '=', 'e.id').on('f.id', '=', id))
          .select(['e.id', 'e.memo', 'f.memo as joined'])
          .where('e.id', 'in', [id, other])
          .orderBy('e.id')
          .limit(2),
      )
      .selectFrom('c')
      .selectAll()
      .orderBy('id')
      .execute();
    expect(rows).toEqual([
      { id, memo: 'memo', joined: 'memo' },
      { id: other, memo: null, joined: null },
    ]);
  });

  it('in the returning list of an update that is joined to the CTE', async () => {
    const rows = await entries()
      .updateTable('ledger.entry as e')
      .from('c')
      .set({ title: null })
      .where('e.id', '=', id)
      .returning(['e.memo', 'c.memo as passed'])
      .execute();
    expect(rows).toEqual([{ memo: 'memo', passed: 'memo' }]);
  });

  it('only for its cell and its organisation', async () => {
    const moved = rowId();
    await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id: moved, memo: 'other' }).execute();
    await sql`update ledger.entry set memo = (select memo from ledger.entry where id = ${moved}) where id = ${id}`.execute(
      w.raw,
    );
    expect(await failure(() => entries().selectFrom('c').selectAll().execute())).toMatchObject({
      code: 'crypto.decrypt_failed',
      table: 'ledger.entry',
      column: 'memo',
      row: id,
    });
    const foreign = w.dbB
      .with('c', (q) => q.selectFrom('ledger.entry').select('memo').where('id', '=', moved))
      .selectFrom('c')
      .select('memo');
    expect(await failure(() => foreign.execute())).toMatchObject({
      code: 'crypto.unknown_key_version',
      row: moved,
    });
    expect(ORG_B).not.toBe(ORG_A);
  });
});

describe('what a CTE passes on is refused where it would be computed with, hidden or written', () => {
  const from = () => entries().selectFrom('c');
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    ['where by cast', () => from().select('title').where('memo', '=', x)],
    ['where on its alias', () => from().select('title').where('c.picture', '=', x)],
    ['where with raw SQL', () => from().select('title').where(sql<boolean>`picture = 'x'`)],
    ['order by', () => from().select('title').orderBy('memo')],
    ['group by', () => from().select('title').groupBy(['title', 'memo'])],
    ['distinct', () => from().select('memo').distinct()],
    ['an aggregate', () => from().select((eb) => eb.fn.max('memo').as('m'))],
    ['a whole row', () => from().select((eb) => eb.fn.toJson('c').as('m'))],
    ['a whole row by name', () => from().select(sql.ref('c').as('m') as never)],
    [
      'a join condition',
      () =>
        from()
          .innerJoin('ledger.note as n', 'n.memo', 'c.memo' as never)
          .select('c.title'),
    ],
    [
      'a subquery in the list',
      () => from().select((eb) => eb.selectFrom('c as d').select('d.memo').limit(1).as('m')),
    ],
    [
      'select * in a subquery',
      () =>
        entries()
          .selectFrom((eb) => eb.selectFrom('c').selectAll().as('s'))
          .selectAll(),
    ],
    [
      'whereBlind',
      () =>
        from()
          .select('title')
          .where(blindPayee as never),
    ],
    [
      'a union',
      () =>
        from()
          .select('memo')
          .union(from().select('memo') as never),
    ],
    [
      'an unqualified name of two sources',
      () => from().innerJoin('ledger.entry as e', 'e.title', 'c.title').select('memo'),
    ],
    [
      'an insert from it',
      () =>
        entries()
          .insertInto('ledger.note')
          .columns(['id', 'memo'])
          .expression((eb) => eb.selectFrom('c').select(['title', 'memo'] as never)),
    ],
    [
      'an insert of all of it',
      () =>
        entries()
          .insertInto('ledger.note')
          .columns(['id', 'memo'])
          .expression((eb) => eb.selectFrom('c').selectAll() as never),
    ],
    [
      'an insert from it in another CTE',
      () =>
        entries()
          .with('d', (q) =>
            q
              .insertInto('ledger.note')
              .columns(['id', 'memo'])
              .expression((eb) => eb.selectFrom('c').select(['title', 'memo'] as never)),
          )
          .selectFrom('c')
          .select('title'),
    ],
    [
      'an update from it',
      () =>
        entries()
          .updateTable('ledger.note')
          .from('c')
          .set((eb) => ({ memo: eb.ref('c.memo') as never })),
    ],
    [
      'a merge with it',
      () =>
        entries()
          .mergeInto('ledger.note')
          .using('c', 'c.title', 'ledger.note.memo')
          .whenMatched()
          .thenUpdateSet((eb) => ({ memo: eb.ref('c.memo') as never })),
    ],
  ])('%s', async (_what, attempt) => {
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
  });

  const blindPayee = (eb: never) => whereBlind(eb, 'c.payee' as never, 'payee');
});

describe('a CTE that could not tell the cell is refused', () => {
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    [
      'select distinct',
      () =>
        w.db
          .with('c', (q) => q.selectFrom('ledger.entry').select('memo').distinct())
          .selectFrom('c')
          .selectAll(),
    ],
    [
      'a union',
      () =>
        w.db
          .with('c', (q) =>
            q
              .selectFrom('ledger.entry')
              .select('memo')
              .union(q.selectFrom('ledger.note').select('memo') as never),
          )
          .selectFrom('c')
          .selectAll(),
    ],
    [
      'an expression',
      () =>
        w.db
          .with('c', (q) => q.selectFrom('ledger.entry').select((eb) => eb.fn.max('memo').as('m')))
          .selectFrom('c')
          .selectAll(),
    ],
    [
      'with columns named by position',
      () =>
        w.db
          .with('c(key, text)', (q) => q.selectFrom('ledger.entry').select(['id as key', 'memo as text']))
          .selectFrom('c')
          .select('text'),
    ],
    [
      'recursive',
      () =>
        w.db
          .withRecursive('c', (q) => q.selectFrom('ledger.entry').select(['id', 'memo']))
          .selectFrom('c')
          .select('memo'),
    ],
    [
      'of a subquery',
      () =>
        w.db
          .selectFrom((eb) =>
            eb
              .selectFrom(
                w.db
                  .with('c', (q) => q.selectFrom('ledger.entry').select('memo'))
                  .selectFrom('c')
                  .select('memo')
                  .as('s'),
              )
              .select('s.memo')
              .as('t'),
          )
          .selectAll(),
    ],
    [
      'two outputs of one name',
      () =>
        w.db
          .with('c', (q) => q.selectFrom('ledger.entry').select(['memo', 'title as memo'] as never))
          .selectFrom('c')
          .selectAll(),
    ],
    [
      'a write that returns it',
      () =>
        w.db
          .with('c', (q) => q.updateTable('ledger.entry').set({ title: 'x' }).returning(['id', 'memo']))
          .selectFrom('c')
          .select('memo'),
    ],
  ])('%s', async (_what, attempt) => {
    w.sent.length = 0;
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
    expect(w.sent).toEqual([]);
  });

  it('and ciphertext that reaches a CTE past the declaration is found in the result', async () => {
    const viaView = w.db
      .with('c', (q) =>
        q
          .selectFrom('ledger.entry_view' as 'ledger.note')
          .selectAll()
          .where('id', '=', id),
      )
      .selectFrom('c')
      .selectAll();
    expect(await codeOf(() => viaView.execute())).toBe(REFUSED);
  });
});
