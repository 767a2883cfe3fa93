/** The directory store: what it refuses, what it cannot prevent, and that verification finds it. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { directoryStore, type WriteOnceStore } from '../src/write-once/index.ts';
import { objectName, parseObjectName } from '../src/write-once/object-key.ts';
import { type CopyFixture, classesOf, copyFixture } from './copy-fixture.ts';
import { errorOf } from './fixture.ts';

let f: CopyFixture;
let root: string;
let store: WriteOnceStore;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'audit-directory-'));
  store = directoryStore({ root });
});
afterEach(() => rmSync(root, { recursive: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const files = () =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

test('refuses to overwrite, takes the same bytes again, and leaves read-only files', async () => {
  await store.create('a/b', bytes('one'));
  expect(await errorOf(store.create('a/b', bytes('two')))).toMatchObject({ code: 'audit.copy_conflict' });
  await store.create('a/b', bytes('one'));
  expect(readFileSync(join(root, 'a/b'), 'utf8')).toBe('one');
  expect(statSync(join(root, 'a/b')).mode & 0o777).toBe(0o444);
  expect(files()).toHaveLength(1);
});

test('of two that write one object at once, one wins and the other is told', async () => {
  const outcomes = await Promise.allSettled(['x', 'y', 'z'].map((text) => store.create('a', bytes(text))));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(files()).toHaveLength(1);
});

test('no key leads out of the directory', async () => {
  for (const key of ['../a', 'a/../../b', '/etc/a', 'a//b', '.', '']) {
    expect(await errorOf((async () => store.create(key, bytes('x')))())).toMatchObject({ name: 'TypeError' });
  }
  writeFileSync(join(root, 'target'), 'x');
  symlinkSync(join(root, 'target'), join(root, 'link'));
  expect(await errorOf(store.create('link', bytes('x')))).toMatchObject({ code: 'audit.copy_conflict' });
});

test('nothing is written or made where a link on the way leads', async () => {
  const outside = mkdtempSync(join(tmpdir(), 'audit-outside-'));
  symlinkSync(outside, join(root, 'log'));
  for (const key of ['log/a', 'log/segments/a', 'log/tile/0/a']) {
    expect(await errorOf(store.create(key, bytes('x')))).toMatchObject({ code: 'audit.copy_conflict' });
  }
  expect(readdirSync(outside)).toEqual([]);
  rmSync(outside, { recursive: true });
});

test('a log is copied and verified; what an administrator does to it is found, not prevented', async () => {
  const org = await f.signed(3, 300);
  await f.copyTo(store).copy(org);
  expect(await f.verify(org, store)).toMatchObject({ ok: true, findings: [], signed: 300 });
  expect(await f.verify(org, store, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
  const tile = join(root, org, 'tile/0/000');
  chmodSync(tile, 0o644);
  writeFileSync(tile, 'x');
  expect(classesOf(await f.verify(org, store))).toEqual(['altered']);
  rmSync(tile);
  expect(classesOf(await f.verify(org, store, { db: f.copying }))).toEqual(['missing']);
});

test('a write that was interrupted leaves no object', async () => {
  const org = await f.signed(2);
  writeFileSync(join(root, '.writing-interrupted'), 'half');
  await f.copyTo(store).copy(org);
  expect(await f.verify(org, store)).toMatchObject({ ok: true, findings: [] });
});

test('every name of an object reads back, and no other text is one', () => {
  const place = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const object = fc.oneof(
    fc
      .tuple(place, place)
      .filter(([a, b]) => a !== b)
      .map(([a, b]) => ({ kind: 'segment' as const, from: Math.min(a, b), to: Math.max(a, b) })),
    place.map((size) => ({ kind: 'checkpoint' as const, size })),
    fc
      .record({
        level: fc.integer({ min: 0, max: 6 }),
        index: fc.nat(2 ** 31 - 1),
        width: fc.integer({ min: 1, max: 256 }),
      })
      .map((tile) => ({ kind: 'tile' as const, tile })),
  );
  fc.assert(
    fc.property(object, (one) => {
      expect(parseObjectName(objectName(one))).toEqual(one);
    }),
  );
  const near = fc
    .tuple(object, fc.nat(40), fc.constantFrom('', '0', 'x', '/', '.', '-', 'p'))
    .map(([one, at, put]) => {
      const name = objectName(one);
      return name.slice(0, at) + put + name.slice(at + 1);
    });
  fc.assert(
    fc.property(fc.oneof(near, fc.string()), (text) => {
      const read = parseObjectName(text);
      if (read !== undefined) expect(objectName(read)).toBe(text);
    }),
  );
});
