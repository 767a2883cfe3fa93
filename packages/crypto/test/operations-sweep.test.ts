import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { OrgId, OrgKeys } from '../src/index.ts';
import { sealedColumnCounter } from '../src/operations/index.ts';
import { codeOfAsync } from './keyring-setup.ts';
import { anyOrg, type Station } from './operations-setup.ts';
import { memo, SealedTable, scan, TABLE } from './sealed-table-setup.ts';

let table: SealedTable;
let app: Kysely<unknown>;
let parts: Station;
let org: OrgId;
let oldKeyId: string;
let keys: OrgKeys;

beforeAll(async () => {
  table = await SealedTable.open(inject('databaseUrl'), 'sweep');
  ({ app } = table);
});
afterAll(() => table.close());
beforeEach(async () => {
  ({ parts, org, oldKeyId, keys } = await table.reset());
});

describe('the sweep', () => {
  const texts = async () => {
    const reader = await table.fresh();
    const { rows } = await sql<{ id: string; memo: string; scan: Buffer }>`
      select id, memo, scan from ledger.entry where org_id = ${org} order by id`.execute(app);
    return rows.map((row) => {
      expect(new TextDecoder().decode(reader.open(scan(row.id), row.scan))).toBe(
        reader.openText(memo(row.id), row.memo),
      );
      return reader.openText(memo(row.id), row.memo);
    });
  };

  it('re-seals text and bytes in batches, leaves other organisations alone, and frees the version', async () => {
    for (let i = 0; i < 25; i += 1) await table.insert(randomUUID(), `memo ${i}`);
    const other = anyOrg();
    await parts.keyring.createOrg(other);
    await table.insert(randomUUID(), 'of another', await parts.keyring.org(other), other);
    await table.rotated();
    parts.keyring.revoke(org);
    const before = await texts();
    const seen: number[] = [];
    const report = await table.sweep('memo', { batch: 10, onProgress: ({ rows }) => seen.push(rows) });
    expect(report).toMatchObject({ rows: 25, resealed: 25, changedMeanwhile: 0, failed: 0, aborted: false });
    expect(seen).toEqual([10, 20, 25]);
    expect(await table.sweep('scan')).toMatchObject({ resealed: 25 });
    expect(await table.sweep('memo')).toMatchObject({ rows: 0, resealed: 0 });
    expect((await texts()).sort()).toEqual(before.sort());
    const counters = [table.memoCounter(), sealedColumnCounter(app, TABLE, 'scan')];
    expect((await parts.operations.retire(org, oldKeyId, counters)).counted).toHaveLength(2);
    expect((await texts()).sort()).toEqual(before.sort());
  });

  it('never undoes a write of the application', async () => {
    const row = randomUUID();
    await table.insert(row, 'read by the sweep');
    await table.rotated();
    parts.keyring.revoke(org);
    let asked = 0;
    const report = await table.sweep('memo', {
      keys: async () => {
        const now = await parts.keyring.org(org);
        // Asked a second time after the batch was read and before the row is written.
        if (++asked === 2) {
          await sql`update ledger.entry set memo = ${now.sealText(memo(row), 'written meanwhile')} where id = ${row}`.execute(
            app,
          );
        }
        return now;
      },
    });
    expect(report).toMatchObject({ rows: 1, resealed: 0, changedMeanwhile: 1 });
    const { rows } = await sql<{ memo: string }>`select memo from ledger.entry`.execute(app);
    expect((await table.fresh()).openText(memo(row), rows[0]?.memo ?? '')).toBe('written meanwhile');
  });

  it('leaves what does not open as it is, counts it, and retirement is refused because of it', async () => {
    const [good, swapped, plain] = [randomUUID(), randomUUID(), randomUUID()];
    await table.insert(good, 'good');
    await sql`insert into ledger.entry (org_id, id, memo) values
      (${org}, ${swapped}, ${keys.sealText(memo(good), 'of another row')}), (${org}, ${plain}, 'plaintext')`.execute(
      app,
    );
    await table.rotated();
    parts.keyring.revoke(org);
    const report = await table.sweep('memo', { batch: 1 });
    expect(report).toMatchObject({ rows: 3, resealed: 1, failed: 2 });
    expect(new Map(report.failures.map(({ row, code }) => [row, code]))).toEqual(
      new Map([
        [swapped, 'crypto.decrypt_failed'],
        [plain, 'crypto.malformed_message'],
      ]),
    );
    expect(await codeOfAsync(parts.operations.retire(org, oldKeyId, [table.memoCounter()]))).toBe(
      'crypto.still_referenced',
    );
  });

  it('stops when told, resumes after the row it came to, and keeps its rate', async () => {
    for (let i = 0; i < 12; i += 1) await table.insert(randomUUID(), `memo ${i}`);
    await table.rotated();
    parts.keyring.revoke(org);
    const stop = new AbortController();
    const first = await table.sweep('memo', {
      batch: 5,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    expect(first).toMatchObject({ resealed: 5, aborted: true });
    const { clock } = parts;
    const started = clock.monotonicNow();
    const rest = await table.sweep('memo', {
      batch: 5,
      ...(first.after !== undefined && { after: first.after }),
      ratePerSecond: 2,
      monotonicNow: clock.monotonicNow,
      wait: clock.wait,
    });
    expect(rest).toMatchObject({ rows: 7, resealed: 7 });
    expect(clock.monotonicNow() - started).toBe(6 * 500);
    expect(await table.memoCounter().count(org, oldKeyId)).toBe(0);
  });

  it('re-seals whole rows, and rows identified by several columns', async () => {
    const id = randomUUID();
    const row = JSON.stringify(['7', id]);
    const message = keys.sealRow({ table: TABLE, row }, { name: 'N', note: 'x' });
    await sql`insert into ledger.entry (org_id, id, number, pair) values (${org}, ${id}, 7, ${Buffer.from(message)})`.execute(
      app,
    );
    await table.rotated();
    parts.keyring.revoke(org);
    const report = await table.sweep('pair', { rowColumn: ['number', 'id'], sealed: 'row' });
    expect(report).toMatchObject({ resealed: 1, failed: 0 });
    const { rows } = await sql<{ pair: Buffer }>`select pair from ledger.entry`.execute(app);
    const reader = await table.fresh();
    expect(reader.openRow({ table: TABLE, row }, rows[0]?.pair ?? new Uint8Array())).toEqual({
      name: 'N',
      note: 'x',
    });
    expect(await sealedColumnCounter(app, TABLE, 'pair').count(org, oldKeyId)).toBe(0);
  });

  it('ends with the error of the KMS when no lease can be had', async () => {
    await table.insert(randomUUID(), 'x');
    await table.rotated();
    await parts.operations.shred(org, { reason: 'test' });
    parts.keyring.revoke(org);
    expect(await codeOfAsync(table.sweep('memo'))).toBe('crypto.key_shredded');
  });
});
