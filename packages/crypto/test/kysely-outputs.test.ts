/** Ways to compute with ciphertext, or to take it out, that name no sealed column: by an output, by another encoding. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { IndexValues } from '../src/kysely/blind-index.ts';
import type { DeclaredColumn, DeclaredIndex } from '../src/kysely/declaration.ts';
import { codeOf, entry, ORG_A, REFUSED, rawMemo, rowId, type World, world } from './kysely-setup.ts';

let w: World;
beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());

const from = () => w.db.selectFrom('ledger.entry as e');

describe('a sealed output is not sorted or grouped by', () => {
  const sealed = () => from().select(['e.id', 'e.memo as m']);
  it.each<[string, () => { execute(): Promise<unknown> }]>([
    ['order by its alias', () => sealed().orderBy('m')],
    ['order by its alias, downwards', () => sealed().orderBy('m', 'desc')],
    ['order by its alias in raw SQL', () => sealed().orderBy(sql`M desc`)],
    ['order by its alias in raw SQL, as a reference', () => sealed().orderBy(sql`${sql.ref('m')} desc`)],
    // PostgreSQL takes the output, not the column of that name.
    ['order by an alias that is a plain column too', () => from().select('e.memo as title').orderBy('title')],
    ['order by its position', () => sealed().orderBy(sql`2`)],
    ['order by its position, downwards', () => sealed().orderBy(sql`2 desc nulls last`)],
    ['order by its position behind a column', () => sealed().orderBy(sql`e.title, 2`)],
    ['order by a constant that is its position', () => sealed().orderBy((eb) => eb.lit(2))],
    ['order by at the end', () => sealed().modifyEnd(sql`order by m`)],
    ['order by a position at the end', () => sealed().modifyEnd(sql`order by 2`)],
    ['group by its alias', () => sealed().groupBy(['e.id', 'm' as never])],
    ['distinct on its alias', () => sealed().distinctOn('m' as never)],
    [
      'order by its alias in a CTE',
      () =>
        w.db
          .with('c', (q) => q.selectFrom('ledger.entry').select(['id', 'memo as m']).orderBy('m').limit(1))
          .selectFrom('c')
          .selectAll(),
    ],
  ])('%s', async (_what, attempt) => {
    expect(await codeOf(() => attempt().execute())).toBe(REFUSED);
  });

  it('but plain columns, plain outputs and expressions over them are', async () => {
    await w.db.insertInto('ledger.entry').values(entry(rowId())).execute();
    for (const query of [
      sealed().orderBy('e.title').orderBy('id', 'desc'),
      sealed().select('e.title as t').orderBy('t'),
      sealed().orderBy(sql`coalesce(length(e.title), 0) + 2`),
      from().select('e.title').orderBy(sql`1`),
    ])
      await query.execute();
  });
});

describe('sealed bytes do not leave in another encoding', () => {
  it.each([
    ['as text', sql`select scan::text as x from ledger.entry`],
    ['in hex', sql`select encode(scan, 'hex') as x from ledger.entry`],
    ['in base64', sql`select encode(scan, 'base64') as x from ledger.entry`],
    ['in a row as JSON', sql`select to_jsonb(e) as x from ledger.entry e`],
    ['in a row as text', sql`select e::text as x from ledger.entry e`],
    ['in a list as JSON', sql`select json_agg(scan) as x from ledger.entry`],
  ])('%s', async (_what, query) => {
    const scan = new TextEncoder().encode('scanned');
    await w.raw.deleteFrom('ledger.entry').execute();
    await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id: rowId(), scan }).execute();
    expect(await codeOf(() => query.execute(w.db))).toBe(REFUSED);
  });

  it('in a row that an expression of a select holds', async () => {
    const id = rowId();
    await w.db
      .insertInto('ledger.entry')
      .values({ org_id: ORG_A, id, scan: new Uint8Array(9) })
      .execute();
    const query = from().select(sql`to_jsonb(e)`.as('x')).where('e.id', '=', id);
    expect(await codeOf(() => query.execute())).toBe(REFUSED);
  });
});

it('one query keeps the index keys of columns apart, also where names with spaces could be cut in two ways', () => {
  const current = { version: 1, normalise: (text: string) => text, bits: 256 };
  const index: DeclaredIndex = { column: 'i', current, versions: [current] };
  const values = new IndexValues(w.keysA);
  const of = (table: string, name: string) =>
    values.stored({ table, name, type: 'text', index } satisfies DeclaredColumn, index, 'same');
  expect(of('b c', 'a')).not.toBe(of('c', 'a b'));
  values.wipe();
});

it('a table that is written to is not given as an expression: its columns would be taken for plain ones', async () => {
  const id = rowId();
  await w.db.insertInto('ledger.entry').values(entry(id, 'sealed')).execute();
  const before = await rawMemo(w, id);
  const hidden = sql.table('ledger.entry').as('e') as never;
  const update = w.db.updateTable(hidden) as unknown as {
    set(values: object): { where(column: string, operator: string, value: string): { execute(): unknown } };
  };
  expect(await codeOf(() => update.set({ memo: 'plain' }).where('id', '=', id).execute())).toBe(REFUSED);
  expect(await rawMemo(w, id)).toBe(before);
});
