/** Attacks on a copy, each found by name: with the database and without it. */
import { generateKeyPairSync } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { localSigner, verifierKeyOf } from '../src/checkpoint/index.ts';
import type { OrgId } from '../src/index.ts';
import type { WriteOnceStore } from '../src/write-once/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { bucketAt, type CopyFixture, classesOf, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';
import { failing, type LoopbackS3, loopbackS3, type MemoryVersion } from './loopback-s3.ts';

let f: CopyFixture;
let s3: LoopbackS3;
let store: WriteOnceStore;
let org: OrgId;
let shared: OrgId;
let honest: Map<string, MemoryVersion[]>;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  s3 = await loopbackS3();
  s3.pageSize = 7;
  store = bucketAt(s3.endpoint, { mode: 'governance' });
  shared = await copied();
  honest = new Map(s3.objects);
});
afterAll(async () => {
  await s3.close();
  await f.close();
});
beforeEach(() => {
  org = shared;
  s3.fault = undefined;
  s3.objects.clear();
  for (const [key, found] of honest)
    s3.objects.set(
      key,
      found.map((version) => ({ ...version })),
    );
});

/** A log of three checkpoints and its copy. */
async function copied(): Promise<OrgId> {
  const made = await f.signed(3, 259, 270);
  await f.copyTo(store).copy(made);
  return made;
}

const place = (seq: number) => String(seq).padStart(16, '0');
const SEGMENT = `segments/${place(3)}-${place(259)}.ndjson`;
const LAST_SEGMENT = `segments/${place(259)}-${place(270)}.ndjson`;
const NOTE = `checkpoint/${place(259)}`;
const LAST_NOTE = `checkpoint/${place(270)}`;
const TILE = 'tile/0/000';

const at = (name: string) => `ledger/${org}/${name}`;
function versions(name: string): MemoryVersion[] {
  const found = s3.objects.get(at(name));
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}
function put(name: string, change: Partial<MemoryVersion>): void {
  const base = { id: 'new', at: Date.now(), body: Buffer.from('x'), meta: undefined, mode: undefined };
  s3.objects.set(at(name), [
    { ...base, until: undefined, marker: false, ...change },
    ...(s3.objects.get(at(name)) ?? []),
  ]);
}
const remove = (...names: string[]) => {
  for (const name of names) s3.objects.delete(at(name));
};
const edit = (name: string) => {
  for (const version of versions(name)) {
    version.body = Buffer.from(version.body.toString().replace('success', 'failure'));
  }
};
const flip = (name: string) => {
  for (const version of versions(name)) {
    version.body = Buffer.from(version.body);
    const place = Math.floor(version.body.length / 2);
    version.body[place] = (version.body[place] ?? 0) ^ 1;
  }
};

test('an honest copy has no findings, page after page of the listing', async () => {
  expect(await f.verify(org, store)).toMatchObject({ ok: true, findings: [], links: 270, signed: 270 });
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
  expect(s3.seen.filter((line) => line.startsWith('list')).length).toBeGreaterThan(2);
});

// What was done, to what, what is found without the database, and with it.
const ATTACKS: readonly [string, () => void, readonly string[], readonly string[]][] = [
  ['a version was put on top of a segment', () => put(SEGMENT, {}), ['overwritten'], ['overwritten']],
  [
    'the same bytes were put on top',
    () => put(NOTE, { body: versions(NOTE)[0]?.body as Buffer }),
    ['overwritten'],
    ['overwritten'],
  ],
  [
    'a delete marker was put on a segment',
    () => put(SEGMENT, { marker: true }),
    ['delete_marker'],
    ['delete_marker'],
  ],
  [
    'a delete marker was put on a note',
    () => put(LAST_NOTE, { marker: true }),
    ['delete_marker'],
    ['delete_marker'],
  ],
  ['a segment was removed under governance', () => remove(SEGMENT), ['gap'], ['bypassed', 'gap']],
  [
    'the first segment was removed',
    () => remove(`segments/${place(0)}-${place(3)}.ndjson`),
    ['gap'],
    ['bypassed', 'gap'],
  ],
  ['the last segment was removed', () => remove(LAST_SEGMENT), ['gap'], ['bypassed', 'gap']],
  ['a tile was removed', () => remove(TILE), ['missing'], ['bypassed', 'missing']],
  ['a note in the middle was removed', () => remove(NOTE), ['foreign'], ['bypassed', 'foreign']],
  [
    'a version was removed and replaced',
    () => {
      const { body, until } = versions(TILE)[0] as MemoryVersion;
      remove(TILE);
      put(TILE, { body, mode: 'GOVERNANCE', until });
    },
    [],
    ['bypassed', 'overwritten'],
  ],
  [
    'a record was changed',
    () => edit(SEGMENT),
    ['chain', 'root_mismatch'],
    ['altered', 'chain', 'root_mismatch'],
  ],
  ['a byte in the middle of a segment was changed', () => flip(SEGMENT), ['chain'], ['altered', 'chain']],
  ['a note was changed', () => flip(NOTE), ['unsigned'], ['altered', 'unsigned']],
  ['a tile was changed', () => flip(TILE), ['altered'], ['altered']],
  ['a foreign object was put in', () => put('readme.txt', {}), ['foreign'], ['foreign']],
  ['a tile that no checkpoint has was put in', () => put('tile/0/000.p/7', {}), ['foreign'], ['foreign']],
  [
    'a retention was taken away',
    () => {
      for (const version of versions(SEGMENT)) version.mode = undefined;
    },
    ['unlocked'],
    ['unlocked'],
  ],
  [
    'a retention was shortened',
    () => {
      for (const version of versions(SEGMENT)) version.until = '2027-01-01T00:00:00Z';
    },
    ['retention_shortened'],
    ['retention_shortened'],
  ],
  [
    'a segment was replaced by the one after it',
    () => {
      for (const version of versions(SEGMENT)) version.body = versions(LAST_SEGMENT)[0]?.body as Buffer;
    },
    ['chain', 'gap'],
    ['altered', 'chain', 'gap'],
  ],
  ['everything was removed', () => s3.objects.clear(), ['missing'], ['bypassed', 'missing']],
];

test.each(ATTACKS)('is found without the database: %s', async (_, attack, classes) => {
  attack();
  const report = await f.verify(org, store);
  expect(classesOf(report)).toEqual(classes);
  expect(report.ok).toBe(classes.length === 0);
});

test.each(ATTACKS)('is found with the database: %s', async (_, attack, __, classes) => {
  attack();
  const report = await f.verify(org, store, { db: f.copying });
  expect(classesOf(report)).toEqual(classes);
  expect(report.ok).toBe(false);
});

test('an object recorded as locked for ever, or for longer than a date can say, is bypassed, and no error', async () => {
  const made = await copied();
  for (const until of ['infinity', '290000-01-01T00:00:00Z'])
    await sql`insert into audit.copy (org_id, store, key, kind, upto, version_id, sha256, bytes, mode, retain_until)
      values (${made}, ${store.name}, ${`${made}/${until}`}, 'tile', 3, 'v', sha256(''), 1, 'compliance', ${until})`.execute(
      f.copying,
    );
  const report = await f.verify(made, store, { db: f.copying });
  expect(report.findings).toMatchObject([{ class: 'bypassed' }, { class: 'bypassed' }]);
});

test('no finding is hidden behind a thousand foreign objects', async () => {
  for (let n = 1_000; n < 2_100; n++) put(`a${n}`, {});
  edit(LAST_SEGMENT);
  const report = await f.verify(org, store);
  expect(classesOf(report)).toEqual(['chain', 'foreign', 'root_mismatch']);
  expect(report.findingCount).toBeGreaterThan(1_100);
  expect(report.findings.length).toBeLessThan(1_010);
});

test('what was removed after the end of its retention was not bypassed', async () => {
  remove(TILE);
  const report = await f.verify(org, store, { db: f.copying, now: () => Date.parse('2050-01-01T00:00:00Z') });
  expect(classesOf(report)).toEqual(['missing']);
});

describe('a kept checkpoint', () => {
  beforeEach(async () => {
    org = await copied();
  });
  const note = async () => (await f.checkpointer.newest(org))?.note ?? '';

  test('agrees with an honest copy, and with one that has gone on', async () => {
    const keptNotes = [await note()];
    await f.grow(org, 5);
    await f.checkpointer.checkpoint(org);
    await f.copyTo(store).copy(org);
    expect(await f.verify(org, store, { keptNotes })).toMatchObject({ ok: true, findings: [], signed: 275 });
  });

  test('finds a copy whose end is gone with all that belongs to it', async () => {
    const keptNotes = [await note()];
    remove(LAST_SEGMENT, LAST_NOTE, 'tile/0/001.p/14', 'tile/0/001.p/3');
    expect(classesOf(await f.verify(org, store, { keptNotes }))).toContain('cut');
  });

  test('finds a copy of another history by the same key', async () => {
    const other = await f.signed(270);
    const kept = await note();
    await f.tamper(async (trx) => {
      await sql`delete from audit.checkpoint where org_id = ${org}`.execute(trx);
      await sql`delete from audit.tile where org_id = ${org}`.execute(trx);
      await sql`delete from audit.seal where org_id = ${org}`.execute(trx);
      await sql`delete from audit.event where org_id = ${org}`.execute(trx);
      await sql`alter table audit.head disable trigger user`.execute(trx);
      await sql`delete from audit.head where org_id = ${org}`.execute(trx);
      await sql`alter table audit.head enable always trigger refuse_removal`.execute(trx);
      await sql`alter table audit.head enable always trigger refuse_backward`.execute(trx);
    });
    await f.grow(org, 270);
    await f.another().checkpoint(org);
    const elsewhere = bucketAt(s3.endpoint, { prefix: 'elsewhere' });
    await f.copyTo(elsewhere).copy(org);
    expect(await f.verify(org, elsewhere)).toMatchObject({ ok: true });
    expect(classesOf(await f.verify(org, elsewhere, { keptNotes: [kept] }))).toEqual(['rewritten']);
    // The database was rewritten as a whole and adds up: the old copy is what remembers.
    expect(classesOf(await f.verify(org, store, { db: f.copying }))).toEqual(['database']);
    expect(await errorOf(f.verify(other, store, { keptNotes: [kept] }))).toMatchObject({ name: 'TypeError' });
  });
});

test.each([
  [
    'a record was edited',
    `update audit.event set canon = replace(canon, 'success', 'failure') where org_id = $org
    and id = (select event_id from audit.seal where org_id = $org and seq = 100)`,
  ],
  ['the end was cut off', `delete from audit.seal where org_id = $org and seq > 265`],
  [
    'the end was set back, head and all, and the checkpoints were left',
    `delete from audit.event where org_id = $org and id in (select event_id from audit.seal where org_id = $org and seq > 265);
     delete from audit.seal where org_id = $org and seq > 265;
     alter table audit.head disable trigger user;
     update audit.head set seq = 265, hash = (select hash from audit.seal where org_id = $org and seq = 265) where org_id = $org;
     alter table audit.head enable always trigger refuse_removal;
     alter table audit.head enable always trigger refuse_backward`,
  ],
  ['a checkpoint was removed', `delete from audit.checkpoint where org_id = $org and size = 259`],
])('the copy finds a superuser in the database: %s', async (_, statement) => {
  org = await copied();
  await f.tamper(async (trx) => {
    await sql.raw('alter table audit.event drop constraint if exists event_leaf').execute(trx);
    await sql.raw(statement.replaceAll('$org', `'${org}'`)).execute(trx);
  });
  expect(await f.verify(org, store)).toMatchObject({ ok: true });
  expect(classesOf(await f.verify(org, store, { db: f.copying }))).toEqual(['database']);
});

test('another key signs nothing here', async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const stranger = verifierKeyOf(localSigner({ name: ORIGIN, privateKey }));
  expect(classesOf(await f.verify(org, store, { keys: [stranger] }))).toContain('unsigned');
});

test('a store that does not answer is an error, never a verdict', async () => {
  for (const operation of ['list', 'get', 'get-retention']) {
    s3.fault = (request, apply) =>
      request.operation === operation && failing(503, 'SlowDown')(request, apply);
    expect(await errorOf(f.verify(org, store))).toMatchObject({ code: 'audit.copy_unavailable' });
  }
});

test('a copy that is under way, or was interrupted anywhere, is no finding', async () => {
  org = await copied();
  await f.grow(org, 600);
  await f.checkpointer.checkpoint(org);
  for (let allowed = 0; ; allowed++) {
    let writes = 0;
    s3.fault = (request, apply) =>
      request.operation === 'put' && ++writes > 1 && failing(503, 'SlowDown')(request, apply);
    const done = await f
      .copyTo(store)
      .copy(org)
      .then(
        () => true,
        () => false,
      );
    s3.fault = undefined;
    expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
    if (done) break;
    expect(allowed).toBeLessThan(30);
  }
});
