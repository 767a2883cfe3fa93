import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { DekRecord, KeyStore, KmsProvider } from '../src/index.ts';
import { faultyKms, memoryKeyStore } from '../src/testing/index.ts';
import { CELL, codeOfAsync } from './keyring-setup.ts';
import {
  anyOrg,
  interrupted,
  type KeyDatabase,
  keks,
  keyDatabase,
  newOrg,
  station,
  urisOf,
} from './operations-setup.ts';

let database: KeyDatabase;
beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'wraps');
});
afterAll(async () => {
  await database.close();
});

/** A store with another `load`. */
function withLoad(store: KeyStore, load: KeyStore['load']): KeyStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'load') return load;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('rotation', () => {
  it('makes a new active version under the same KEKs; what was sealed before opens on', async () => {
    const { org, keyring, operations, another, store } = await newOrg(database);
    await operations.addWrap(org, 'local:b');
    const sealed = (await keyring.org(org)).sealText(CELL, 'before');
    const { keyId, version } = await operations.rotate(org);
    expect(version).toBe(2);
    expect(urisOf(await store.load(org))).toEqual([
      ['local:a', 'local:b'],
      ['local:a', 'local:b'],
    ]);
    const keys = await another().org(org);
    expect(keys.activeKeyId).toBe(keyId);
    expect(keys.openText(CELL, sealed)).toBe('before');
    expect((await keyring.org(org)).activeKeyId).not.toBe(keyId); // no channel: follows with its next lease
  });

  it('by many operators at the same time makes one version, and each of them is told of it', async () => {
    const { org, operator, store } = await newOrg(database);
    let together = () => store;
    // All have read the keys before the first writes.
    let reading = 5;
    const gathered = new Promise<void>((resolve) => {
      const join: KeyStore['load'] = async (of) => {
        const records = await store.load(of);
        reading -= 1;
        if (reading === 0) resolve();
        await gathered;
        return records;
      };
      together = () => withLoad(store, join);
    });
    const rotated = await Promise.all(
      Array.from({ length: 5 }, () => operator({ store: together() }).rotate(org)),
    );
    expect(new Set(rotated.map(({ keyId }) => keyId)).size).toBe(1);
    expect((await store.load(org)).map(({ state }) => state)).toEqual(['decrypt_only', 'active']);
  });

  it.each([
    ['on PostgreSQL', () => database.store],
    ['in memory', () => memoryKeyStore()],
  ])('decided before a move does not bring the old KEK back (%s)', async (_, make) => {
    const store = make();
    const org = anyOrg();
    const { keyring, operations, operator } = station(store, [keks('a', 'b')]);
    await keyring.createOrg(org);
    const overtaken = interrupted(store, 'insertVersion', () =>
      operations.moveKek(org, { from: 'local:a', to: 'local:b' }),
    );
    await operator({ store: overtaken }).rotate(org);
    expect(urisOf(await store.load(org))).toEqual([['local:b'], ['local:b']]);
  });

  it('writes nothing when a new wrap does not open, or the KMS refuses', async () => {
    const kms = faultyKms(keks('a'));
    const { org, operations, operator, store } = await newOrg(database, [kms]);
    const before = await store.load(org);
    kms.fail('disabled');
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_revoked');
    kms.heal();
    const wrapOnly: KmsProvider = {
      scheme: 'local',
      wrap: (...args) => kms.wrap(...args),
      describe: (...args) => kms.describe(...args),
      unwrap: async () => ({ key: new Uint8Array(32).fill(7) }),
    };
    expect(await codeOfAsync(operator({ kms: [wrapOnly] }).rotate(org))).toBe('crypto.wrap_tampered');
    expect(await store.load(org)).toEqual(before);
  });

  it('refuses an unknown organisation and a shredded one', async () => {
    const { org, operations } = await newOrg(database);
    expect(await codeOfAsync(operations.rotate(anyOrg()))).toBe('crypto.org_unknown');
    await operations.shred(org, { reason: 'test' });
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_shredded');
    expect(await codeOfAsync(operations.addWrap(org, 'local:b'))).toBe('crypto.key_shredded');
  });
});

describe('wraps', () => {
  it('are added to every version, retired ones too, and the data opens through each alone', async () => {
    const { org, keyring, operations, store, clock } = await newOrg(database);
    const sealed = (await keyring.org(org)).sealText(CELL, 'x');
    const [first] = await store.load(org);
    await operations.rotate(org);
    await operations.rotate(org);
    clock.advance(3_600_000);
    const second = (await store.load(org))[1]?.keyId ?? '';
    await operations.retire(org, second, [{ name: 'nothing', count: async () => 0 }]);
    expect(await operations.addWrap(org, 'local:b')).toEqual({ versions: 3, kmsCalls: 9 });
    expect(await operations.addWrap(org, 'local:b')).toEqual({ versions: 0, kmsCalls: 0 });
    expect(urisOf(await store.load(org))).toEqual(Array(3).fill(['local:a', 'local:b']));
    expect(await operations.removeWrap(org, 'local:a')).toEqual({ versions: 3, kmsCalls: 3 });
    expect(urisOf(await store.load(org))).toEqual(Array(3).fill(['local:b']));
    keyring.revoke(org);
    const keys = await keyring.org(org);
    expect(keys.keyIds).toContain(first?.keyId);
    expect(keys.openText(CELL, sealed)).toBe('x');
  });

  it('can not be removed down to none', async () => {
    const { org, operations, store } = await newOrg(database);
    expect(await codeOfAsync(operations.removeWrap(org, 'local:a'))).toBe('crypto.last_wrap');
    expect(await operations.removeWrap(org, 'local:c')).toEqual({ versions: 0, kmsCalls: 0 });
    await operations.rotate(org);
    const active = (await store.load(org))[1] as DekRecord;
    // One version has a second wrap, the other has not: neither may change.
    await operations.addWrap(org, 'local:b');
    await store.replaceWraps(org, active.keyId, (await store.load(org))[1]?.wraps ?? [], active.wraps);
    const before = await store.load(org);
    expect(await codeOfAsync(operations.removeWrap(org, 'local:a'))).toBe('crypto.last_wrap');
    expect(await store.load(org)).toEqual(before);
  });

  it('removed by two operators, each the one the other relies on, leave one', async () => {
    const { org, operations, operator, store } = await newOrg(database);
    await operations.addWrap(org, 'local:b');
    const overtaken = interrupted(store, 'replaceWraps', () => operations.removeWrap(org, 'local:b'));
    expect(await codeOfAsync(operator({ store: overtaken }).removeWrap(org, 'local:a'))).toBe(
      'crypto.last_wrap',
    );
    expect(urisOf(await store.load(org))).toEqual([['local:a']]);
  });

  it('are not removed while no other one opens', async () => {
    const provider = keks('a', 'b');
    const { org, operations, operator, store } = await newOrg(database, [provider]);
    await operations.addWrap(org, 'local:b');
    const before = await store.load(org);
    const bOnlyWraps: KmsProvider = {
      scheme: 'local',
      wrap: (...args) => provider.wrap(...args),
      describe: (...args) => provider.describe(...args),
      unwrap: async (kekUri, ...rest) =>
        kekUri === 'local:b' ? { key: new Uint8Array(32) } : provider.unwrap(kekUri, ...rest),
    };
    expect(await codeOfAsync(operator({ kms: [bOnlyWraps] }).removeWrap(org, 'local:a'))).toBe(
      'crypto.wrap_tampered',
    );
    // Nor does a wrap count that was never opened: the same KMS gets no new wrap into the store.
    await operations.removeWrap(org, 'local:b');
    expect(
      await codeOfAsync(operator({ kms: [bOnlyWraps] }).moveKek(org, { from: 'local:a', to: 'local:b' })),
    ).toBe('crypto.wrap_tampered');
    expect(urisOf(await store.load(org))).toEqual([['local:a']]);
    expect(before).toHaveLength(1);
  });

  it('gets an organisation out of a destroyed KEK when another wrap still opens', async () => {
    const provider = keks('a', 'b');
    const destroyedA: KmsProvider = {
      scheme: 'local',
      wrap: (...args) => provider.wrap(...args),
      describe: async (uri) => (uri === 'local:a' ? 'destroyed' : 'enabled'),
      unwrap: async (kekUri, ...rest) =>
        provider.unwrap(kekUri === 'local:a' ? 'local:gone' : kekUri, ...rest),
    };
    const { org, keyring, operations, another, operator } = await newOrg(database, [provider]);
    await operations.addWrap(org, 'local:b');
    const sealed = (await keyring.org(org)).sealText(CELL, 'x');
    const process = another({ kms: [destroyedA] });
    expect(await codeOfAsync(process.org(org))).toBe('crypto.key_destroyed');
    await operator({ kms: [destroyedA] }).removeWrap(org, 'local:a');
    process.revoke(org);
    expect((await process.org(org)).openText(CELL, sealed)).toBe('x');
  });

  it.each([
    ['binds the context', () => keks('a', 'b')],
    ['binds nothing, so that only our binding tells', blindKms],
  ])('swapped between organisations are found by every operation, with a KMS that %s', async (_, make) => {
    const one = await newOrg(database, [make()]);
    const other = anyOrg();
    await one.keyring.createOrg(other);
    await sql`update crypto.dek_wrap w set wrapped = o.wrapped, binding = o.binding from crypto.dek_wrap o
      where (w.org_id, o.org_id) in ((${one.org}::uuid, ${other}::uuid), (${other}::uuid, ${one.org}::uuid))`.execute(
      database.db,
    );
    const before = await one.store.load(one.org);
    expect(await codeOfAsync(one.operations.addWrap(one.org, 'local:b'))).toBe('crypto.wrap_tampered');
    expect(await codeOfAsync(one.operations.moveKek(one.org, { from: 'local:a', to: 'local:b' }))).toBe(
      'crypto.wrap_tampered',
    );
    const report = await one.operations.rewrapAll({ orgs: [one.org, other].sort(), to: () => 'local:b' });
    expect(report.failures.map(({ error }) => (error as { code?: string }).code)).toEqual([
      'crypto.wrap_tampered',
      'crypto.wrap_tampered',
    ]);
    expect(await one.store.load(one.org)).toEqual(before);
  });
});

describe('data keys', () => {
  it('are wiped after every operation, done or failed: no buffer a KMS was given or gave holds a key', async () => {
    const provider = keks('a', 'b');
    const buffers: Uint8Array[] = [];
    let refuse = false;
    const watching: KmsProvider = {
      scheme: 'local',
      describe: (...args) => provider.describe(...args),
      wrap: async (uri, key, ...rest) => {
        buffers.push(key);
        if (refuse) throw new Error('injected');
        return provider.wrap(uri, key, ...rest);
      },
      unwrap: async (...args) => {
        const result = await provider.unwrap(...args);
        buffers.push(result.key);
        return result;
      },
    };
    const { org, operator, store } = await newOrg(database, [provider]);
    const operations = operator({ kms: [watching] });
    await operations.rotate(org);
    await operations.moveKek(org, { from: 'local:a', to: 'local:b' });
    await operations.rewrapAll({ orgs: [org], to: () => 'local:a' });
    refuse = true;
    await expect(operations.addWrap(org, 'local:b')).rejects.toThrow('injected');
    await expect(operations.rotate(org)).rejects.toThrow('injected');
    expect(buffers.length).toBeGreaterThan(15);
    for (const buffer of buffers) expect(buffer).toEqual(new Uint8Array(32));
    const wraps = (await store.load(org)).flatMap((record) => record.wraps);
    for (const { wrapped } of wraps) expect(wrapped.some((byte) => byte !== 0)).toBe(true);
  });
});

/** A KMS that wraps without any context, as plain RSA-OAEP does. */
function blindKms(): KmsProvider {
  const mask = randomBytes(32);
  const cross = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => byte ^ (mask[i] ?? 0));
  return {
    scheme: 'local',
    wrap: async (_, key) => ({ wrapped: cross(key) }),
    unwrap: async (_, wrapped) => ({ key: cross(wrapped) }),
    describe: async () => 'enabled',
  };
}
