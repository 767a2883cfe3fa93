import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createKeyring, type OrgId, type OrgKeys } from '../src/index.ts';
import { KmsGateway } from '../src/key-wrapping.ts';
import { deriveIndexKey, indexValue } from '../src/kysely/blind-index.ts';
import {
  type BlindIndexDeclaration,
  countBlindIndexes,
  type EncryptedColumns,
  encryptedColumns,
  reindexBlind,
  whereBlind,
  withEncryption,
} from '../src/kysely/index.ts';
import { normaliserFunction } from '../src/kysely/normaliser.ts';
import { localKms } from '../src/local/index.ts';
import { systemRandom } from '../src/salt-source.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { codeOf, columns, type Database, ORG_A, ORG_B, rowId, type World, world } from './kysely-setup.ts';

let w: World;
beforeAll(async () => {
  w = await world(inject('databaseUrl'));
});
afterAll(() => w.close());

async function written(
  bank_reference: string | null,
  payee: string | null = null,
  title: string | null = null,
): Promise<string> {
  const id = rowId();
  await w.db.insertInto('ledger.entry').values({ org_id: ORG_A, id, bank_reference, payee, title }).execute();
  return id;
}

const found = (value: string) =>
  w.db
    .selectFrom('ledger.entry as e')
    .select('e.id')
    .where((eb) => whereBlind(eb, 'e.bank_reference', value))
    .execute();
const index = async (id: string): Promise<string | null> =>
  (await w.raw.selectFrom('ledger.entry').selectAll().where('id', '=', id).executeTakeFirstOrThrow())
    .bank_reference_idx;

describe('search by blind index', () => {
  it('finds equal values under the normaliser, and returns what was asked for only', async () => {
    const id = await written('INV-2041 ');
    await written('INV-2042');
    expect(await found(' inv-2041')).toEqual([{ id }]);
    expect(await found('INV-204')).toEqual([]);
    await w.db.updateTable('ledger.entry').set({ bank_reference: 'changed' }).where('id', '=', id).execute();
    expect(await found('inv-2041')).toEqual([]);
    expect(await found('changed')).toEqual([{ id }]);
  });

  it('works unqualified, by full name, in joins, in or, in updates and deletes', async () => {
    const id = await written('everywhere');
    const unqualified = w.db.selectFrom('ledger.entry').select(['id', 'bank_reference as r']);
    expect(await unqualified.where((eb) => whereBlind(eb, 'bank_reference', 'everywhere')).execute()).toEqual(
      [{ id, r: 'everywhere' }],
    );
    expect(
      await unqualified.where((eb) => whereBlind(eb, 'ledger.entry.bank_reference', 'everywhere')).execute(),
    ).toHaveLength(1);
    const either = unqualified.where((eb) =>
      eb.or([whereBlind(eb, 'bank_reference', 'everywhere'), eb('id', '=', id)]),
    );
    expect(await either.execute()).toHaveLength(1);
    const count = w.db
      .selectFrom('ledger.entry')
      .select((eb) => eb.fn.countAll<string>().as('n'))
      .where((eb) => whereBlind(eb, 'bank_reference', 'everywhere'));
    expect(await count.execute()).toEqual([{ n: '1' }]);
    const update = w.db.updateTable('ledger.entry').set({ title: 'hit' });
    expect(
      (await update.where((eb) => whereBlind(eb, 'bank_reference', 'everywhere')).executeTakeFirst())
        .numUpdatedRows,
    ).toBe(1n);
    const remove = w.db
      .deleteFrom('ledger.entry')
      .where((eb) => whereBlind(eb, 'bank_reference', 'everywhere'));
    expect((await remove.executeTakeFirst()).numDeletedRows).toBe(1n);
  });

  it('gives other values for another organisation and another column', async () => {
    const id = await written('same');
    const theirs = rowId();
    await w.dbB
      .insertInto('ledger.entry')
      .values({ org_id: ORG_B, id: theirs, bank_reference: 'same' })
      .execute();
    await w.db.insertInto('ledger.account').values({ owner: 'same', number: 1, iban: 'same' }).execute();
    const account = await w.raw
      .selectFrom('ledger.account')
      .select('iban_idx')
      .where('owner', '=', 'same')
      .executeTakeFirstOrThrow();
    const macs = [await index(id), await index(theirs), account.iban_idx].map(
      (value) => value?.split('.')[2],
    );
    expect(new Set(macs).size).toBe(3);
    expect(await found('same')).toEqual([{ id }]);
    expect(await index(await written('same'))).toBe(await index(id));
  });

  it('leaves out a row whose index value was planted', async () => {
    const [real, planted] = [await written('target'), await written('other')];
    await sql`update ledger.entry set bank_reference_idx = ${await index(real)} where id = ${planted}`.execute(
      w.raw,
    );
    expect(await found('target')).toEqual([{ id: real }]);
  });
});

describe('a truncated index', () => {
  const payee = (value: string) =>
    w.db
      .selectFrom('ledger.entry')
      .select(['title', 'payee'])
      .where((eb) => whereBlind(eb, 'payee', value));

  it('collides, and its false hits are left out', async () => {
    const names = Array.from({ length: 1200 }, (_, at) => `payee ${at}`);
    await w.db
      .insertInto('ledger.entry')
      .values(names.map((name) => ({ org_id: ORG_A, id: rowId(), title: `t ${name}`, payee: name })))
      .execute();
    const stored = await w.raw
      .selectFrom('ledger.entry')
      .select('payee_idx')
      .where('payee_idx', 'is not', null)
      .execute();
    expect(new Set(stored.map((row) => row.payee_idx)).size).toBeLessThanOrEqual(256);
    const first = await w.raw
      .selectFrom('ledger.entry')
      .selectAll()
      .where('title', '=', 't payee 0')
      .executeTakeFirstOrThrow();
    expect(stored.filter((row) => row.payee_idx === first.payee_idx).length).toBeGreaterThanOrEqual(1);
    let hits = 0;
    for (const name of names.slice(0, 60)) {
      expect(await payee(name).execute()).toEqual([{ title: `t ${name}`, payee: name }]);
      const like = await sql<{ n: number }>`
        select count(*)::int as n from ledger.entry
        where payee_idx = (select payee_idx from ledger.entry where title = ${`t ${name}`})`.execute(w.raw);
      hits += like.rows[0]?.n ?? 0;
    }
    expect(hits).toBeGreaterThan(60); // PostgreSQL did answer with false hits
  });

  it('is refused where its false hits could not be left out', async () => {
    const search = <T>(eb: T) => whereBlind(eb as never, 'payee' as never, 'x') as never;
    const attempts = [
      payee('x').limit(10),
      payee('x').offset(1),
      payee('x').distinct(),
      w.db
        .selectFrom('ledger.entry')
        .select((eb) => eb.fn.countAll().as('n'))
        .where(search),
      w.db.selectFrom('ledger.entry').select('title').where(search).groupBy('title'),
      w.db
        .selectFrom('ledger.entry')
        .select('title')
        .where((eb) => eb.not(search(eb))),
      w.db
        .selectFrom('ledger.entry')
        .select('title')
        .where((eb) => eb.or([search(eb), eb('title', '=', 'x')])),
      w.db
        .selectFrom('ledger.note')
        .select('id')
        .where('id', 'in', (eb) => eb.selectFrom('ledger.entry').select('id').where(search)),
      w.db.updateTable('ledger.entry').set({ title: 'x' }).where(search),
      w.db.deleteFrom('ledger.entry').where(search),
    ];
    for (const attempt of attempts)
      expect(await codeOf(() => attempt.execute())).toBe('crypto.query_refused');
  });
});

describe('rotation', () => {
  const declare = (blindIndex: BlindIndexDeclaration<'bank_reference_idx'>): EncryptedColumns<Database> =>
    encryptedColumns<Database>({
      'ledger.entry': {
        row: 'id',
        org: 'org_id',
        columns: {
          memo: 'text',
          bank_reference: { type: 'text', blindIndex },
          payee: { type: 'text', blindIndex: 'payee_idx' },
          scan: 'bytes',
        },
      },
      'ledger.account': {
        row: { owner: 'text', number: 'integer' },
        columns: { memo: 'text', iban: { type: 'text', blindIndex: 'iban_idx' } },
      },
    });
  const single = { singleOrg: true };

  async function ids(keys: OrgKeys, declared: EncryptedColumns<Database>, value: string): Promise<string[]> {
    const db = withEncryption(w.raw, keys, declared);
    const rows = await db
      .selectFrom('ledger.entry')
      .select('id')
      .where((eb) => whereBlind(eb, 'bank_reference', value))
      .orderBy('id')
      .execute();
    return rows.map(({ id }) => id);
  }

  it('moves to a new index version: writes the new, asks for both, re-indexes, counts none left', async () => {
    await w.raw.deleteFrom('ledger.entry').execute();
    await w.raw.deleteFrom('ledger.account').execute();
    const v1 = declare({ column: 'bank_reference_idx' });
    const previous = [{ version: 1 }];
    const v2 = declare({
      column: 'bank_reference_idx',
      version: 2,
      normalise: { name: 'digits', normalise: (text) => text.replaceAll(/\D/g, '') },
      previous,
    });
    const [old, young] = [rowId(), rowId()];
    await withEncryption(w.raw, w.keysA, v1)
      .insertInto('ledger.entry')
      .values({ org_id: ORG_A, id: old, bank_reference: 'A-17' })
      .execute();
    await withEncryption(w.raw, w.keysA, v2)
      .insertInto('ledger.entry')
      .values({ org_id: ORG_A, id: young, bank_reference: 'A 17' })
      .execute();
    expect([(await index(old))?.slice(0, 3), (await index(young))?.slice(0, 3)]).toEqual(['v1.', 'v2.']);
    expect(await ids(w.keysA, v2, 'A-17')).toEqual([old, young]);
    expect(await ids(w.keysA, v2, 'a.17')).toEqual([young]); // version 1 compares exactly until it is re-indexed
    const before = await countBlindIndexes(w.raw, w.keysA, v2, single);
    expect(before.map(({ prefix, rows }) => [prefix?.slice(0, 3), rows])).toEqual([
      ['v1.', 1],
      ['v2.', 1],
    ]);
    const swept = await reindexBlind(w.raw, w.keysA, v2, { ...single, batch: 1 });
    expect(swept[0]).toEqual({ column: 'ledger.entry.bank_reference', changed: 1, remaining: 0 });
    const after = await countBlindIndexes(w.raw, w.keysA, v2, single);
    expect(after.map(({ prefix, rows }) => [prefix?.slice(0, 3), rows])).toEqual([['v2.', 2]]);
    expect(await ids(w.keysA, v2, 'a.17')).toEqual([old, young]);
  });

  it('follows the data key: asks under every living version, re-indexes to the active one', async () => {
    await w.raw.deleteFrom('ledger.entry').execute();
    await w.raw.deleteFrom('ledger.account').execute();
    const kms = localKms({ keks: { main: randomBytes(32) } });
    const store = memoryKeyStore();
    const open = async (): Promise<OrgKeys> =>
      createKeyring({ app: 'ledger', kms: [kms], store, kekFor: () => 'local:main' }).org(ORG_A);
    const rotate = async (org: OrgId, version: number): Promise<void> => {
      const gateway = new KmsGateway('ledger', [kms], 1000);
      await store.insertVersion(await gateway.makeVersion(org, version, 'local:main', systemRandom, 0));
    };
    await rotate(ORG_A, 1);
    const first = await open();
    const id = rowId();
    await withEncryption(w.raw, first, columns)
      .insertInto('ledger.entry')
      .values({ org_id: ORG_A, id, bank_reference: 'K-1' })
      .execute();
    await rotate(ORG_A, 2);
    const second = await open();
    expect(second.activeKeyId).not.toBe(first.activeKeyId);
    expect(await ids(second, columns, 'k-1')).toEqual([id]);
    await reindexBlind(w.raw, second, columns, single);
    expect((await index(id))?.split('.')[1]).toBe(second.activeKeyId.slice(0, 16));
    expect(await ids(second, columns, 'k-1')).toEqual([id]);
  });
});

interface Vector {
  readonly name: string;
  readonly purposeKey: string;
  readonly keyId: string;
  readonly org: string;
  readonly table: string;
  readonly column: string;
  readonly version: number;
  readonly bits: number;
  readonly normaliser: 'exact' | 'lowercase-trim';
  readonly text: string;
  readonly normalised: string;
  readonly indexKey: string;
  readonly value: string;
}

const VECTORS = new URL('../vectors/blind-index-v1.json', import.meta.url).pathname;

describe('test vectors of format v1', () => {
  const { cases } = JSON.parse(readFileSync(VECTORS, 'utf8')) as { cases: readonly Vector[] };

  it.each(cases.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const key = deriveIndexKey(Buffer.from(vector.purposeKey, 'hex'), vector);
    expect(Buffer.from(key).toString('hex')).toBe(vector.indexKey);
    const normalised = normaliserFunction(vector.normaliser)(vector.text);
    expect(normalised).toBe(vector.normalised);
    expect(indexValue(key, vector, vector.keyId, normalised)).toBe(vector.value);
  });

  it('are read alike by the second reader', () => {
    const reader = new URL('./blind_index_reader.py', import.meta.url).pathname;
    expect(execFileSync('python3', [reader, VECTORS], { encoding: 'utf8' })).toBe(
      `${cases.length} vectors agree\n`,
    );
  });
});
