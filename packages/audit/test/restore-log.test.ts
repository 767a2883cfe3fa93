/** The restore drill: a log is put back from its copy, into an empty database and behind an old backup. */
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import type { CheckpointDatabase } from '../src/checkpoint/database.ts';
import type { OrgId } from '../src/index.ts';
import { type RestoreOptions, restoreLog, type WriteOnceStore } from '../src/write-once/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { bucketAt, type CopyFixture, copyFixture } from './copy-fixture.ts';
import { errorOf, kyselyOf, type Tables } from './fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

let f: CopyFixture;
let owner: ReturnType<typeof kyselyOf<Tables>>;
let s3: LoopbackS3;
let store: WriteOnceStore;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  owner = kyselyOf<Tables>(f.database.ownerUrl, 2);
});
afterAll(async () => {
  await owner.destroy();
  await f.close();
});
beforeEach(async () => {
  s3 = await loopbackS3();
  store = bucketAt(s3.endpoint);
});
afterEach(() => s3.close());

const restore = (org: OrgId, options: Partial<RestoreOptions> = {}) =>
  restoreLog({
    ...{
      db: owner,
      checkpoints: f.signing as CheckpointDatabase,
      store,
      org,
      origin: ORIGIN,
      keys: [f.keyLine],
    },
    ...options,
  });

const TABLES = ['event', 'seal', 'head', 'queue', 'checkpoint', 'tile', 'copy'] as const;

/** What a backup made when the log had `size` events would have of it: nothing behind. */
async function setBack(org: OrgId, size: number): Promise<void> {
  const behind = sql`org_id = ${org} and`;
  await f.superuser.transaction().execute(async (trx) => {
    for (const table of TABLES) await sql.raw(`alter table audit.${table} disable trigger user`).execute(trx);
    await sql`delete from audit.event where ${behind} id in
      (select event_id from audit.seal where ${behind} seq > ${size})`.execute(trx);
    await sql`delete from audit.seal where ${behind} seq > ${size}`.execute(trx);
    await sql`delete from audit.checkpoint where ${behind} size > ${size}`.execute(trx);
    await sql`delete from audit.copy where ${behind} upto > ${size}`.execute(trx);
    await sql`delete from audit.tile where ${behind} (index * 256 + start + 1) * 256 ^ level > ${size}`.execute(
      trx,
    );
    await sql`delete from audit.head where org_id = ${org}`.execute(trx);
    if (size > 0) {
      await sql`insert into audit.head select org_id, seq, hash from audit.seal where ${behind} seq = ${size}`.execute(
        trx,
      );
    }
    await sql.raw(TABLES.map(triggersOn).join(';')).execute(trx);
  });
}
const triggersOn = (table: string) => `do $$ declare t record; begin
  for t in select tgname from pg_trigger where tgrelid = 'audit.${table}'::regclass and not tgisinternal loop
    execute format('alter table audit.${table} enable always trigger %I', t.tgname);
  end loop; end $$`;

const whole = async (org: OrgId) => {
  const rows = await sql<{ text: string }>`
    select concat_ws('|', 'event', id, at, canon, leaf, actor, action, target) as text from audit.event where org_id = ${org}
    union all select concat_ws('|', 'seal', seq, event_id, hash) from audit.seal where org_id = ${org}
    union all select concat_ws('|', 'head', seq, hash) from audit.head where org_id = ${org}
    union all select concat_ws('|', 'checkpoint', size, root, link, note) from audit.checkpoint where org_id = ${org}
    union all select concat_ws('|', 'tile', level, index, start, data) from audit.tile where org_id = ${org}
    order by 1`.execute(f.superuser);
  return rows.rows.map(({ text }) => text);
};

test('a log of an empty database is put back to the byte, and signing, copying and recording go on', async () => {
  const org = await f.signed(3, 260);
  await f.copyTo(store).copy(org);
  const before = await whole(org);
  await setBack(org, 0);
  expect(await whole(org)).toEqual([]);
  const report = await restore(org);
  expect(report).toMatchObject({ events: 260, checkpoints: 2, lostEvents: 0, withoutPersonalValues: 0 });
  expect(await whole(org)).toEqual(before);
  // The copier finds what it wrote, byte for byte, and knows it again.
  await f.copyTo(store).copy(org);
  expect([...s3.objects.values()].every((versions) => versions.length === 1)).toBe(true);
  await f.grow(org, 2);
  expect(await f.another().checkpoint(org)).toMatchObject({ size: 262 });
  await f.copyTo(store).copy(org);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({
    ok: true,
    findings: [],
    signed: 262,
  });
  expect(await restore(org)).toMatchObject({ events: 0, checkpoints: 0, head: { seq: 262 } });
});

test('behind an old backup only what is missing is put back', async () => {
  const org = await f.signed(3, 260);
  await f.copyTo(store).copy(org);
  const before = await whole(org);
  await setBack(org, 3);
  expect(await restore(org)).toMatchObject({ events: 257, checkpoints: 1, head: { seq: 260 } });
  expect(await whole(org)).toEqual(before);
  await f.grow(org, 1);
  expect(await f.another().checkpoint(org)).toMatchObject({ size: 261 });
});

test('an event that the backup has in the queue is sealed at its place, and not a second time', async () => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  const before = await whole(org);
  const { rows } = await sql<{ id: string; canon: string; leaf: Uint8Array }>`
    select e.id, e.canon, e.leaf from audit.event e
      join audit.seal s on s.org_id = e.org_id and s.event_id = e.id
     where e.org_id = ${org} and s.seq = 3`.execute(f.superuser);
  const [third] = rows;
  await setBack(org, 2);
  await sql`insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
    select ${org}, ${third?.id}::uuid, (c ->> 'at')::timestamptz, ${third?.canon}, ${third?.leaf}, c ->> 'actor',
           c #>> '{event,type}', (c #>> '{event,target,type}') || ':' || (c #>> '{event,target,id}')
      from (select ${third?.canon}::jsonb as c) r`.execute(f.superuser);
  await sql`insert into audit.queue (org_id, event_id, queued_at, leaf)
    values (${org}, ${third?.id}::uuid, clock_timestamp(), ${third?.leaf})`.execute(f.superuser);
  expect(await restore(org)).toMatchObject({ events: 2, head: { seq: 4 } });
  expect(await whole(org)).toEqual(before);
  await f.audit.sealPending();
  expect(await whole(org)).toEqual(before);
});

test('a database of another history is not touched', async () => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  await setBack(org, 2);
  await f.grow(org, 1); // the app was started too early
  const before = await whole(org);
  expect(await errorOf(restore(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(await whole(org)).toEqual(before);
  await f.grow(org, 5); // and went on beyond the copy
  const after = await whole(org);
  expect(await errorOf(restore(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(await whole(org)).toEqual(after);
});

const place = (seq: number) => String(seq).padStart(16, '0');

test.each<[string, (key: (name: string) => string) => void]>([
  [
    'a record was altered',
    (key) => edit(key(`segments/${place(2)}-${place(4)}.ndjson`), 'success', 'failure'),
  ],
  ['a segment is gone', (key) => s3.objects.delete(key(`segments/${place(2)}-${place(4)}.ndjson`))],
  ['the note is of another key', (key) => edit(key(`checkpoint/${place(4)}`), ' ledger', ' lodger')],
  [
    'a note is that of another size',
    (key) =>
      s3.objects.set(key(`checkpoint/${place(4)}`), s3.objects.get(key(`checkpoint/${place(2)}`)) ?? []),
  ],
])('a copy of which %s is put back up to the checkpoint before, and no farther', async (_, damage) => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  await setBack(org, 0);
  damage((name) => `ledger/${org}/${name}`);
  expect(await errorOf(restore(org))).toMatchObject({ code: 'audit.copy_damaged' });
  const rows = await whole(org);
  expect(rows.filter((row) => row.startsWith('event|'))).toHaveLength(2);
  expect(rows.filter((row) => row.startsWith('checkpoint|'))).toHaveLength(1);
});

function edit(key: string, from: string, to: string): void {
  const version = s3.objects.get(key)?.[0];
  if (version !== undefined) version.body = Buffer.from(version.body.toString().replace(from, to));
}

test('whoever can write to the bucket cannot hold up a restore with markers, versions on top or strange segments', async () => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  const before = await whole(org);
  await setBack(org, 0);
  for (const [key, versions] of [...s3.objects]) {
    const [ours] = versions;
    if (ours === undefined) continue;
    const top = { ...ours, id: 'top', at: ours.at + 1, body: Buffer.from('x') };
    s3.objects.set(key, [{ ...top, id: 'marker', at: ours.at + 2, marker: true }, top, ours]);
    s3.objects.set(key.replace(`${place(0)}-${place(2)}`, `${place(0)}-${place(3)}`), [ours]);
  }
  expect(await restore(org)).toMatchObject({ events: 4, checkpoints: 2 });
  expect(await whole(org)).toEqual(before);
});

test('what a kept note says and the copy does not have is told as lost; another history is refused', async () => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  await f.grow(org, 3);
  const farther = (await f.checkpointer.checkpoint(org))?.note ?? '';
  await setBack(org, 0);
  expect(await restore(org, { keptNotes: [farther] })).toMatchObject({ head: { seq: 4 }, lostEvents: 3 });
  await setBack(org, 0);
  await f.grow(org, 2);
  const another = (await f.another().checkpoint(org))?.note ?? '';
  await setBack(org, 0);
  expect(await errorOf(restore(org, { keptNotes: [another] }))).toMatchObject({ code: 'audit.copy_damaged' });
  expect(await whole(org)).toEqual([]);
  const stranger = restore(org, { keptNotes: [another.replace(' ledger', ' lodger')] });
  await expect(stranger).rejects.toBeInstanceOf(TypeError);
});

test('a wiped database that was signed anew adds nothing to the store', async () => {
  const org = await f.signed(2, 4);
  await f.copyTo(store).copy(org);
  const objects = s3.objects.size;
  await setBack(org, 0);
  await f.grow(org, 6);
  await f.another().checkpoint(org); // cut elsewhere: its segment would have a name of its own
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_conflict' });
  expect(s3.objects.size).toBe(objects);
  expect(await f.verify(org, store)).toMatchObject({ ok: true, findings: [] });
});
