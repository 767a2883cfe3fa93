import { sql } from 'kysely';
import { jsonArrayFrom } from 'kysely/helpers/postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  codeOf,
  entry,
  failure,
  ORG_A,
  ORG_B,
  REFUSED,
  rawMemo,
  rowId,
  type World,
  world,
} from './kysely-setup.ts';

let w: World;
beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());

describe('a write whose row is not fixed is refused', () => {
  const update = () => w.db.updateTable('ledger.entry').set({ memo: 'x' });
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    ['update without where', () => update()],
    ['update of several rows', () => update().where('id', 'in', [rowId(), rowId()])],
    ['update by another column', () => update().where('title', '=', 'x')],
    ['update under or', () => update().where((eb) => eb.or([eb('id', '=', rowId()), eb('title', '=', 'x')]))],
    ['update of all other rows', () => update().where((eb) => eb.not(eb('id', '=', rowId())))],
    ['update by a row id that is not equal', () => update().where('id', '>', rowId())],
    ['update by an expression', () => update().where('id', '=', sql<string>`gen_random_uuid()`)],
    [
      'update by the id of a joined table',
      () => update().from('ledger.note as n').where('n.id', '=', rowId()),
    ],
    [
      'update by half a row id',
      () => w.db.updateTable('ledger.account').set({ memo: 'x' }).where('owner', '=', 'a'),
    ],
    [
      'insert without row id',
      () => w.db.insertInto('ledger.entry').values({ org_id: ORG_A, memo: 'x' } as never),
    ],
    [
      'insert with a computed row id',
      () => w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id: sql`gen_random_uuid()`, memo: 'x' }),
    ],
    [
      'update of the organisation',
      () => w.db.updateTable('ledger.entry').set({ org_id: ORG_B }).where('id', '=', rowId()),
    ],
    [
      'update of the row id',
      () => w.db.updateTable('ledger.entry').set({ id: rowId() }).where('id', '=', rowId()),
    ],
  ])('%s', async (_what, attempt) => {
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
  });
});

describe('a write that is no plain value is refused', () => {
  const id = rowId();
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    [
      'raw SQL in insert',
      () => w.db.insertInto('ledger.entry').values({ ...entry(id), memo: sql<string>`'plain'` }),
    ],
    [
      'raw SQL in update',
      () => w.db.updateTable('ledger.entry').set({ memo: sql<string>`'plain'` }).where('id', '=', id),
    ],
    [
      'another sealed column',
      () =>
        w.db
          .updateTable('ledger.entry')
          .set((eb) => ({ memo: eb.ref('payee') }))
          .where('id', '=', id),
    ],
    [
      'a sealed column put into a plain one',
      () =>
        w.db
          .updateTable('ledger.entry')
          .set((eb) => ({ title: eb.ref('memo') }))
          .where('id', '=', id),
    ],
    [
      'a sealed column put into a plain one by raw SQL',
      () => w.db.updateTable('ledger.entry').set({ title: sql<string>`upper(memo)` }).where('id', '=', id),
    ],
    [
      'insert from select',
      () =>
        w.db
          .insertInto('ledger.entry')
          .columns(['id', 'memo'])
          .expression((eb) => eb.selectFrom('ledger.note').select(['id', 'memo'] as never)),
    ],
    [
      'insert of a sealed column into another table',
      () =>
        w.db
          .insertInto('ledger.note')
          .columns(['id', 'memo'])
          .expression((eb) => eb.selectFrom('ledger.entry').select(['id', 'memo'] as never)),
    ],
    [
      'the blind index by cast',
      () =>
        w.db
          .updateTable('ledger.entry')
          .set({ bank_reference_idx: 'v1.x' } as never)
          .where('id', '=', id),
    ],
    [
      'the blind index by insert',
      () => w.db.insertInto('ledger.entry').values({ ...entry(id), bank_reference_idx: 'v1.x' } as never),
    ],
    [
      'the id of another organisation',
      () => w.db.insertInto('ledger.entry').values({ ...entry(id), org_id: ORG_B }),
    ],
    [
      'merge',
      () =>
        w.db
          .mergeInto('ledger.entry')
          .using('ledger.note', 'ledger.note.id', 'ledger.entry.id')
          .whenMatched()
          .thenUpdateSet({ memo: 'plain' }),
    ],
  ])('%s', async (_what, attempt) => {
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
  });

  it('takes a value of another type for a mistake of the programmer', async () => {
    const values = { ...entry(rowId()), memo: 5 } as never;
    expect(await codeOf(() => w.db.insertInto('ledger.entry').values(values).execute())).toBe('TypeError');
    const lone = entry(rowId(), '\ud800');
    expect(await codeOf(() => w.db.insertInto('ledger.entry').values(lone).execute())).toBe('TypeError');
  });

  it('does not seal what is sealed already', async () => {
    const [one, two] = [rowId(), rowId()];
    await w.db.insertInto('ledger.entry').values(entry(one)).execute();
    const sealed = await rawMemo(w, one);
    const failed = await failure(() => w.db.insertInto('ledger.entry').values(entry(two, sealed)).execute());
    expect(failed).toMatchObject({ code: REFUSED, column: 'memo', row: two });
    expect(failed.text).not.toContain(sealed);
  });
});

describe('a read that would compute with ciphertext is refused', () => {
  const from = () => w.db.selectFrom('ledger.entry as e');
  const x = 'x' as never;
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    ['where memo = x by cast', () => from().select('e.id').where('e.memo', '=', x)],
    ['where memo = x without qualifier', () => from().select('e.id').where('memo', '=', x)],
    ['where with a reference', () => from().select('e.id').whereRef('e.memo', '=', 'e.title')],
    ['where memo like', () => from().select('e.id').where('e.memo', 'like', x)],
    ['where with raw SQL', () => from().select('e.id').where(sql<boolean>`e.memo = 'x'`)],
    [
      'where with raw SQL and a reference',
      () =>
        from()
          .select('e.id')
          .where(sql<boolean>`${sql.ref('e.memo')} = 'x'`),
    ],
    [
      'where with raw SQL and an identifier',
      () =>
        from()
          .select('e.id')
          .where(sql<boolean>`${sql.id('e', 'memo')} = 'x'`),
    ],
    ['order by', () => from().select('e.id').orderBy('e.memo')],
    ['group by', () => from().select('e.title').groupBy(['e.title', 'e.memo'])],
    [
      'having',
      () =>
        from()
          .select('e.title')
          .groupBy('e.title')
          .having((eb) => eb.fn.max('e.memo'), '=', x),
    ],
    ['distinct', () => from().select('e.memo').distinct()],
    ['distinct on', () => from().select('e.id').distinctOn('e.memo')],
    ['an aggregate', () => from().select((eb) => eb.fn.max('e.memo').as('m'))],
    ['a function', () => from().select((eb) => eb.fn<string>('upper', ['e.memo']).as('m'))],
    ['a cast', () => from().select((eb) => eb.cast<string>('e.memo', 'varchar').as('m'))],
    ['raw SQL in the list', () => from().select(sql<string>`e.memo || ''`.as('m'))],
    ['a whole row', () => from().select((eb) => eb.fn.toJson('e').as('m'))],
    ['a whole row by name', () => from().select(sql.ref('e').as('m') as never)],
    ['a join condition', () => from().innerJoin('ledger.note as n', 'n.memo', 'e.memo').select('e.id')],
    [
      'a subquery in the list',
      () => from().select((eb) => eb.selectFrom('ledger.entry as f').select('f.memo').limit(1).as('m')),
    ],
    [
      'a subquery of select *',
      () => w.db.selectFrom((eb) => eb.selectFrom('ledger.entry').selectAll().as('s')).select('s.memo'),
    ],
    [
      'a query of this handle as a subquery',
      () =>
        from()
          .select('e.id')
          .where('e.title', 'in', w.db.selectFrom('ledger.entry').select('memo') as never),
    ],
    [
      'a JSON aggregate of a subquery',
      () =>
        from().select((eb) =>
          jsonArrayFrom(eb.selectFrom('ledger.entry as f').select('f.memo').whereRef('f.id', '=', 'e.id')).as(
            'm',
          ),
        ),
    ],
    [
      'a correlated subquery',
      () => from().select((eb) => eb.selectFrom('ledger.note as n').select('e.memo').limit(1).as('m')),
    ],
    [
      'a CTE that writes and returns it',
      () =>
        w.db
          .with('c', (q) => q.deleteFrom('ledger.entry').where('title', '=', 'none').returning('memo'))
          .selectFrom('c')
          .selectAll(),
    ],
    [
      'a union',
      () =>
        from()
          .select('e.memo')
          .union((eb) => eb.selectFrom('ledger.note').select('memo') as never),
    ],
    [
      'the other side of a union',
      () =>
        w.db
          .selectFrom('ledger.note')
          .select('memo')
          .union(from().select('e.memo') as never),
    ],
    [
      'two outputs of one name',
      () => from().innerJoin('ledger.note as n', 'n.id', 'e.id').select(['e.memo', 'n.memo']),
    ],
    [
      'two encrypted tables under *',
      () => from().innerJoin('ledger.account as a', 'a.label', 'e.title').selectAll(),
    ],
    [
      'a column whose table is not clear',
      () =>
        from()
          .innerJoin('ledger.account as a', 'a.label', 'e.title')
          .select('memo' as never),
    ],
    [
      'returning an expression',
      () =>
        w.db
          .deleteFrom('ledger.entry')
          .where('title', '=', 'none')
          .returning((eb) => eb.fn<string>('upper', ['memo']).as('m')),
    ],
    ['the table under another spelling', () => w.db.selectFrom('entry' as never).select('memo' as never)],
    [
      'a CTE with the name of the table',
      () =>
        w.db
          .with('entry', (q) => q.selectFrom('ledger.note').select('memo'))
          .selectFrom('entry')
          .selectAll(),
    ],
    ['an output that pretends to be hidden', () => from().select('e.title as rf$1')],
    ['delete by a sealed value', () => w.db.deleteFrom('ledger.entry').where('memo', '=', x)],
  ])('%s', async (_what, attempt) => {
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
  });

  it('but null can be tested, and subqueries may use plain columns', async () => {
    const [id, none] = [rowId(), rowId()];
    await w.db
      .insertInto('ledger.entry')
      .values([entry(id, 'there'), entry(none, null)])
      .execute();
    const rows = await from()
      .select(['e.id', 'e.memo'])
      .where('e.memo', 'is not', null)
      .where('e.id', 'in', (eb) =>
        eb.selectFrom('ledger.entry as f').select('f.id').where('f.id', 'in', [id, none]),
      )
      .where(({ exists, selectFrom, lit }) =>
        exists(selectFrom('ledger.entry as g').select(lit(1).as('one')).whereRef('g.id', '=', 'e.id')),
      )
      .forUpdate()
      .execute();
    expect(rows).toEqual([{ id, memo: 'there' }]);
    const counted = await w.db
      .with('c', (q) => q.selectFrom('ledger.entry').select('id').where('id', '=', id))
      .selectFrom('c')
      .select((eb) => eb.fn.countAll<string>().as('n'))
      .executeTakeFirst();
    expect(counted).toEqual({ n: '1' });
    const asSubquery = w.db
      .selectFrom('ledger.entry')
      .select('id')
      .where('memo', 'is', null)
      .where('id', '=', none);
    expect(await from().select('e.memo').where('e.id', 'in', asSubquery).execute()).toEqual([{ memo: null }]);
  });
});
