import { mkdir, mkdtemp, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ObjectInfo, type ObjectStorage, type OrgObjects, parseOrgId } from '../src/storage/index.ts';
import { storageConformance } from '../src/storage/testing/index.ts';
import { directoryStorage } from '../src/storage-directory/index.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const OTHER = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
const BYTES = new TextEncoder().encode('one');
let outside: string;
let root: string;
let storage: ObjectStorage;
let objects: OrgObjects;

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), 'ringfence-objects-'));
  root = join(outside, 'root');
  await mkdir(root);
  storage = directoryStorage({ root, operations: ['read', 'write', 'list', 'delete'] });
  objects = storage.forOrg(ORG);
});
afterEach(() => rm(outside, { recursive: true }));

async function collect(list: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const info of list) found.push(info);
  return found;
}

describe('a directory of objects conforms', () => {
  test.each(storageConformance.map((item) => [item.name, item] as const))('%s', (_, item) =>
    item.run(storage),
  );
});

describe('a directory of objects', () => {
  test('keeps files for their owner alone, and nothing beside them', async () => {
    await objects.put(['a', 'b'], BYTES);
    const folder = join(root, 'org', ORG, 'd-a');
    expect(await readdir(folder)).toEqual(['f-b']);
    expect((await stat(join(folder, 'f-b'))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    await objects.copy(['a', 'b'], ['a', 'c']);
    expect((await stat(join(folder, 'f-c'))).mode & 0o777).toBe(0o600);
  });

  test('refuses a folder that is a symbolic link out of the root, or into another organisation', async () => {
    await storage.forOrg(OTHER).put(['secret'], BYTES);
    await objects.put(['a'], BYTES);
    await writeFile(join(outside, 'f-secret'), 'secret');
    for (const [name, target] of [
      ['d-out', outside],
      ['d-other', join(root, 'org', OTHER)],
    ] as const) {
      await symlink(target, join(root, 'org', ORG, name));
      const key = [name.slice(2), 'secret'];
      const denied = { code: 'tenancy.storage_denied' };
      await expect(objects.get(key)).rejects.toMatchObject(denied);
      await expect(objects.head(key)).rejects.toMatchObject(denied);
      await expect(objects.put(key, BYTES)).rejects.toMatchObject(denied);
      await expect(objects.put([name.slice(2), 'new', 'x'], BYTES)).rejects.toMatchObject(denied);
      await expect(objects.copy(key, ['copy'])).rejects.toMatchObject(denied);
      await expect(objects.delete(key)).rejects.toMatchObject(denied);
      await expect(collect(objects.list({ under: [name.slice(2)] }))).rejects.toMatchObject(denied);
    }
    expect((await collect(objects.list())).map(({ key }) => key)).toEqual([`org/${ORG}/a`]);
    expect((await stat(join(outside, 'f-secret'))).size).toBe(6);
    expect(await readdir(outside)).toEqual(['f-secret', 'root']);
  });

  test('refuses a file that is a symbolic link, and replaces it without following', async () => {
    await objects.put(['a'], BYTES);
    const secret = join(outside, 'secret');
    await writeFile(secret, 'secret');
    await symlink(secret, join(root, 'org', ORG, 'f-link'));
    await expect(objects.get(['link'])).rejects.toMatchObject({ code: 'tenancy.storage_not_found' });
    await expect(objects.copy(['link'], ['copy'])).rejects.toMatchObject({
      code: 'tenancy.storage_not_found',
    });
    await objects.put(['link'], BYTES);
    expect((await stat(secret)).size).toBe(6);
    expect((await objects.head(['link'])).size).toBe(3);
  });

  test.skipIf(process.platform !== 'linux')('leaves no file open, whoever refuses', async () => {
    const opened = async () => {
      const files = await readdir('/proc/self/fd');
      const paths = await Promise.all(files.map((file) => readlink(`/proc/self/fd/${file}`).catch(() => '')));
      return paths.filter((path) => path.startsWith(root));
    };
    await objects.put(['a'], BYTES);
    await symlink(outside, join(root, 'org', ORG, 'd-out'));
    const denied = { code: 'tenancy.storage_denied' };
    await expect(objects.copy(['a'], ['out', 'a'])).rejects.toMatchObject(denied);
    expect(await opened()).toEqual([]);
    await mkdir(join(root, 'org', ORG, 'f-folder'));
    const { body } = await objects.get(['folder']);
    await expect(new Response(body).text()).rejects.toThrow('EISDIR');
    expect(await opened()).toEqual([]);
    await expect(objects.get(['a'], { range: { first: 9 } })).rejects.toThrow();
    await expect(objects.get(['a'], { ifMatch: '"x"' })).rejects.toThrow();
    await (await objects.get(['a'])).body.cancel();
    await objects.copy(['a'], ['b']);
    expect(await opened()).toEqual([]);
  });

  test('refuses an organisation folder that is a symbolic link', async () => {
    await storage.forOrg(OTHER).put(['secret'], BYTES);
    await symlink(join(root, 'org', OTHER), join(root, 'org', ORG));
    await expect(objects.get(['secret'])).rejects.toMatchObject({ code: 'tenancy.storage_denied' });
    await expect(collect(objects.list())).rejects.toMatchObject({ code: 'tenancy.storage_denied' });
  });

  test('shows the old object whole while a new one is written', async () => {
    await objects.put(['a'], BYTES);
    const seen: string[] = [];
    async function* slow() {
      yield new TextEncoder().encode('tw');
      seen.push(await new Response((await objects.get(['a'])).body).text());
      yield new TextEncoder().encode('o!');
    }
    await objects.put(['a'], slow());
    seen.push(await new Response((await objects.get(['a'])).body).text());
    expect(seen).toEqual(['one', 'two!']);
  });

  test('lets one of two writers win when the object must be absent', async () => {
    const attempts = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) => objects.put(['a'], new Uint8Array([n]), { ifAbsent: true })),
    );
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('refuses what it was not made for, and a root that is not there', async () => {
    const readOnly = directoryStorage({ root, operations: ['read'] }).forOrg(ORG);
    const refused = { code: 'tenancy.storage_not_granted' };
    await expect(readOnly.put(['a'], BYTES)).rejects.toMatchObject(refused);
    await expect(readOnly.delete(['a'])).rejects.toMatchObject(refused);
    await expect(readOnly.copy(['a'], ['b'])).rejects.toMatchObject(refused);
    expect(() => readOnly.list()).toThrow(expect.objectContaining(refused));
    await expect(
      directoryStorage({ root: join(root, 'none') })
        .forOrg(ORG)
        .put(['a'], BYTES),
    ).rejects.toThrow();
    expect(() => storage.forOrg('../..' as never)).toThrow(TypeError);
  });
});
