import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { OrgId, OrgKeys } from '../src/index.ts';
import {
  blindIndexCounter,
  type ReferenceCounter,
  StillReferencedError,
  sealedColumnCounter,
} from '../src/operations/index.ts';
import { codeOf, codeOfAsync } from './keyring-setup.ts';
import type { KeyDatabase, Station } from './operations-setup.ts';
import { memo, SealedTable, TABLE } from './sealed-table-setup.ts';

let table: SealedTable;
let database: KeyDatabase;
let app: Kysely<unknown>;
let parts: Station;
let org: OrgId;
let oldKeyId: string;
let keys: OrgKeys;

beforeAll(async () => {
  table = await SealedTable.open(inject('databaseUrl'), 'retire');
  ({ database, app } = table);
});
afterAll(() => table.close());
beforeEach(async () => {
  ({ parts, org, oldKeyId, keys } = await table.reset());
});

describe('retirement', () => {
  it('needs a rotation, a counter, and the longest lease to have passed', async () => {
    const counters = [table.memoCounter()];
    const retire = () => parts.operations.retire(org, oldKeyId, counters);
    expect(await codeOfAsync(retire())).toBe('crypto.version_active');
    await parts.operations.rotate(org);
    expect(await codeOfAsync(retire())).toBe('crypto.retirement_too_early');
    parts.clock.advance(300_000);
    expect(await codeOfAsync(retire())).toBe('crypto.retirement_too_early');
    parts.clock.advance(60_000);
    await expect(parts.operations.retire(org, oldKeyId, [])).rejects.toThrow(TypeError);
    expect(await codeOfAsync(parts.operations.retire(org, '00'.repeat(16), counters))).toBe(
      'crypto.unknown_key_version',
    );
    expect(await table.stateOfOld()).toBe('decrypt_only');
    expect(await retire()).toMatchObject({
      v: 1,
      org,
      keyId: oldKeyId,
      version: 1,
      counted: ['ledger.entry.memo'],
      retiredAt: new Date(parts.clock.now()).toISOString(),
    });
    expect(await table.stateOfOld()).toBe('retired');
  });

  it('is refused while a row names the version, and says where and how many', async () => {
    for (let i = 0; i < 3; i += 1) await table.insert(randomUUID(), `memo ${i}`);
    await table.rotated();
    for (const [counter, count] of [
      [table.memoCounter(), 3],
      [sealedColumnCounter(app, TABLE, 'scan'), 3],
    ] as const) {
      const refused = await parts.operations
        .retire(org, oldKeyId, [counter])
        .catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StillReferencedError);
      expect(refused).toMatchObject({ code: 'crypto.still_referenced', counter: counter.name, count });
    }
    expect(await table.stateOfOld()).toBe('decrypt_only');
  });

  it('notices a row written between the two counts, and the version opens as before', async () => {
    await table.rotated();
    const row = randomUUID();
    let counted = 0;
    const late: ReferenceCounter = {
      name: 'write between the counts',
      count: async () => {
        // Called last in the first round: the row comes after the memo count, before the state changes.
        if (++counted === 1) await table.insert(row, 'late');
        return 0;
      },
    };
    const refused = await parts.operations
      .retire(org, oldKeyId, [table.memoCounter(), late])
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'crypto.still_referenced',
      counter: 'ledger.entry.memo',
      count: 1,
    });
    expect(await table.stateOfOld()).toBe('decrypt_only');
    const { rows } = await sql<{ memo: string }>`select memo from ledger.entry`.execute(app);
    expect((await table.fresh()).openText(memo(row), rows[0]?.memo ?? '')).toBe('late');
  });

  it('waits for a transaction whose row no count can see yet', async () => {
    await table.rotated();
    const row = randomUUID();
    const writer = new pg.Client({ connectionString: database.appUrl });
    writer.on('error', () => {}); // the server may stop while the session closes
    await writer.connect();
    await writer.query('begin');
    await writer.query('insert into ledger.entry (org_id, id, memo) values ($1, $2, $3)', [
      org,
      row,
      keys.sealText(memo(row), 'uncommitted'),
    ]);
    const impatient = sealedColumnCounter(app, TABLE, 'memo', { settleMs: 60 });
    expect(await codeOfAsync(parts.operations.retire(org, oldKeyId, [impatient]))).toBe(
      'crypto.retirement_too_early',
    );
    expect(await table.stateOfOld()).toBe('decrypt_only');
    const retiring = codeOfAsync(parts.operations.retire(org, oldKeyId, [table.memoCounter()]));
    await writer.query('commit');
    expect(await retiring).toBe('crypto.still_referenced');
    await writer.end();
  });

  it('leaves the state unchanged when a counter throws or lies, at the first count or the second', async () => {
    await table.rotated();
    for (const at of [1, 2]) {
      for (const answer of [
        () => Promise.reject(new Error('database gone')),
        async () => Number.NaN,
        async () => -1,
        async () => '0' as unknown as number,
      ]) {
        let calls = 0;
        const counter: ReferenceCounter = {
          name: 'faulty',
          count: async () => {
            calls += 1;
            return calls === at ? answer() : 0;
          },
        };
        await expect(parts.operations.retire(org, oldKeyId, [counter])).rejects.toThrow();
        expect(calls).toBe(at);
        expect(await table.stateOfOld()).toBe('decrypt_only');
      }
    }
  });

  it('makes the version open no more, for no new lease, and can be taken back', async () => {
    const row = randomUUID();
    const sealed = keys.sealText(memo(row), 'kept elsewhere');
    await table.rotated();
    await parts.operations.retire(org, oldKeyId, [table.memoCounter()]);
    const reader = await table.fresh();
    expect(codeOf(() => reader.openText(memo(row), sealed))).toBe('crypto.unknown_key_version');
    expect(reader.keyIds).toHaveLength(1);
    await database.store.setState(org, oldKeyId, 'retired', 'decrypt_only');
    expect((await table.fresh()).openText(memo(row), sealed)).toBe('kept elsewhere');
  });

  it('killed between its counts is ended by the next call, which still finds what was written', async () => {
    await table.rotated();
    const row = randomUUID();
    await database.store.setState(org, oldKeyId, 'decrypt_only', 'retired'); // what the crash leaves
    await table.insert(row, 'late');
    expect(await codeOfAsync(parts.operations.retire(org, oldKeyId, [table.memoCounter()]))).toBe(
      'crypto.still_referenced',
    );
    expect(await table.stateOfOld()).toBe('decrypt_only');
    await sql`delete from ledger.entry`.execute(database.db);
    await database.store.setState(org, oldKeyId, 'decrypt_only', 'retired');
    await parts.operations.retire(org, oldKeyId, [table.memoCounter()]);
    expect(await table.stateOfOld()).toBe('retired');
  });

  it('tells both errors when the version cannot be set back', async () => {
    await table.rotated();
    let counts = 0;
    const store = {
      ...bound(database.store),
      setState: (...args: Parameters<typeof database.store.setState>) =>
        args[3] === 'decrypt_only' ? Promise.reject(new Error('gone')) : database.store.setState(...args),
    };
    const failing: ReferenceCounter = { name: 'second', count: async () => counts++ };
    await expect(parts.operator({ store }).retire(org, oldKeyId, [failing])).rejects.toThrow(AggregateError);
    expect(await table.stateOfOld()).toBe('retired');
  });
});

describe('counting in SQL', () => {
  it('tells key ids apart by exactly their bits, whatever version and suite a message has', async () => {
    const row = randomUUID();
    const message = keys.seal(memo(row), new Uint8Array(3));
    const variants = [
      message,
      Uint8Array.from(message, (byte, i) => (i < 2 ? 0xff : byte)), // a format to come
      Uint8Array.from(message, (byte, i) => (i === 17 ? byte ^ 1 : byte)), // last bit of the key id
      Uint8Array.from(message, (byte, i) => (i === 3 ? byte ^ 0x80 : byte)),
      Uint8Array.from(message, (byte, i) => (i > 17 ? byte ^ 0xff : byte)), // all that follows the key id
      new Uint8Array(4),
    ];
    for (const variant of variants) {
      await sql`insert into ledger.entry (org_id, id, memo, scan) values (${org}, ${randomUUID()},
        ${`rf1.${Buffer.from(variant).toString('base64url')}`}, ${Buffer.from(variant)})`.execute(app);
    }
    expect(await table.memoCounter().count(org, oldKeyId)).toBe(3);
    expect(await sealedColumnCounter(app, TABLE, 'scan').count(org, oldKeyId)).toBe(3);
    const upper = oldKeyId.toUpperCase();
    await expect(table.memoCounter().count(org, upper)).rejects.toThrow(TypeError);
  });

  it('can use an index, and counts index values by the tag of their key', async () => {
    await sql`create index entry_memo_key on ledger.entry ((substring(memo from 8 for 21) collate "C"))`.execute(
      database.db,
    );
    const plan = await database.db.transaction().execute(async (trx) => {
      await sql`set local enable_seqscan = off`.execute(trx);
      return sql<Record<string, string>>`explain select count(*) from ledger.entry
        where substring(memo from 8 for 21) = ${'x'.repeat(21)}::text collate "C"`.execute(trx);
    });
    expect(plan.rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('entry_memo_key');
    await sql`insert into ledger.entry (org_id, id, memo_index) values
      (${org}, ${randomUUID()}, ${`v1.${oldKeyId.slice(0, 16)}.00ff`}),
      (${org}, ${randomUUID()}, ${`v2.${oldKeyId.slice(0, 16)}.00ff`}),
      (${org}, ${randomUUID()}, ${`v1.${'0'.repeat(16)}.${oldKeyId.slice(0, 16)}`}), (${org}, ${randomUUID()}, null)`.execute(
      app,
    );
    expect(await blindIndexCounter(app, TABLE, 'memo_index').count(org, oldKeyId)).toBe(2);
  });

  it('refuses columns that are not there or hold no messages, and transactions', async () => {
    for (const counter of [
      sealedColumnCounter(app, TABLE, 'nothing'),
      sealedColumnCounter(app, 'ledger.nothing', 'memo'),
      sealedColumnCounter(app, TABLE, 'number'),
      sealedColumnCounter(app, `ledger.entry"; drop schema ledger cascade; --`, 'memo'),
    ]) {
      await expect(counter.count(org, oldKeyId)).rejects.toThrow(TypeError);
    }
    await app.transaction().execute(async (trx) => {
      await expect(sealedColumnCounter(trx, TABLE, 'memo').count(org, oldKeyId)).rejects.toThrow(TypeError);
      await expect(table.sweep('memo', { db: trx })).rejects.toThrow(TypeError);
    });
  });
});

/** The methods of a store as own properties. */
function bound(store: KeyDatabase['store']): KeyDatabase['store'] {
  return {
    load: (...args) => store.load(...args),
    insertVersion: (...args) => store.insertVersion(...args),
    replaceWraps: (...args) => store.replaceWraps(...args),
    setState: (...args) => store.setState(...args),
    destroyWraps: (...args) => store.destroyWraps(...args),
  };
}
