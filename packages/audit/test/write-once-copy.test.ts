/** The write-once copy of real logs, with the real S3 client against a server that fails on demand. */
import { setImmediate as turn } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { OrgId } from '../src/index.ts';
import { SEVEN_YEARS_MS } from '../src/s3/index.ts';
import type { WriteOnceStore } from '../src/write-once/index.ts';
import { bucketAt, type CopyFixture, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';
import { failing, type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

let f: CopyFixture;
let s3: LoopbackS3;
let store: WriteOnceStore;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(async () => {
  s3 = await loopbackS3();
  store = bucketAt(s3.endpoint);
});
afterEach(() => s3.close());

/** Keys below the log's prefix, each with its number of versions. */
function keys(org: OrgId): Record<string, number> {
  const prefix = `ledger/${org}/`;
  return Object.fromEntries(
    [...s3.objects].flatMap(([key, versions]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), versions.length]] : [],
    ),
  );
}

const place = (seq: number) => String(seq).padStart(16, '0');

test('copies segments, tiles and notes of every checkpoint, locked for seven years, each once', async () => {
  const before = Date.now();
  const org = await f.signed(3, 300);
  const result = await f.copyTo(store).copy(org);
  expect(keys(org)).toEqual({
    [`segments/${place(0)}-${place(3)}.ndjson`]: 1,
    [`segments/${place(3)}-${place(300)}.ndjson`]: 1,
    'tile/0/000.p/3': 1,
    'tile/0/000': 1,
    'tile/0/001.p/44': 1,
    'tile/1/000.p/1': 1,
    [`checkpoint/${place(3)}`]: 1,
    [`checkpoint/${place(300)}`]: 1,
  });
  expect(result).toMatchObject({ size: 300, objects: 8 });
  for (const [version] of s3.objects.values()) {
    expect(version?.mode).toBe('COMPLIANCE');
    expect(Date.parse(version?.until ?? '')).toBeGreaterThanOrEqual(before + SEVEN_YEARS_MS);
  }
  const requests = s3.seen.length;
  expect(await f.copyTo(store).copy(org)).toEqual({ size: 300, objects: 0, bytes: 0 });
  expect(s3.seen).toHaveLength(requests);
  expect(await f.verify(org, store)).toMatchObject({ ok: true, links: 300, signed: 300, objects: 8 });
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
});

test('asks for the retention of each version after it was written', async () => {
  const org = await f.signed(2);
  await f.copyTo(store).copy(org);
  for (const key of s3.objects.keys()) {
    expect(s3.seen.indexOf(`get-retention ${key}`)).toBeGreaterThan(s3.seen.indexOf(`put ${key}`));
  }
});

test('goes on over many checkpoints of odd sizes, across tile borders', async () => {
  const org = await f.signed(1, 255, 256, 257, 511, 512, 513);
  const copy = f.copyTo(store);
  await copy.copy(org);
  expect(await f.verify(org, store)).toMatchObject({ ok: true, findings: [], signed: 513 });
  await f.grow(org, 300);
  await f.checkpointer.checkpoint(org);
  await copy.copy(org);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({
    ok: true,
    findings: [],
    signed: 813,
  });
});

describe('does not count an object as copied when', () => {
  const ATTACKS: readonly [string, string, () => void][] = [
    ['the lock headers are dropped', 'audit.retention_not_applied', () => (s3.keepsLocks = false)],
    ['the bucket keeps no versions', 'audit.retention_not_applied', () => (s3.versioned = false)],
    ['another checksum is told', 'audit.copy_checksum_mismatch', () => (s3.toldChecksum = 'AAAA')],
    [
      'no checksum is told and the bytes are others',
      'audit.copy_checksum_mismatch',
      () => {
        s3.toldChecksum = null;
        s3.fault = ({ operation, key }) => {
          const version = s3.objects.get(key)?.[0];
          if (operation === 'get' && version !== undefined) version.body = Buffer.from('others');
          return false;
        };
      },
    ],
    ['the server is busy', 'audit.copy_unavailable', () => (s3.fault = failing(503, 'SlowDown'))],
    ['the server is broken', 'audit.copy_unavailable', () => (s3.fault = failing(500, 'InternalError'))],
    ['the credentials are refused', 'audit.copy_denied', () => (s3.fault = failing(403, 'AccessDenied'))],
    ['the bucket is gone', 'audit.copy_denied', () => (s3.fault = failing(404, 'NoSuchBucket'))],
    [
      'the retention cannot be read',
      'audit.copy_denied',
      () => (s3.fault = (r, a) => r.operation === 'get-retention' && failing(403, 'AccessDenied')(r, a)),
    ],
    [
      'the mode that is held is weaker',
      'audit.retention_not_applied',
      () =>
        (s3.fault = ({ operation, key }) => {
          const version = s3.objects.get(key)?.[0];
          if (operation === 'get-retention' && version !== undefined) version.mode = 'GOVERNANCE';
          return false;
        }),
    ],
    [
      'the date that is held is earlier',
      'audit.retention_not_applied',
      () =>
        (s3.fault = ({ operation, key }) => {
          const version = s3.objects.get(key)?.[0];
          if (operation === 'get-retention' && version !== undefined) version.until = '2027-01-01T00:00:00Z';
          return false;
        }),
    ],
  ];
  test.each(ATTACKS)('%s', async (_, code, attack) => {
    const org = await f.signed(2);
    attack();
    expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({
      code,
      retryable: code === 'audit.copy_unavailable',
    });
    const { rows } = await sql`select from audit.copy where org_id = ${org}`.execute(f.superuser);
    expect(rows).toHaveLength(0);
  });
});

test('a request without an answer ends after its time', async () => {
  const org = await f.signed(2);
  const impatient = bucketAt(s3.endpoint, { requestTimeoutMs: 50 });
  s3.fault = ({ operation }) => operation === 'put';
  expect(await errorOf(f.copyTo(impatient).copy(org))).toMatchObject({ code: 'audit.copy_unavailable' });
});

test('a lock that was lost is asked for again by the next run, and read back', async () => {
  const org = await f.signed(2);
  s3.keepsLocks = false;
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.retention_not_applied' });
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.retention_not_applied' });
  s3.keepsLocks = true;
  await f.copyTo(store).copy(org);
  expect(Object.values(keys(org))).toEqual([1, 1, 1]);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
});

test.each([true, false])(
  'a connection that breaks after the write was applied leaves no second version (If-None-Match honoured: %s)',
  async (conditional) => {
    const org = await f.signed(2, 5);
    s3.conditional = conditional;
    let cuts = 0;
    s3.fault = ({ operation, response }, apply) => {
      if (operation !== 'put' || ++cuts % 2 === 0) return false;
      apply();
      response.destroy();
      return true;
    };
    const copy = f.copyTo(store);
    for (let runs = 0; runs < 20; runs++) {
      const error = await copy.copy(org).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) break;
      expect(error).toMatchObject({ code: 'audit.copy_unavailable', retryable: true });
    }
    expect(cuts).toBeGreaterThan(3);
    expect(new Set(Object.values(keys(org)))).toEqual(new Set([1]));
    expect(await f.verify(org, store, { db: f.copying })).toMatchObject({
      ok: true,
      findings: [],
      signed: 5,
    });
  },
);

test('a key that was taken between the look and the write is adopted when its bytes are ours', async () => {
  const org = await f.signed(2);
  let looked = 0;
  s3.fault = ({ operation, response }, apply) => {
    if (operation === 'put') {
      apply();
      failing(412, 'PreconditionFailed')({ operation, key: '', response }, apply);
      looked += 1;
      return true;
    }
    return false;
  };
  await f.copyTo(store).copy(org);
  expect(looked).toBe(3);
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
});

test('an object of ours that was hidden by a delete marker is not adopted', async () => {
  const org = await f.signed(2);
  s3.fault = ({ operation, response }, apply) => {
    if (operation !== 'put') return false;
    apply();
    response.destroy();
    return true;
  };
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_unavailable' });
  s3.fault = undefined;
  const [[key, versions] = ['', []]] = [...s3.objects];
  const [ours] = versions;
  if (ours === undefined) throw new Error('nothing was written');
  s3.objects.set(key, [{ ...ours, id: 'marker', at: ours.at + 1, marker: true }, ours]);
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_conflict' });
});

test('a key that somebody else takes between the look and the write is not overwritten', async () => {
  const org = await f.signed(2);
  s3.fault = ({ operation, key }) => {
    if (operation === 'put') {
      const theirs = { id: 'theirs', at: 0, body: Buffer.from('x'), meta: undefined, mode: undefined };
      s3.objects.set(key, [{ ...theirs, until: undefined, marker: false }]);
    }
    return false;
  };
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_conflict' });
  expect(Object.values(keys(org))).toEqual([1]);
});

test.each([
  ['other bytes', false],
  ['a delete marker', true],
])('writes nothing over %s', async (_, marker) => {
  const org = await f.signed(2);
  const key = `ledger/${org}/segments/${place(0)}-${place(2)}.ndjson`;
  s3.objects.set(key, [
    {
      id: 'theirs',
      at: 0,
      body: Buffer.from('x'),
      meta: undefined,
      mode: undefined,
      until: undefined,
      marker,
    },
  ]);
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.copy_conflict' });
  expect(keys(org)).toEqual({ [`segments/${place(0)}-${place(2)}.ndjson`]: 1 });
});

test.each([
  [
    'a record was edited',
    `update audit.event set canon = replace(canon, 'success', 'failure') where org_id = $org`,
  ],
  ['a link is gone', 'delete from audit.seal where org_id = $org and seq = 4'],
  [
    'the note is of another key',
    `update audit.checkpoint set note = replace(note, ' ledger', ' lodger') where org_id = $org`,
  ],
  [
    'the root beside the note is another',
    `update audit.checkpoint set root = sha256('x') where org_id = $org`,
  ],
  [
    'the link at the checkpoint is another',
    `update audit.checkpoint set link = sha256('x') where org_id = $org`,
  ],
  ['a tile is too short', 'delete from audit.tile where org_id = $org'],
])('makes no note permanent when %s', async (_, statement) => {
  const org = await f.signed(6);
  await f.tamper(async (trx) => {
    await sql.raw('alter table audit.event drop constraint if exists event_leaf').execute(trx);
    await sql.raw(statement.replaceAll('$org', `'${org}'`)).execute(trx);
  });
  expect(await errorOf(f.copyTo(store).copy(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(Object.keys(keys(org)).filter((key) => key.startsWith('checkpoint'))).toEqual([]);
});

test('a store that is down holds the run back longer and longer; nothing is lost, and the lag shows it', async () => {
  const org = await f.signed(4, 9);
  const own = bucketAt(s3.endpoint, { prefix: 'alone' });
  const copy = f.copyTo(own);
  const behind = await copy.lag();
  expect(behind.checkpoints).toBeGreaterThanOrEqual(2);
  expect(behind.events).toBeGreaterThanOrEqual(9);
  expect(behind.oldestMs).toBeGreaterThan(0);
  s3.fault = failing(503, 'SlowDown');
  const slept: number[] = [];
  const failures: unknown[] = [];
  const copied: OrgId[] = [];
  const end = new AbortController();
  await copy.run({
    signal: end.signal,
    pollMs: 777,
    maxBackoffMs: 5_000,
    onError: (error) => failures.push(error),
    onCopied: (one) => copied.push(one),
    sleep: async (ms) => {
      slept.push(ms);
      if (slept.length === 5) s3.fault = undefined;
      if (slept.length === 6) end.abort();
      await turn();
    },
  });
  expect(slept).toEqual([1_000, 2_000, 4_000, 5_000, 5_000, 777]);
  const unavailable = failures.filter((one) => (one as { code?: unknown }).code === 'audit.copy_unavailable');
  expect(unavailable).toHaveLength(5);
  expect(copied).toContain(org);
  expect((await copy.lag()).events).toBeLessThan(behind.events);
  expect(await f.verify(org, own, { db: f.copying })).toMatchObject({ ok: true, findings: [], signed: 9 });
});

test('a run that is ended stops after the object it is at, and the next one goes on there', async () => {
  const org = await f.signed(2);
  const own = bucketAt(s3.endpoint, { prefix: 'ended' });
  const copy = f.copyTo(own);
  const end = new AbortController();
  s3.fault = ({ operation, key }) => {
    if (operation === 'put' && key.startsWith(`ended/${org}/`)) end.abort();
    return false;
  };
  const failures: unknown[] = [];
  await copy.run({ signal: end.signal, onError: (_, failed) => failures.push(failed) });
  expect(failures).not.toContain(org);
  const written = () => [...s3.objects.keys()].filter((key) => key.startsWith(`ended/${org}/`));
  expect(written()).toEqual([`ended/${org}/segments/${place(0)}-${place(2)}.ndjson`]);
  s3.fault = undefined;
  await copy.copy(org);
  expect(written()).toHaveLength(3);
  expect(await f.verify(org, own, { db: f.copying })).toMatchObject({ ok: true, findings: [], signed: 2 });
});

test('one log that cannot be copied is reported and holds up no other', async () => {
  const broken = await f.signed(2);
  const sound = await f.signed(3);
  await f.tamper((trx) => sql`update audit.checkpoint set note = 'x' where org_id = ${broken}`.execute(trx));
  const end = new AbortController();
  const failed: unknown[] = [];
  await f.copyTo(store).run({
    signal: end.signal,
    onError: (_, org) => failed.push(org),
    sleep: async () => end.abort(),
  });
  expect(failed).toContain(broken);
  expect(await f.verify(sound, store)).toMatchObject({ ok: true, signed: 3 });
});

test('the copier may add what it copied and change nothing', async () => {
  const org = await f.signed(1);
  await f.copyTo(store).copy(org);
  for (const statement of [
    sql`update audit.copy set version_id = 'x'`,
    sql`delete from audit.copy`,
    sql`insert into audit.checkpoint select * from audit.checkpoint`,
    sql`delete from audit.seal`,
  ]) {
    expect(await errorOf(statement.execute(f.copying))).toMatchObject({ code: '42501' });
  }
  for (const statement of [sql`update audit.copy set version_id = 'x'`, sql`truncate audit.copy`]) {
    expect(await errorOf(statement.execute(f.superuser))).toMatchObject({ constraint: 'audit.append_only' });
  }
  await f.inOrg(await f.signed(1), async (trx) => {
    expect((await sql`select from audit.copy where org_id = ${org}`.execute(trx)).rows).toHaveLength(0);
  });
});
