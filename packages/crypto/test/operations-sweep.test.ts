import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { OrgId, OrgKeys } from '../src/index.ts';
import { type SweepOptions, sealedColumnCounter, sweepColumn } from '../src/operations/index.ts';
import { codeOfAsync } from './keyring-setup.ts';
import {
  anyOrg,
  connect,
  type KeyDatabase,
  keks,
  keyDatabase,
  type Station,
  station,
} from './operations-setup.ts';

const TABLE = 'ledger.entry';
let database: KeyDatabase;
let app: Kysely<unknown>;
let parts: Station;
let org: OrgId;
let oldKeyId: string;
let keys: OrgKeys;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'retire');
  await sql`create schema ledger`.execute(database.db);
  await sql`create table ledger.entry (
    org_id uuid not null, id uuid primary key, number bigint not null default 0, memo text, scan bytea, pair bytea, memo_index text)`.execute(
    database.db,
  );
  await sql.raw(`grant usage on schema ledger to ${database.app}`).execute(database.db);
  await sql.raw(`grant select, insert, update on ledger.entry to ${database.app}`).execute(database.db);
  app = connect(database.appUrl) as unknown as Kysely<unknown>;
});
afterAll(async () => {
  await app.destroy();
  await database.close();
});
beforeEach(async () => {
  await sql`truncate ledger.entry`.execute(database.db);
  parts = station(database.store, [keks('a', 'b')]);
  org = anyOrg();
  await parts.keyring.createOrg(org);
  // A process whose lease outlives every rule: what it seals comes later than it should.
  keys = await parts.another({ lease: { maxAgeMs: 1e12 } }).org(org);
  oldKeyId = keys.activeKeyId;
});

const memo = (row: string) => ({ table: TABLE, column: 'memo', row });
const scan = (row: string) => ({ table: TABLE, column: 'scan', row });
const memoCounter = () => sealedColumnCounter(app, TABLE, 'memo');
const fresh = () => parts.another().org(org);

async function insert(row: string, text: string, by: OrgKeys = keys, owner: OrgId = org): Promise<void> {
  await sql`insert into ledger.entry (org_id, id, memo, scan) values (${owner}, ${row}, ${by.sealText(memo(row), text)},
    ${Buffer.from(by.seal(scan(row), new TextEncoder().encode(text)))})`.execute(app);
}

async function rotated(): Promise<void> {
  await parts.operations.rotate(org);
  parts.clock.advance(3_600_000);
}

const sweepOf = (column: string, more: Partial<SweepOptions<unknown>> = {}) =>
  sweepColumn({
    db: app,
    table: TABLE,
    column,
    rowColumn: 'id',
    orgColumn: 'org_id',
    keys: () => parts.keyring.org(org),
    ...more,
  });

describe('the sweep', () => {
  const texts = async () => {
    const reader = await fresh();
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
    for (let i = 0; i < 25; i += 1) await insert(randomUUID(), `memo ${i}`);
    const other = anyOrg();
    await parts.keyring.createOrg(other);
    await insert(randomUUID(), 'of another', await parts.keyring.org(other), other);
    await rotated();
    parts.keyring.revoke(org);
    const before = await texts();
    const seen: number[] = [];
    const report = await sweepOf('memo', { batch: 10, onProgress: ({ rows }) => seen.push(rows) });
    expect(report).toMatchObject({ rows: 25, resealed: 25, changedMeanwhile: 0, failed: 0, aborted: false });
    expect(seen).toEqual([10, 20, 25]);
    expect(await sweepOf('scan')).toMatchObject({ resealed: 25 });
    expect(await sweepOf('memo')).toMatchObject({ rows: 0, resealed: 0 });
    expect((await texts()).sort()).toEqual(before.sort());
    const counters = [memoCounter(), sealedColumnCounter(app, TABLE, 'scan')];
    expect((await parts.operations.retire(org, oldKeyId, counters)).counted).toHaveLength(2);
    expect((await texts()).sort()).toEqual(before.sort());
  });

  it('never undoes a write of the application', async () => {
    const row = randomUUID();
    await insert(row, 'read by the sweep');
    await rotated();
    parts.keyring.revoke(org);
    let asked = 0;
    const report = await sweepOf('memo', {
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
    expect((await fresh()).openText(memo(row), rows[0]?.memo ?? '')).toBe('written meanwhile');
  });

  it('leaves what does not open as it is, counts it, and retirement is refused because of it', async () => {
    const [good, swapped, plain] = [randomUUID(), randomUUID(), randomUUID()];
    await insert(good, 'good');
    await sql`insert into ledger.entry (org_id, id, memo) values
      (${org}, ${swapped}, ${keys.sealText(memo(good), 'of another row')}), (${org}, ${plain}, 'plaintext')`.execute(
      app,
    );
    await rotated();
    parts.keyring.revoke(org);
    const report = await sweepOf('memo', { batch: 1 });
    expect(report).toMatchObject({ rows: 3, resealed: 1, failed: 2 });
    expect(new Map(report.failures.map(({ row, code }) => [row, code]))).toEqual(
      new Map([
        [swapped, 'crypto.decrypt_failed'],
        [plain, 'crypto.malformed_message'],
      ]),
    );
    expect(await codeOfAsync(parts.operations.retire(org, oldKeyId, [memoCounter()]))).toBe(
      'crypto.still_referenced',
    );
  });

  it('stops when told, resumes after the row it came to, and keeps its rate', async () => {
    for (let i = 0; i < 12; i += 1) await insert(randomUUID(), `memo ${i}`);
    await rotated();
    parts.keyring.revoke(org);
    const stop = new AbortController();
    const first = await sweepOf('memo', { batch: 5, signal: stop.signal, onProgress: () => stop.abort() });
    expect(first).toMatchObject({ resealed: 5, aborted: true });
    const { clock } = parts;
    const started = clock.monotonicNow();
    const rest = await sweepOf('memo', {
      batch: 5,
      ...(first.after !== undefined && { after: first.after }),
      ratePerSecond: 2,
      monotonicNow: clock.monotonicNow,
      wait: clock.wait,
    });
    expect(rest).toMatchObject({ rows: 7, resealed: 7 });
    expect(clock.monotonicNow() - started).toBe(6 * 500);
    expect(await memoCounter().count(org, oldKeyId)).toBe(0);
  });

  it('re-seals whole rows, and rows identified by several columns', async () => {
    const id = randomUUID();
    const row = JSON.stringify(['7', id]);
    const message = keys.sealRow({ table: TABLE, row }, { name: 'N', note: 'x' });
    await sql`insert into ledger.entry (org_id, id, number, pair) values (${org}, ${id}, 7, ${Buffer.from(message)})`.execute(
      app,
    );
    await rotated();
    parts.keyring.revoke(org);
    const report = await sweepOf('pair', { rowColumn: ['number', 'id'], sealed: 'row' });
    expect(report).toMatchObject({ resealed: 1, failed: 0 });
    const { rows } = await sql<{ pair: Buffer }>`select pair from ledger.entry`.execute(app);
    const reader = await fresh();
    expect(reader.openRow({ table: TABLE, row }, rows[0]?.pair ?? new Uint8Array())).toEqual({
      name: 'N',
      note: 'x',
    });
    expect(await sealedColumnCounter(app, TABLE, 'pair').count(org, oldKeyId)).toBe(0);
  });

  it('ends with the error of the KMS when no lease can be had', async () => {
    await insert(randomUUID(), 'x');
    await rotated();
    await parts.operations.shred(org, { reason: 'test' });
    parts.keyring.revoke(org);
    expect(await codeOfAsync(sweepOf('memo'))).toBe('crypto.key_shredded');
  });
});
