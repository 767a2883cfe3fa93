/**
 * What every store of objects must do, as a list of cases for any test runner. A store passes when each case resolves. The
 * store starts with the operations read, write, list and delete; cases use organisations of their own, so one store serves all.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { RingfenceTenancyError, type TenancyErrorCode } from '../../errors.ts';
import { parseOrgId } from '../../org-id.ts';
import type { ObjectInfo, ObjectKey, ObjectStorage, OrgObjects } from '../object-storage.ts';

/** One case of the suite. */
export interface StorageConformanceCase {
  /** A sentence about behaviour. */
  readonly name: string;
  /** Resolves when the store behaves; rejects with what it did instead. */
  run(storage: ObjectStorage): Promise<void>;
}

const MIB = 1024 * 1024;

/** The cases. */
export const storageConformance: readonly StorageConformanceCase[] = [
  {
    name: 'gives back what it stored, under a key of the organisation',
    async run(storage) {
      const objects = fresh(storage);
      const key = await objects.put(['invoices', 'ü 日本 (1).pdf'], bytes('one'));
      assert.equal(key, `org/${objects.org}/invoices/ü 日本 (1).pdf`);
      assert.equal(await text(objects, key), 'one');
      assert.equal(await text(objects, ['invoices', 'ü 日本 (1).pdf']), 'one');
      const info = await objects.head(key);
      assert.deepEqual([info.key, info.size], [key, 3]);
      assert.ok(Math.abs(info.modified.getTime() - Date.now()) < 3_600_000);
    },
  },
  {
    name: 'replaces an object, and the etag changes with the content',
    async run(storage) {
      const objects = fresh(storage);
      await objects.put(['a'], bytes('one'));
      const { etag } = await objects.head(['a']);
      await objects.put(['a'], bytes('two'));
      assert.notEqual((await objects.head(['a'])).etag, etag);
      assert.equal(await text(objects, ['a']), 'two');
    },
  },
  {
    name: 'stores an empty object and an empty stream',
    async run(storage) {
      const objects = fresh(storage);
      await objects.put(['bytes'], new Uint8Array());
      await objects.put(['stream'], chunks([]));
      assert.equal((await objects.head(['bytes'])).size, 0);
      assert.equal(await text(objects, ['stream']), '');
    },
  },
  {
    name: 'stores a long stream of uneven chunks unchanged',
    async run(storage) {
      const objects = fresh(storage);
      const content = new Uint8Array(18 * MIB + 12_345).map(
        (_, index) => (index * 31 + (index >> 11)) & 0xff,
      );
      await objects.put(
        ['long'],
        chunks([content.subarray(0, 1), content.subarray(1, 7 * MIB), content.subarray(7 * MIB)]),
      );
      assert.equal((await objects.head(['long'])).size, content.length);
      const { body } = await objects.get(['long']);
      let at = 0;
      for await (const chunk of body) {
        assert.equal(Object.getPrototypeOf(chunk), Uint8Array.prototype, 'chunks are plain Uint8Arrays');
        assert.equal(Buffer.compare(chunk, content.subarray(at, at + chunk.length)), 0);
        at += chunk.length;
      }
      assert.equal(at, content.length);
    },
  },
  {
    name: 'leaves nothing behind when the body fails, and passes its error on',
    async run(storage) {
      const objects = fresh(storage);
      const failure = new Error('the source broke');
      async function* broken() {
        yield new Uint8Array(9 * MIB);
        yield new Uint8Array(9 * MIB);
        throw failure;
      }
      await assert.rejects(objects.put(['a'], broken()), (error) => error === failure);
      assert.deepEqual(await keys(objects.list()), []);
    },
  },
  {
    name: 'reads ranges, with both ends included, of one version',
    async run(storage) {
      const objects = fresh(storage);
      await objects.put(['a'], bytes('0123456789'));
      const { etag } = await objects.head(['a']);
      assert.equal(await text(objects, ['a'], { range: { first: 2, last: 4 } }), '234');
      assert.equal(await text(objects, ['a'], { range: { first: 8 }, ifMatch: etag }), '89');
      assert.equal(await text(objects, ['a'], { range: { first: 8, last: 99 } }), '89');
      const part = await objects.get(['a'], { range: { first: 9 } });
      assert.equal(part.size, 10);
      await part.body.cancel();
      await fails(objects.get(['a'], { range: { first: 10 } }), 'tenancy.storage_invalid_range');
      await fails(objects.get(['a'], { range: { first: 3, last: 2 } }), 'tenancy.storage_invalid_range');
      await fails(objects.get(['a'], { range: { first: -1 } }), 'tenancy.storage_invalid_range');
      await objects.put(['a'], bytes('9876543210'));
      await fails(
        objects.get(['a'], { range: { first: 0 }, ifMatch: etag }),
        'tenancy.storage_precondition_failed',
      );
    },
  },
  {
    name: 'says when there is no such object',
    async run(storage) {
      const objects = fresh(storage);
      await fails(objects.get(['none']), 'tenancy.storage_not_found');
      await fails(objects.head(['none', 'deeper']), 'tenancy.storage_not_found');
      await fails(objects.copy(['none'], ['a']), 'tenancy.storage_not_found');
      await objects.delete(['none']);
    },
  },
  {
    name: 'lists all objects in the byte order of their keys, below a level when asked',
    async run(storage) {
      const objects = fresh(storage);
      const names = [
        ['a'],
        ['a', 'b'],
        ['a', 'c', 'd'],
        ['a b'],
        ['a-b'],
        ['a.b', 'x'],
        ['B'],
        ['é'],
        ['日本'],
      ];
      for (const name of names) await objects.put(name, bytes('x'));
      const expected = names.map((name) => `org/${objects.org}/${name.join('/')}`);
      expected.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(await keys(objects.list()), expected);
      assert.deepEqual(await keys(objects.list({ under: ['a'] })), [
        `org/${objects.org}/a/b`,
        `org/${objects.org}/a/c/d`,
      ]);
      assert.deepEqual(await keys(objects.list({ under: ['none'] })), []);
    },
  },
  {
    name: 'copies and removes within the organisation',
    async run(storage) {
      const objects = fresh(storage);
      await objects.put(['a +&', 'ü'], bytes('one'));
      const key = await objects.copy(['a +&', 'ü'], ['copy']);
      await objects.delete(['a +&', 'ü']);
      assert.equal(await text(objects, key), 'one');
      assert.deepEqual(await keys(objects.list()), [key]);
    },
  },
  {
    name: 'does not replace an object that must be absent',
    async run(storage) {
      const objects = fresh(storage);
      await objects.put(['a'], bytes('one'), { ifAbsent: true });
      await fails(
        objects.put(['a'], bytes('two'), { ifAbsent: true }),
        'tenancy.storage_precondition_failed',
      );
      assert.equal(await text(objects, ['a']), 'one');
    },
  },
  {
    name: 'refuses the keys of another organisation in every call',
    async run(storage) {
      const objects = fresh(storage);
      const other = fresh(storage);
      const key = await other.put(['secret'], bytes('other'));
      const own = await objects.put(['a'], bytes('own'));
      const code = 'tenancy.storage_foreign_key';
      await fails(objects.get(key), code);
      await fails(objects.head(key), code);
      await fails(objects.put(key, bytes('x')), code);
      await fails(objects.copy(key, ['b']), code);
      await fails(objects.copy(own, key), code);
      await fails(objects.delete(key), code);
      assert.deepEqual(await keys(objects.list()), [own]);
      assert.equal(await text(other, key), 'other');
    },
  },
  {
    name: 'refuses keys that some layer could read in another way',
    async run(storage) {
      const objects = fresh(storage);
      const other = fresh(storage);
      const code = 'tenancy.storage_invalid_key';
      const names: ObjectKey[] = [
        [],
        [''],
        ['.'],
        ['..'],
        ['..', other.org, 'secret'],
        ['a/b'],
        ['a\\b'],
        ['%2e%2e'],
        ['a\0'],
        ['a\n'],
        ['e\u0301'],
        ['a\u200b'],
        ['*'],
        ['x'.repeat(251)],
        Array<string>(200).fill('xxxxx'),
        'a',
        `org/${objects.org}`,
        `org/${objects.org}/`,
        `org/${objects.org}//a`,
        `org/${objects.org}/../${other.org}/secret`,
        `/org/${objects.org}/a`,
        `org/${objects.org.toUpperCase()}x/a`,
      ];
      for (const name of names) {
        await fails(objects.put(name, bytes('x')), code);
        await fails(objects.get(name), code);
      }
      await assert.rejects(async () => keys(objects.list({ under: ['..'] })), { code });
      assert.deepEqual(await keys(objects.list()), []);
    },
  },
];

function fresh(storage: ObjectStorage): OrgObjects {
  return storage.forOrg(parseOrgId(randomUUID()));
}

function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

async function* chunks(list: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* list;
}

async function text(
  objects: OrgObjects,
  key: ObjectKey,
  options?: Parameters<OrgObjects['get']>[1],
): Promise<string> {
  const { body } = await objects.get(key, options);
  return await new Response(body).text();
}

async function keys(list: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of list) found.push(key);
  return found;
}

async function fails(promise: Promise<unknown>, code: TenancyErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof RingfenceTenancyError, `expected ${code}, got ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  });
}
