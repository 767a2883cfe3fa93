/** What must not become permanent: a history rewritten under a checkpoint that is signed already, a lock that ends soon. */
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { SEVEN_YEARS_MS } from '../src/s3/index.ts';
import { bucketAt, type CopyFixture, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

let f: CopyFixture;
let s3: LoopbackS3;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(async () => {
  s3 = await loopbackS3();
});
afterEach(() => s3.close());

/** Edits an event and makes leaves, chain, head and the link beside the last checkpoint agree with it. */
const rewrite = (org: string, seq: number): string => `
do $$
declare
  item record;
  link bytea := decode(repeat('00', 32), 'hex');
begin
  update audit.event e set canon = replace(canon, 'success', 'failure') from audit.seal s
   where e.org_id = '${org}' and s.org_id = e.org_id and s.event_id = e.id and s.seq = ${seq};
  update audit.event set leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8')) where org_id = '${org}';
  for item in select s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
               where s.org_id = '${org}' order by s.seq loop
    link := sha256(decode('02', 'hex') || uuid_send('${org}') || int8send(item.seq) || link || item.leaf);
    update audit.seal set hash = link where org_id = '${org}' and seq = item.seq;
    update audit.checkpoint set link = (select hash from audit.seal where org_id = '${org}' and seq = item.seq)
     where org_id = '${org}' and size = item.seq;
  end loop;
  update audit.head set hash = link where org_id = '${org}';
end $$`;

test.each([0, 3])(
  'a history rewritten under a signed checkpoint is not copied, with %i events in the store',
  async (copied) => {
    const org = copied === 0 ? await f.signed(6) : await f.signed(copied);
    const store = bucketAt(s3.endpoint);
    if (copied > 0) {
      await f.copyTo(store).copy(org);
      await f.grow(org, 6 - copied);
      await f.checkpointer.checkpoint(org);
    }
    const before = s3.objects.size;
    await f.tamper(async (trx) => {
      await sql.raw('alter table audit.event drop constraint if exists event_leaf').execute(trx);
      await sql.raw('alter table audit.head disable trigger user').execute(trx);
      await sql.raw(rewrite(org, 5)).execute(trx);
    });
    expect(await f.audit.verify(f.superuser, org)).toMatchObject({ ok: true }); // by itself it holds
    expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({
      code: 'audit.history_changed',
      message: expect.stringContaining('the root signed at 6'),
    });
    expect(s3.objects.size).toBe(before);
  },
);

test('a tile that holds other hashes than its records is not copied', async () => {
  const org = await f.signed(6);
  await f.tamper(async (trx) => {
    await sql`update audit.tile set data = set_byte(data, 40, (get_byte(data, 40) + 1) % 256)
      where org_id = ${org} and level = 0`.execute(trx);
  });
  expect(await errorOf(f.copyTo(bucketAt(s3.endpoint)).copy(org))).toMatchObject({
    code: 'audit.history_changed',
    message: expect.stringContaining('a stored tile'),
  });
  expect([...s3.objects.keys()].filter((key) => /\/(?:tile|checkpoint)\//.test(key))).toEqual([]);
});

test('versions that somebody locked for a second are locked for seven years when they are adopted', async () => {
  const org = await f.signed(4);
  await f.copyTo(bucketAt(s3.endpoint, { retentionMs: 1_000 })).copy(org);
  await f.tamper(async (trx) => {
    await sql.raw('alter table audit.copy disable trigger user').execute(trx);
    await sql`delete from audit.copy where org_id = ${org}`.execute(trx); // as if another had written them
  });
  const before = Date.now();
  await f.copyTo(bucketAt(s3.endpoint)).copy(org);
  expect(s3.objects.size).toBeGreaterThan(0);
  for (const versions of s3.objects.values()) {
    expect(versions).toHaveLength(1);
    expect(Date.parse(versions[0]?.until ?? '')).toBeGreaterThanOrEqual(before + SEVEN_YEARS_MS - 1_000);
  }
});
