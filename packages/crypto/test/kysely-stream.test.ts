import { Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createKeyring, type Keyring } from '../src/index.ts';
import { whereBlind, withEncryption } from '../src/kysely/index.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { columns, type Database, failure, ORG_A, ORG_B, rowId, type World, world } from './kysely-setup.ts';
import { type CursorCounts, streamingDialect } from './server-cursor.ts';

const ROWS = 500;
const CHUNK = 50;
const counts: CursorCounts = { fetched: 0, open: 0 };
const ids = Array.from({ length: ROWS }, rowId);
let w: World;
let streaming: Kysely<Database>;
let keyring: Keyring;
let db: Kysely<Database>;
let dbB: Kysely<Database>;

beforeAll(async () => {
  w = await world(inject('databaseUrl'));
  streaming = new Kysely<Database>({ dialect: streamingDialect(w.url, counts) });
  keyring = createKeyring({
    app: 'ledger',
    kms: [localKms({ keks: { main: new Uint8Array(32).fill(1) } })],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
  });
  await keyring.createOrg(ORG_A);
  await keyring.createOrg(ORG_B);
});
afterAll(async () => {
  await streaming.destroy();
  await keyring.close();
  await w.close();
});

beforeEach(async () => {
  db = withEncryption(streaming, await keyring.org(ORG_A), columns);
  dbB = withEncryption(streaming, await keyring.org(ORG_B), columns);
  await w.raw.deleteFrom('ledger.entry').execute();
  await db
    .insertInto('ledger.entry')
    .values(ids.map((id) => ({ org_id: ORG_A, id, memo: `memo of ${id}`, payee: 'payee' })))
    .execute();
  counts.fetched = 0;
});

const memos = () => db.selectFrom('ledger.entry').select(['id', 'memo']).orderBy('id').stream(CHUNK);

/** Reads until the stream ends or fails; what was read stays in `seen`. */
async function drain(stream: AsyncIterable<unknown>, seen: unknown[] = []): Promise<unknown[]> {
  for await (const row of stream) seen.push(row);
  return seen;
}

/** The one session is free again, and no cursor was left behind. */
async function expectFreeSession(): Promise<void> {
  const { rows } = await sql`select from pg_cursors`.execute(streaming);
  expect([rows.length, counts.open]).toEqual([0, 0]);
}

describe('a stream over sealed columns', () => {
  it('opens every row, chunk by chunk, and shows no hidden column', async () => {
    expect(await drain(memos())).toEqual(ids.map((id) => ({ id, memo: `memo of ${id}` })));
    expect(counts.fetched).toBe(ROWS);
    await expectFreeSession();
  });

  it('holds one chunk at a time: nothing is fetched before the one in hand is used up', async () => {
    let used = 0;
    for await (const { memo } of memos()) {
      used += 1;
      expect(memo).toMatch(/^memo of /);
      expect(counts.fetched).toBe(Math.ceil(used / CHUNK) * CHUNK);
    }
    expect(used).toBe(ROWS);
  });

  it('ends at a value that was moved from another row, before any row of its chunk', async () => {
    const [from, to] = [ids[3], ids[CHUNK * 4 + 7]];
    await sql`update ledger.entry set memo = (select memo from ledger.entry where id = ${from}) where id = ${to}`.execute(
      w.raw,
    );
    const seen: unknown[] = [];
    expect(await failure(() => drain(memos(), seen))).toMatchObject({
      code: 'crypto.decrypt_failed',
      table: 'ledger.entry',
      column: 'memo',
      row: to,
    });
    expect(seen).toHaveLength(CHUNK * 4);
    expect(counts.fetched).toBe(CHUNK * 5);
    await expectFreeSession();
  });

  it('ends at a value of another organisation, and at plaintext', async () => {
    const [foreign, plain] = [rowId(), rowId()]; // behind all others
    await dbB.insertInto('ledger.entry').values({ org_id: ORG_B, id: foreign, memo: 'of B' }).execute();
    const seen: unknown[] = [];
    expect(await failure(() => drain(memos(), seen))).toMatchObject({
      code: 'crypto.unknown_key_version',
      row: foreign,
    });
    expect(seen).toHaveLength(ROWS);
    await w.raw.deleteFrom('ledger.entry').where('id', '=', foreign).execute();
    await sql`insert into ledger.entry (id, memo) values (${plain}, 'planted')`.execute(w.raw);
    const failed = await failure(() => drain(memos()));
    expect(failed).toMatchObject({ code: 'crypto.malformed_message', row: plain });
    expect(failed.text).not.toContain('planted');
    await expectFreeSession();
  });

  it('ends with the lease of its keys, in the middle', async () => {
    const seen: unknown[] = [];
    const stopped = async () => {
      for await (const row of memos()) {
        seen.push(row);
        if (seen.length === CHUNK) keyring.revoke(ORG_A);
      }
    };
    expect((await failure(stopped)).code).toBe('crypto.lease_expired');
    expect(seen).toHaveLength(CHUNK);
    await expectFreeSession();
  });

  it('can be left early', async () => {
    for await (const { memo } of memos()) {
      expect(memo).toBe(`memo of ${ids[0]}`);
      break;
    }
    expect(counts.fetched).toBe(CHUNK);
    await expectFreeSession();
  });

  it('leaves out false hits of a blind index, also when a whole chunk has none else', async () => {
    const planted = ids.slice(0, CHUNK * 2);
    const other = { payee: 'somebody else' };
    for (const id of planted) await db.updateTable('ledger.entry').set(other).where('id', '=', id).execute();
    await sql`update ledger.entry set payee_idx = (select payee_idx from ledger.entry where id = ${ids.at(-1)})`.execute(
      w.raw,
    );
    const hits = db
      .selectFrom('ledger.entry')
      .select('id')
      .where((eb) => whereBlind(eb, 'payee', 'payee'))
      .orderBy('id')
      .stream(CHUNK);
    expect(await drain(hits)).toEqual(ids.slice(CHUNK * 2).map((id) => ({ id })));
    expect(counts.fetched).toBeGreaterThanOrEqual(ROWS);
  });

  it('opens what a CTE passes on, and looks through what it does not know', async () => {
    const passed = db
      .with('c', (q) => q.selectFrom('ledger.entry').select(['id', 'memo']))
      .selectFrom('c')
      .selectAll()
      .orderBy('id');
    expect(await drain(passed.stream(CHUNK))).toEqual(ids.map((id) => ({ id, memo: `memo of ${id}` })));
    const view = db.selectFrom('ledger.entry_view' as 'ledger.note').select('memo');
    expect((await failure(() => drain(view.stream(CHUNK)))).code).toBe('crypto.query_refused');
    await expectFreeSession();
  });

  it('is refused like every other query, before it is sent', async () => {
    const refused = db
      .selectFrom('ledger.entry')
      .select('id')
      .where('memo', '=', 'x' as never);
    expect((await failure(() => drain(refused.stream(CHUNK)))).code).toBe('crypto.query_refused');
    expect(counts.fetched).toBe(0);
  });
});
