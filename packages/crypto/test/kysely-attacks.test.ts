import { inspect } from 'node:util';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  encryptedColumns,
  type Sealed,
  sealedColumnChecks,
  whereBlind,
  withEncryption,
} from '../src/kysely/index.ts';
import { codeOf, columns, failure, ORG_A, ORG_B, rowId, type World, world } from './kysely-setup.ts';

let w: World;
beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());

const SECRET = 'attack-secret';
const FAILED = 'crypto.decrypt_failed';

async function written(values: Record<string, unknown> = {}): Promise<string> {
  const id = rowId();
  await w.db
    .insertInto('ledger.entry')
    .values({ org_id: ORG_A, id, memo: SECRET, payee: `${SECRET} payee`, ...values })
    .execute();
  return id;
}
const read = (id: string, column: 'memo' | 'payee' | 'scan' = 'memo') =>
  w.db.selectFrom('ledger.entry').select(column).where('id', '=', id).execute();
const attack = (statement: string) => sql.raw(statement).execute(w.raw);

describe('ciphertext that was moved does not open', () => {
  it('to another row', async () => {
    const [from, to] = [await written(), await written()];
    await attack(
      `update ledger.entry set memo = (select memo from ledger.entry where id = '${from}') where id = '${to}'`,
    );
    expect(await failure(() => read(to))).toMatchObject({
      code: FAILED,
      table: 'ledger.entry',
      column: 'memo',
      row: to,
    });
    expect(await read(from)).toEqual([{ memo: SECRET }]);
  });

  it('by swapping the row ids', async () => {
    const id = await written();
    const other = rowId();
    await attack(`update ledger.entry set id = '${other}' where id = '${id}'`);
    expect(await codeOf(() => read(other))).toBe(FAILED);
  });

  it('to another column', async () => {
    const id = await written();
    await attack(`update ledger.entry set memo = payee where id = '${id}'`);
    expect(await codeOf(() => read(id))).toBe(FAILED);
  });

  it('to another table', async () => {
    const id = await written();
    await attack(
      `insert into ledger.account (owner, number, memo) select id, 1, memo from ledger.entry where id = '${id}'`,
    );
    expect(
      await codeOf(() => w.db.selectFrom('ledger.account').select('memo').where('owner', '=', id).execute()),
    ).toBe(FAILED);
  });

  it('to another organisation', async () => {
    const [ours, theirs] = [await written(), rowId()];
    await w.dbB.insertInto('ledger.entry').values({ org_id: ORG_B, id: theirs, memo: 'of B' }).execute();
    await attack(
      `update ledger.entry set memo = (select memo from ledger.entry where id = '${ours}') where id = '${theirs}'`,
    );
    const failed = await failure(() =>
      w.dbB.selectFrom('ledger.entry').select('memo').where('id', '=', theirs).execute(),
    );
    expect(failed).toMatchObject({ code: 'crypto.unknown_key_version', row: theirs });
    expect(await codeOf(() => read(theirs))).toBe(FAILED);
  });

  it('with the keys of another organisation in its own place', async () => {
    const id = await written();
    const query = w.dbB.selectFrom('ledger.entry').select('memo').where('id', '=', id);
    expect(await codeOf(() => query.execute())).toBe('crypto.unknown_key_version');
  });

  it('when one character is changed', async () => {
    const id = await written();
    await attack(
      `update ledger.entry set memo = overlay(memo placing (case when substr(memo, 120, 1) = 'A' then 'B' else 'A' end) from 120) where id = '${id}'`,
    );
    expect(await codeOf(() => read(id))).toBe(FAILED);
  });

  it('among a thousand that open', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => written()));
    await attack(`update ledger.entry set memo = payee where id = '${ids[13]}'`);
    const failed = await failure(() =>
      w.db.selectFrom('ledger.entry').select('memo').where('id', 'in', ids).execute(),
    );
    expect(failed).toMatchObject({ code: FAILED, row: ids[13] });
  });
});

describe('plaintext where a sealed value is due is an error in strict mode', () => {
  it('names the cell and not the content', async () => {
    const id = await written();
    await attack(`update ledger.entry set memo = 'planted ${SECRET}', scan = 'planted' where id = '${id}'`);
    const failed = await failure(() => read(id));
    expect(failed).toMatchObject({
      code: 'crypto.malformed_message',
      table: 'ledger.entry',
      column: 'memo',
      row: id,
    });
    expect(failed.text).not.toContain(SECRET);
    expect(await failure(() => read(id, 'scan'))).toMatchObject({
      code: 'crypto.malformed_message',
      column: 'scan',
    });
  });

  it('is an error in returning too', async () => {
    const id = await written();
    await attack(`update ledger.entry set memo = 'planted' where id = '${id}'`);
    const update = w.db.updateTable('ledger.entry').set({ title: id }).where('id', '=', id).returning('memo');
    expect(await codeOf(() => update.execute())).toBe('crypto.malformed_message');
  });

  it('and can be kept out by the database itself', async () => {
    const id = await written({ scan: Uint8Array.of(1) });
    await attack('begin; create table ledger.checked (like ledger.entry including all); commit');
    interface Checked {
      'ledger.checked': { id: string; memo: Sealed<string>; scan: Sealed<Uint8Array | null> };
    }
    const checks = sealedColumnChecks(
      encryptedColumns<Checked>({
        'ledger.checked': { row: 'id', columns: { memo: 'text', scan: 'bytes' } },
      }),
    );
    expect(checks[0]).toBe(
      `alter table "ledger"."checked" add constraint "memo_sealed" check ("memo" ^@ 'rf1.');`,
    );
    for (const check of checks) await attack(check);
    await attack(`insert into ledger.checked select * from ledger.entry where id = '${id}'`);
    expect(await codeOf(() => attack(`update ledger.checked set memo = 'plain'`))).toBe('23514');
    expect(await codeOf(() => attack(`update ledger.checked set scan = 'plain'`))).toBe('23514');
  });
});

describe('sealed values that cannot be attributed never leave as plaintext', () => {
  const REFUSED = 'crypto.query_refused';
  it.each<[string, (id: string) => Promise<unknown>]>([
    ['raw SQL', (id) => sql`select memo from ledger.entry where id = ${id}`.execute(w.db)],
    [
      'raw SQL that wraps it in JSON',
      (id) => sql`select to_jsonb(e) as j from ledger.entry e where id = ${id}`.execute(w.db),
    ],
    [
      'raw SQL that wraps it in a row',
      (id) => sql`select (e)::text as r from ledger.entry e where id = ${id}`.execute(w.db),
    ],
    [
      'raw SQL that aggregates it',
      (id) => sql`select array_agg(payee) as a from ledger.entry where id = ${id}`.execute(w.db),
    ],
    ['raw SQL with bytes', (id) => sql`select scan from ledger.entry where id = ${id}`.execute(w.db)],
    [
      'a raw list item that hides the column name',
      (id) =>
        w.db
          .selectFrom('ledger.entry as e')
          .select(sql<string>`(e).U&"m\\0065mo"`.as('m'))
          .where('id', '=', id)
          .execute(),
    ],
    [
      'a view',
      (id) =>
        w.db
          .selectFrom('ledger.entry_view' as 'ledger.note')
          .select('memo')
          .where('id', '=', id)
          .execute(),
    ],
    [
      'a view under *',
      (id) =>
        w.db
          .selectFrom('ledger.entry_view' as 'ledger.note')
          .selectAll()
          .where('id', '=', id)
          .execute(),
    ],
    [
      'a plain column it was copied to',
      async (id) => {
        await attack(`update ledger.entry set title = memo where id = '${id}'`);
        await w.db.selectFrom('ledger.entry').select('title').where('id', '=', id).execute();
      },
    ],
    [
      'a raw table',
      (id) =>
        w.db
          .selectFrom(sql<{ id: string; memo: string }>`(table ledger.entry)`.as('t'))
          .selectAll()
          .where('id', '=', id)
          .execute(),
    ],
    [
      'a query compiled elsewhere',
      (id) =>
        w.db.executeQuery(w.raw.selectFrom('ledger.entry').select('memo').where('id', '=', id).compile()),
    ],
    [
      'raw returning',
      (id) =>
        w.db
          .updateTable('ledger.entry')
          .set({ title: id })
          .where('id', '=', id)
          .returning(sql<string>`(entry).U&"m\\0065mo"`.as('m'))
          .execute(),
    ],
  ])('through %s', async (_what, query) => {
    const id = await written({ scan: Uint8Array.of(9, 9) });
    const failed = await failure(() => query(id));
    expect(failed.code, failed.text).toBe(REFUSED);
    expect(failed.text).not.toMatch(/rf1\.AQ/);
  });

  it('but a plain column may hold whatever a user typed', async () => {
    const id = await written({ title: `rf1.AQE${'A'.repeat(140)}` });
    const rows = await w.db
      .selectFrom('ledger.entry')
      .select(['title', 'memo'])
      .where('id', '=', id)
      .execute();
    expect(rows[0]?.memo).toBe(SECRET);
    await w.raw
      .insertInto('ledger.note')
      .values({ id, memo: `rf1.AQE${'A'.repeat(140)}` })
      .execute();
    expect(await w.db.selectFrom('ledger.note').selectAll().where('id', '=', id).execute()).toHaveLength(1);
  });
});

it('refuses a result whose columns another plugin renamed', async () => {
  const id = await written();
  const renaming = w.raw.withPlugin({
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => ({
      ...result,
      rows: result.rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([k, v]) => [k.toUpperCase(), v])),
      ),
    }),
  });
  const query = withEncryption(renaming, w.keysA, columns)
    .selectFrom('ledger.entry')
    .select('memo')
    .where('id', '=', id);
  expect(await codeOf(() => query.execute())).toBe('crypto.query_refused');
});

it('never shows a plain or searched value: errors, compiled queries, inspected searches', async () => {
  const id = rowId();
  await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id, memo: SECRET }).execute();
  const again = w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id, memo: SECRET, payee: SECRET });
  const failed = await failure(() => again.execute()); // unique violation, raised by PostgreSQL with its detail
  expect(failed.code).toBe('23505');
  expect(failed.text).not.toContain(SECRET);
  const search = w.db
    .selectFrom('ledger.entry')
    .select('id')
    .where((eb) => whereBlind(eb, 'bank_reference', SECRET));
  expect(JSON.stringify(search.compile())).not.toContain(SECRET);
  const unplugged = w.raw
    .selectFrom('ledger.entry')
    .select('id')
    .where((eb) => whereBlind(eb, 'bank_reference', SECRET));
  expect(inspect(unplugged.compile(), { depth: 20, showHidden: true })).not.toContain(SECRET);
  expect(await codeOf(() => unplugged.execute())).toBe('TypeError');
});

it('stops when the lease of its keys ends', async () => {
  const { createKeyring } = await import('../src/index.ts');
  const { localKms } = await import('../src/local/index.ts');
  const { memoryKeyStore } = await import('../src/testing/index.ts');
  const keyring = createKeyring({
    app: 'ledger',
    kms: [localKms({ keks: { main: new Uint8Array(32).fill(7) } })],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
  });
  await keyring.createOrg(ORG_A);
  const db = withEncryption(w.raw, await keyring.org(ORG_A), columns);
  const id = rowId();
  await db.insertInto('ledger.entry').values({ org_id: ORG_A, id, memo: 'x' }).execute();
  keyring.revoke(ORG_A);
  const query = db.selectFrom('ledger.entry').select('memo').where('id', '=', id);
  expect(await failure(() => query.execute())).toMatchObject({ code: 'crypto.lease_expired', row: id });
  await keyring.close();
});
