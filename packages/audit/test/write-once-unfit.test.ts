/** What lies in a store and is no object that a copier wrote: it is named, never followed, waited for or read without end. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { OrgId } from '../src/index.ts';
import { directoryStore, type WriteOnceStore } from '../src/write-once/index.ts';
import { bucketAt, type CopyFixture, classesOf, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

let f: CopyFixture;
let org: OrgId;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  org = await f.signed(3, 300);
});
afterAll(() => f.close());

const TILE = 'tile/0/000';
const NOTE = `checkpoint/${'300'.padStart(16, '0')}`;
const SEGMENT = `segments/${'3'.padStart(16, '0')}-${'300'.padStart(16, '0')}.ndjson`;

describe('a directory', () => {
  let root: string;
  let outside: string;
  let store: WriteOnceStore;
  const at = (name: string) => join(root, org, name);

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'audit-unfit-'));
    outside = mkdtempSync(join(tmpdir(), 'audit-outside-'));
    store = directoryStore({ root });
    // The rows of audit.copy are of another directory: verification is without the database, or finds all missing.
    await f.copyTo(store).copy(org);
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
    rmSync(outside, { recursive: true });
  });

  const PLACES = [TILE, NOTE, SEGMENT];
  const UNFIT: readonly [string, (path: string) => void][] = [
    ['a link to endless bytes', (path) => symlinkSync('/dev/zero', path)],
    ['a link to nowhere', (path) => symlinkSync(join(outside, 'nothing'), path)],
    ['a link to itself', (path) => symlinkSync(path, path)],
    ['a pipe that nobody writes to', (path) => execFileSync('mkfifo', [path])],
    ['an empty folder', (path) => mkdirSync(path)],
    [
      'a folder with something in it',
      (path) => {
        mkdirSync(path);
        writeFileSync(join(path, 'x'), 'x');
      },
    ],
    [
      'a file of a terabyte',
      (path) => {
        writeFileSync(path, 'x');
        truncateSync(path, 2 ** 40);
      },
    ],
  ];
  const cases = PLACES.flatMap((name) => UNFIT.map(([what, put]) => [what, name, put] as const));

  test.each(cases)('%s in the place of %s is found', async (_, name, put) => {
    rmSync(at(name), { force: true });
    put(at(name));
    for (const db of [undefined, f.copying]) {
      const report = await f.verify(org, store, db === undefined ? {} : { db });
      expect(report.ok).toBe(false);
      expect(report.findings.length).toBeGreaterThan(0);
    }
  });

  test('a link to the very bytes of an object is not taken for it', async () => {
    copyFileSync(at(TILE), join(outside, 'tile'));
    rmSync(at(TILE), { force: true });
    symlinkSync(join(outside, 'tile'), at(TILE));
    expect(classesOf(await f.verify(org, store))).toEqual(['missing']);
  });

  test.each(['.', 'tile', 'tile/0'])('a link in the place of folder %s is not followed', async (folder) => {
    renameSync(at(folder), join(outside, 'moved'));
    symlinkSync(join(outside, 'moved'), at(folder).replace(/\/$/, ''));
    const report = await f.verify(org, store);
    expect(classesOf(report)).toContain('missing');
    const key = `${org}/${folder === '.' ? '' : `${folder}/`}new`;
    const before = readdirSync(outside, { recursive: true });
    expect(await errorOf(store.create(key, Buffer.from('x')))).toMatchObject({ code: 'audit.copy_conflict' });
    expect(readdirSync(outside, { recursive: true })).toEqual(before);
    expect(existsSync(join(outside, 'moved/new'))).toBe(false);
  });

  test.each(UNFIT)('the copier writes nothing through %s, and says which object it is', async (_, put) => {
    mkdirSync(join(root, 'a'));
    put(join(root, 'a/b'));
    expect(await errorOf(store.create('a/b', Buffer.from('x')))).toMatchObject({
      code: 'audit.copy_conflict',
      message: expect.stringContaining('a/b'),
    });
  });

  test('a file in the place of a folder is a conflict', async () => {
    writeFileSync(join(root, 'a'), 'x');
    expect(await errorOf(store.create('a/b', Buffer.from('x')))).toMatchObject({
      code: 'audit.copy_conflict',
    });
  });

  test('links, pipes and folders under names of nobody are foreign or nothing', async () => {
    symlinkSync('/dev/zero', at('tile/zero'));
    execFileSync('mkfifo', [at('pipe')]);
    mkdirSync(at('empty'));
    chmodSync(dirname(at(TILE)), 0o755);
    expect(await f.verify(org, store)).toMatchObject({
      findings: [{ class: 'foreign' }, { class: 'foreign' }],
    });
  });
});

describe('a bucket', () => {
  let s3: LoopbackS3;
  let store: WriteOnceStore;
  beforeEach(async () => {
    s3 = await loopbackS3();
    store = bucketAt(s3.endpoint, { prefix: `unfit-${s3.endpoint.slice(-5)}` });
    await f.copyTo(store).copy(org);
  });
  afterEach(() => s3.close());

  test.each([TILE, NOTE, SEGMENT])(
    '%s without an end is read no further than it can be long',
    async (name) => {
      const chunk = Buffer.alloc(1 << 20, 'x');
      let sent = 0;
      s3.fault = ({ operation, key, response }) => {
        if (operation !== 'get' || !key.endsWith(`${org}/${name}`)) return false;
        const more = () => {
          while (!response.destroyed) {
            sent += chunk.length;
            if (!response.write(chunk)) return;
          }
        };
        response.on('drain', more);
        response.writeHead(200);
        more();
        return true;
      };
      const report = await f.verify(org, store, { db: f.copying });
      expect(report.findings).toContainEqual(
        expect.objectContaining({ class: 'altered', key: `${org}/${name}` }),
      );
      expect(sent).toBeLessThan(64 << 20);
      // The copier, too, reads no more of what is in its way than it would write.
      const next = bucketAt(s3.endpoint, { prefix: `unfit-${s3.endpoint.slice(-5)}` });
      expect(await errorOf(next.create(`${org}/${name}`, Buffer.from('x')))).toMatchObject({
        code: 'audit.copy_conflict',
      });
      expect(sent).toBeLessThan(128 << 20);
    },
  );

  test('an object that is longer than what was written by one byte is no match', async () => {
    const key = `${org}/one`;
    await store.create(key, Buffer.from('xy'));
    expect(await errorOf(store.create(key, Buffer.from('x')))).toMatchObject({ code: 'audit.copy_conflict' });
  });
});
