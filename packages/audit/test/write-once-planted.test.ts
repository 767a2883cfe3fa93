/**
 * Objects that somebody with the right to write puts in a copier's way: under names that are not due yet, with bytes of
 * their own. Verification names each, and the copier neither overwrites nor adopts one that is not its own.
 */
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import type { OrgId } from '../src/index.ts';
import type { ListedVersion, WriteOnceStore } from '../src/write-once/index.ts';
import { bucketAt, type CopyFixture, classesOf, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';
import { failing, type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

let f: CopyFixture;
let s3: LoopbackS3;
let store: WriteOnceStore;
let org: OrgId;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(async () => {
  s3 = await loopbackS3();
  store = bucketAt(s3.endpoint, { mode: 'governance' });
  org = await f.signed(3, 259);
  await f.copyTo(store).copy(org);
});
afterEach(() => s3.close());

const place = (seq: number) => String(seq).padStart(16, '0');
const at = (name: string) => `ledger/${org}/${name}`;
const until = '2040-01-01T00:00:00Z';
const plant = (name: string, body: string | Uint8Array) =>
  s3.objects.set(at(name), [
    {
      id: 'planted',
      at: 0,
      body: Buffer.from(body),
      meta: undefined,
      mode: 'GOVERNANCE',
      until,
      marker: false,
    },
  ]);
/** The findings that concern one name, with and without the database. */
async function findingsOf(name: string): Promise<(readonly string[])[]> {
  const reports = [await f.verify(org, store), await f.verify(org, store, { db: f.copying })];
  return reports.map(({ findings }) =>
    findings.filter(({ key }) => key === `${org}/${name}`).map((finding) => finding.class),
  );
}
/** Signs more events and lets the copy die when it has written the segments of them. */
async function interruptAfterSegments(events: number): Promise<void> {
  await f.grow(org, events);
  await f.checkpointer.checkpoint(org);
  s3.fault = (request, apply) =>
    request.operation === 'put' && request.key.includes('/tile/') && failing(503, 'SlowDown')(request, apply);
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_unavailable' });
  s3.fault = undefined;
}

test.each([
  ['a full tile of events to come', 'tile/0/002', 8192],
  ['a full tile that the next events will fill', 'tile/0/001', 8192],
  ['a tile that is wider than the log is long', 'tile/0/001.p/9', 288],
  ['a tile of a level that the log does not reach', 'tile/2/000.p/1', 32],
  ['a tile far away', 'tile/0/x999/999', 8192],
])('%s is foreign', async (_, name, length) => {
  plant(name, new Uint8Array(length).fill(7));
  expect(await findingsOf(name)).toEqual([['foreign'], ['foreign']]);
});

test('a segment that does not join, and a note that nobody signed, are found', async () => {
  plant(`segments/${place(900)}-${place(901)}.ndjson`, 'x');
  plant(`checkpoint/${place(400)}`, 'x');
  expect(classesOf(await f.verify(org, store))).toEqual(['chain', 'gap', 'unsigned']);
});

test('a tile that is due next, with other bytes, is found; the copier names it, writes nothing over it and can go on', async () => {
  await interruptAfterSegments(300);
  plant('tile/0/001', new Uint8Array(8192).fill(7));
  expect(await findingsOf('tile/0/001')).toEqual([['foreign'], ['foreign']]);
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({
    code: 'audit.copy_conflict',
    retryable: false,
    message: expect.stringContaining(`${org}/tile/0/001 `),
  });
  expect(s3.objects.get(at('tile/0/001'))).toMatchObject([{ id: 'planted' }]);
  expect(s3.objects.has(at(`checkpoint/${place(559)}`))).toBe(false);
  // Another prefix takes the whole log, whatever lies in the old one.
  const elsewhere = bucketAt(s3.endpoint, { prefix: 'ledger-2' });
  await f.copyTo(elsewhere).copy(org);
  expect(await f.verify(org, elsewhere, { db: f.copying })).toMatchObject({ ok: true, signed: 559 });
  // Or the owner of the bucket removes the version; the copy goes on where it was.
  s3.objects.delete(at('tile/0/001'));
  await f.copyTo(store).copy(org);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({
    ok: true,
    findings: [],
    signed: 559,
  });
});

test('a log that is blocked holds up no other', async () => {
  const other = await f.signed(2);
  await f.grow(org, 1);
  await f.checkpointer.checkpoint(org);
  plant(`segments/${place(259)}-${place(260)}.ndjson`, 'x');
  const end = new AbortController();
  const failed: unknown[] = [];
  await f.copyTo(store).run({
    signal: end.signal,
    onError: (error, log) => failed.push([log, (error as { code?: unknown }).code]),
    sleep: async () => end.abort(),
  });
  expect(failed).toContainEqual([org, 'audit.copy_conflict']);
  expect(await f.verify(other, store)).toMatchObject({ ok: true, signed: 2 });
});

test('what was planted with the bytes that are due is adopted, and locked', async () => {
  await interruptAfterSegments(300);
  const finished = bucketAt(s3.endpoint, { prefix: 'finished' });
  await f.copyTo(finished).copy(org);
  const bytes = s3.objects.get(`finished/${org}/tile/0/001`)?.[0]?.body as Buffer;
  s3.objects.set(at('tile/0/001'), [
    { id: 'planted', at: 0, body: bytes, meta: undefined, mode: undefined, until: undefined, marker: false },
  ]);
  await f.copyTo(store).copy(org);
  expect(s3.objects.get(at('tile/0/001'))).toMatchObject([{ id: 'planted', mode: 'GOVERNANCE' }]);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({
    ok: true,
    findings: [],
    signed: 559,
  });
});

test.each([
  ['in sixty years', String(Date.now() + 60 * 365 * 86_400_000)],
  ['that no date can be', '9000000000000000'],
])(
  'what was planted with a promise %s is locked for as long as it is due, and holds nothing up',
  async (_, meta) => {
    await interruptAfterSegments(300);
    const finished = bucketAt(s3.endpoint, { prefix: 'finished' });
    await f.copyTo(finished).copy(org);
    const body = s3.objects.get(`finished/${org}/tile/0/001`)?.[0]?.body as Buffer;
    s3.objects.set(at('tile/0/001'), [
      { id: 'planted', at: 0, body, meta, mode: undefined, until: undefined, marker: false },
    ]);
    expect(await f.copyTo(store).copy(org)).toMatchObject({ size: 559 });
    const [planted] = s3.objects.get(at('tile/0/001')) ?? [];
    expect(planted?.mode).toBe('GOVERNANCE');
    expect(Date.parse(planted?.until ?? '')).toBeLessThan(Date.now() + 8 * 365 * 86_400_000);
    expect(Date.parse(planted?.until ?? '')).toBeGreaterThan(Date.now() + 6 * 365 * 86_400_000);
    const report = await f.verify(org, store, { db: f.copying });
    expect(report.findings).toMatchObject([{ class: 'retention_shortened', key: `${org}/tile/0/001` }]);
  },
);

test('a segment of made-up events that joins the chain is found with the database', async () => {
  // Another log of the same organisation, in another database, went on from the same place.
  await f.grow(org, 1);
  await f.checkpointer.checkpoint(org);
  const elsewhere = bucketAt(s3.endpoint, { prefix: 'elsewhere' });
  await f.copyTo(elsewhere).copy(org);
  const name = `segments/${place(259)}-${place(260)}.ndjson`;
  plant(name, s3.objects.get(`elsewhere/${org}/${name}`)?.[0]?.body as Buffer);
  await f.tamper(async (trx) => {
    for (const table of ['audit.checkpoint where size', 'audit.seal where seq'])
      await sql.raw(`delete from ${table} > 259 and org_id = '${org}'`).execute(trx);
    await sql.raw('alter table audit.head disable trigger user').execute(trx);
    await sql`update audit.head set seq = 259, hash = (select hash from audit.seal where org_id = ${org} and seq = 259)
      where org_id = ${org}`.execute(trx);
    for (const guard of ['refuse_removal', 'refuse_backward'])
      await sql.raw(`alter table audit.head enable always trigger ${guard}`).execute(trx);
  });
  await f.grow(org, 3);
  const [alone, held] = await findingsOf(name);
  expect(alone).toEqual([]); // it could be a copy that is under way: nothing behind `signed` is vouched for
  expect(held).toEqual(['foreign']);
  expect(await f.verify(org, store)).toMatchObject({ signed: 259, head: { seq: 260 } });
});

test('tiles that a copier writes while the store is listed are no finding', async () => {
  await f.grow(org, 300);
  await f.checkpointer.checkpoint(org);
  let first = true;
  const racing: WriteOnceStore = {
    ...store,
    name: store.name,
    locks: store.locks,
    create: (key, body) => store.create(key, body),
    read: (version, most) => store.read(version, most),
    retention: (version) => store.retention(version),
    list: async function* (prefix) {
      if (!first) return yield* store.list(prefix);
      first = false;
      const all = async () => {
        const listed: ListedVersion[] = [];
        for await (const version of store.list(prefix)) listed.push(version);
        return listed;
      };
      yield* (await all()).filter(({ key }) => !key.includes('/tile/'));
      await f.copyTo(store).copy(org);
      yield* (await all()).filter(({ key }) => key.includes('/tile/'));
    },
  };
  expect(await f.verify(org, racing)).toMatchObject({ ok: true, findings: [] });
});
