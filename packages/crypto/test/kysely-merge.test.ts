import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { codeOf, failure, ORG_A, rowId, type World, world } from './kysely-setup.ts';

let w: World;
let id: string;
const PLAIN = 'plain text of the merge';

beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());
beforeEach(async () => {
  id = rowId();
  await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id, memo: 'memo' }).execute();
  await w.db.insertInto('ledger.note').values({ id, memo: 'note' }).execute();
});

const stored = async () =>
  (
    await sql`select e.memo, n.memo as note from ledger.entry e left join ledger.note n using (id)`.execute(
      w.raw,
    )
  ).rows;

describe('a merge that touches an encrypted table is refused before it is sent', () => {
  const into = () => w.db.mergeInto('ledger.entry as e').using('ledger.note as n', 'n.id', 'e.id');
  const from = () => w.db.mergeInto('ledger.note as n').using('ledger.entry as e', 'n.id', 'e.id');
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    ['update of a sealed column', () => into().whenMatched().thenUpdateSet({ memo: PLAIN })],
    ['update of a plain column', () => into().whenMatched().thenUpdateSet({ title: PLAIN })],
    [
      'update when not matched by the source',
      () => into().whenNotMatchedBySource().thenUpdateSet({ memo: PLAIN }),
    ],
    [
      'insert of plain values',
      () => into().whenNotMatched().thenInsertValues({ org_id: ORG_A, id: rowId(), memo: PLAIN }),
    ],
    [
      'insert of values of the source',
      () =>
        into()
          .whenNotMatched()
          .thenInsertValues((eb) => ({ org_id: ORG_A, id: eb.ref('n.id'), memo: eb.ref('n.memo') as never })),
    ],
    ['delete', () => into().whenMatched().thenDelete()],
    ['nothing', () => into().whenMatched().thenDoNothing()],
    [
      'returning',
      () =>
        into()
          .whenMatched()
          .thenDoNothing()
          .returning('e.memo' as never),
    ],
    ['returning all', () => into().whenMatched().thenDoNothing().returningAll()],
    [
      'a sealed column as the source',
      () =>
        from()
          .whenMatched()
          .thenUpdateSet((eb) => ({ memo: eb.ref('e.memo') as never })),
    ],
    ['an encrypted table as the source', () => from().whenMatched().thenUpdateSet({ memo: PLAIN })],
    [
      'a condition on a sealed column',
      () =>
        from()
          .whenMatchedAnd('e.memo', '=', 'x' as never)
          .thenDelete(),
    ],
    [
      'a subquery that reads a sealed column',
      () =>
        w.db
          .mergeInto('ledger.note as n')
          .using('ledger.note as m', 'n.id', 'm.id')
          .whenMatched()
          .thenUpdateSet((eb) => ({
            memo: eb.selectFrom('ledger.entry as e').select('e.memo').limit(1) as never,
          })),
    ],
    [
      'a source that reads a sealed column',
      () =>
        w.db
          .mergeInto('ledger.note as n')
          .using(w.db.selectFrom('ledger.entry').select(['id', 'memo']).as('s'), 's.id', 'n.id')
          .whenMatched()
          .thenDelete(),
    ],
    [
      'a merge in a CTE',
      () =>
        w.db
          .with('m', () => into().whenMatched().thenUpdateSet({ memo: PLAIN }) as never)
          .selectFrom('ledger.note')
          .select('id'),
    ],
  ])('%s', async (_what, attempt) => {
    const before = await stored();
    w.sent.length = 0;
    const failed = await failure(() => attempt().execute());
    expect(failed.code, failed.text).toBe('crypto.query_refused');
    expect(failed.text).not.toContain(PLAIN);
    expect(w.sent).toEqual([]);
    expect(await stored()).toEqual(before);
  });

  it('also under another spelling', async () => {
    const merge = w.db
      .mergeInto('entry' as 'ledger.entry')
      .using('ledger.note', 'ledger.note.id', 'ledger.entry.id')
      .whenMatched()
      .thenUpdateSet({ memo: PLAIN });
    expect(await codeOf(() => merge.execute())).toBe('crypto.query_refused');
  });
});

it('a merge of other tables works, and its returning list is looked through', async () => {
  const merge = w.db
    .mergeInto('ledger.note as n')
    .using('ledger.note as m', 'n.id', 'm.id')
    .whenMatchedAnd('n.id', '=', id)
    .thenUpdateSet({ memo: PLAIN });
  await merge.execute();
  expect(await w.db.selectFrom('ledger.note').select('memo').where('id', '=', id).execute()).toEqual([
    { memo: PLAIN },
  ]);
  await sql`update ledger.note set memo = (select memo from ledger.entry where id = ${id}) where id = ${id}`.execute(
    w.raw,
  );
  const returning = w.db
    .mergeInto('ledger.note as n')
    .using('ledger.note as m', 'n.id', 'm.id')
    .whenMatchedAnd('n.id', '=', id)
    .thenUpdateSet((eb) => ({ memo: eb.ref('n.memo') }))
    .returning(sql<string>`n.memo`.as('memo'));
  expect(await codeOf(() => returning.execute())).toBe('crypto.query_refused');
});
