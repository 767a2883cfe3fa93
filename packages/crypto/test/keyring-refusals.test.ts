import { describe, expect, it, vi } from 'vitest';
import { createKeyring, type KeyStore, type OrgKeys } from '../src/index.ts';
import { KmsGateway } from '../src/key-wrapping.ts';
import { systemRandom } from '../src/salt-source.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { CELL, codeOf, codeOfAsync, ORG_A, ORG_B, world } from './keyring-setup.ts';

const works = (keys: OrgKeys) => keys.openText(CELL, keys.sealText(CELL, 'x')) === 'x';

describe('a refusal', () => {
  it('is remembered for a while, so that a denied organisation costs no KMS call per request', async () => {
    const { keyring, kms, clock } = await world();
    kms.fail('disabled');
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_revoked');
    const before = kms.calls;
    for (let i = 0; i < 10; i += 1) expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_revoked');
    expect(kms.calls).toBe(before);
    kms.heal();
    clock.advance(4999);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_revoked');
    clock.advance(1);
    expect(works(await keyring.org(ORG_A))).toBe(true);
  });

  it('of one wrap is final: another wrap is not tried, or a customer could not lock us out', async () => {
    const { keyring, kms, store, options } = await world();
    const [record] = await store.load(ORG_A);
    if (record === undefined) throw new Error('no record');
    const backup = await secondWrap(options, store, 'local:b');
    await store.replaceWraps(ORG_A, record.keyId, record.wraps, [...record.wraps, backup]);
    kms.fail('disabled', 1);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_revoked');
  });

  it('is not read into silence: the next wrap is tried when a KMS cannot be reached', async () => {
    const { keyring, kms, store, options } = await world();
    const [record] = await store.load(ORG_A);
    if (record === undefined) throw new Error('no record');
    const backup = await secondWrap(options, store, 'local:b');
    await store.replaceWraps(ORG_A, record.keyId, record.wraps, [...record.wraps, backup]);
    kms.fail('server_error', 1);
    expect(works(await keyring.org(ORG_A))).toBe(true);
  });
});

describe('a hostile or confused KMS', () => {
  it("that answers with another organisation's key is found out before the key is used", async () => {
    const { keyring, kms } = await world();
    await keyring.org(ORG_B);
    kms.fail('other_org', 1);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.wrap_tampered');
  });

  it('that answers with a random key is found out', async () => {
    const { keyring, kms } = await world();
    kms.fail('wrong_key', 1);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.wrap_tampered');
  });

  it('that answers with a key of the wrong length or no key at all is refused', async () => {
    for (const key of [new Uint8Array(31), new Uint8Array(0), 'x'.repeat(32), undefined]) {
      const { options } = await world();
      const broken = { ...proxy(options.kms[0]), unwrap: async () => ({ key }) as never };
      const keyring = createKeyring({ ...options, kms: [broken] });
      expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.kms_malformed_answer');
    }
  });

  it('that wraps to nothing is refused before anything is stored', async () => {
    const { options } = await world();
    for (const wrapped of [new Uint8Array(0), undefined, 'x']) {
      const store = memoryKeyStore();
      const broken = { ...proxy(options.kms[0]), wrap: async () => ({ wrapped }) as never };
      const keyring = createKeyring({ ...options, store, kms: [broken] });
      expect(await codeOfAsync(keyring.createOrg(ORG_A))).toBe('crypto.kms_malformed_answer');
      expect(await store.load(ORG_A)).toEqual([]);
    }
  });

  it('whose provider throws instead of rejecting fails the call and leaves nothing running', async () => {
    const { options } = await world();
    const broken = {
      ...proxy(options.kms[0]),
      unwrap: () => {
        throw new RangeError('broken provider');
      },
    };
    await expect(createKeyring({ ...options, kms: [broken] }).org(ORG_A)).rejects.toThrow(RangeError);
  });

  it('that never answers is given up after the time limit, and a late key is wiped unused', async () => {
    const { options } = await world();
    let answer: (result: { key: Uint8Array }) => void = () => {};
    const deaf = {
      ...proxy(options.kms[0]),
      unwrap: () => new Promise<{ key: Uint8Array }>((resolve) => (answer = resolve)),
    };
    const keyring = createKeyring({ ...options, kms: [deaf], lease: { kmsTimeoutMs: 5 } });
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.kms_unavailable');
    const key = new Uint8Array(32).fill(9);
    answer({ key });
    await vi.waitFor(() => expect([...key]).toEqual([...new Uint8Array(32)]));
  });
});

describe('revocation against a call in flight', () => {
  it('outdates the answer: the KMS is asked again before anybody gets keys', async () => {
    const { keyring, kms } = await world();
    kms.fail('slow', 1);
    const before = kms.calls;
    const pending = keyring.org(ORG_A);
    await vi.waitFor(() => expect(kms.calls).toBe(before + 1));
    keyring.revoke(ORG_A);
    kms.fail('disabled');
    kms.release();
    expect(await codeOfAsync(pending)).toBe('crypto.key_revoked');
    expect(keyring.stats().orgs).toBe(0);
  });
});

describe('a version made by another process', () => {
  it('is found: the message fails as unknown once, and the next lease knows it', async () => {
    const { keyring, kms, store, clock, options } = await world();
    const keys = await keyring.org(ORG_A);
    const elsewhere = createKeyring(options);
    const gateway = new KmsGateway('test', options.kms, 1000);
    await store.insertVersion(await gateway.makeVersion(ORG_A, 2, 'local:a', systemRandom, 0));
    const message = (await elsewhere.org(ORG_A)).sealText(CELL, 'new');
    expect(codeOf(() => keys.openText(CELL, message))).toBe('crypto.unknown_key_version');
    const before = kms.calls;
    expect(await keyring.org(ORG_A)).toBe(keys); // not at once: forged key ids must not buy KMS calls
    expect(kms.calls).toBe(before);
    clock.advance(5000);
    expect((await keyring.org(ORG_A)).openText(CELL, message)).toBe('new');
  });
});

describe('a key store that was tampered with', () => {
  const tamper = async (change: (store: KeyStore) => KeyStore): Promise<string> => {
    const { options, store } = await world();
    return codeOfAsync(createKeyring({ ...options, store: change(store) }).org(ORG_A));
  };

  it("that answers with another organisation's record is refused", async () => {
    const code = await tamper((store) => ({ ...proxy(store), load: () => store.load(ORG_B) }));
    expect(code).toBe('crypto.wrap_tampered');
  });

  it('that relabels a record of another organisation is refused', async () => {
    const code = await tamper((store) => ({
      ...proxy(store),
      load: async () => (await store.load(ORG_B)).map((record) => ({ ...record, org: ORG_A })),
    }));
    expect(code).toBe('crypto.wrap_tampered');
  });

  it('that changes version number, key id, KEK or binding is refused', async () => {
    const zeros = '00'.repeat(16);
    for (const change of [{ version: 2 }, { keyId: zeros }]) {
      const code = await tamper((store) => ({
        ...proxy(store),
        load: async (org) => (await store.load(org)).map((record) => ({ ...record, ...change })),
      }));
      expect(code).toBe('crypto.wrap_tampered');
    }
    for (const wrapChange of [
      { kekUri: 'local:b' },
      { binding: new Uint8Array(32) },
      { binding: new Uint8Array(0) },
    ]) {
      const code = await tamper((store) => ({
        ...proxy(store),
        load: async (org) =>
          (await store.load(org)).map((record) => ({
            ...record,
            wraps: record.wraps.map((wrap) => ({ ...wrap, ...wrapChange })),
          })),
      }));
      expect(code).toBe('crypto.wrap_tampered');
    }
  });

  it('that shows two active versions, none, or one without wraps is refused', async () => {
    const map = (state: 'active' | 'decrypt_only', double: boolean, bare = false) =>
      tamper((store) => ({
        ...proxy(store),
        load: async (org) => {
          const records = (await store.load(org)).map((record) => ({
            ...record,
            state,
            wraps: bare ? [] : record.wraps,
          }));
          return double ? [...records, ...records] : records;
        },
      }));
    expect(await map('active', true)).toBe('crypto.wrap_tampered');
    expect(await map('decrypt_only', false)).toBe('crypto.wrap_tampered');
    expect(await map('active', false, true)).toBe('crypto.wrap_tampered');
  });
});

describe('a shredded organisation', () => {
  it('is not leased, not created anew, and its leases end at the refresh', async () => {
    const { keyring, store, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const keys = await keyring.org(ORG_A);
    await store.destroyWraps(ORG_A, 0);
    clock.advance(900);
    await keyring.org(ORG_A);
    await vi.waitFor(() => expect(keyring.stats().refreshFailures).toBe(1));
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_shredded');
    expect(await codeOfAsync(keyring.createOrg(ORG_A))).toBe('crypto.key_shredded');
  });
});

describe('options', () => {
  it('out of range are refused', async () => {
    const { options } = await world();
    for (const lease of [
      { maxAgeMs: 0 },
      { maxAgeMs: Number.NaN },
      { refreshAheadAtShare: 1.1 },
      { maxOrgs: 0 },
      { maxMessages: Number.POSITIVE_INFINITY },
    ]) {
      expect(() => createKeyring({ ...options, lease })).toThrow(TypeError);
    }
    expect(() => createKeyring({ ...options, app: '' })).toThrow(TypeError);
    expect(() => createKeyring({ ...options, kms: [...options.kms, ...options.kms] })).toThrow(TypeError);
  });

  it('of another application name read nothing', async () => {
    const { options } = await world();
    expect(await codeOfAsync(createKeyring({ ...options, app: 'other' }).org(ORG_A))).toBe(
      'crypto.wrap_tampered',
    );
  });

  it('without a provider for a stored KEK say so', async () => {
    const { options } = await world();
    expect(await codeOfAsync(createKeyring({ ...options, kms: [] }).org(ORG_A))).toBe(
      'crypto.kms_not_configured',
    );
    const fresh = createKeyring({ ...options, kms: [], store: memoryKeyStore() });
    expect(await codeOfAsync(fresh.createOrg(ORG_A))).toBe('crypto.kms_not_configured');
  });
});

/** A second wrap of ORG_A's only version, as a move between KEKs makes it. */
async function secondWrap(
  options: Awaited<ReturnType<typeof world>>['options'],
  store: KeyStore,
  kekUri: string,
) {
  const { bindingOf } = await import('../src/key-version.ts');
  const [record] = await store.load(ORG_A);
  const provider = options.kms[0];
  const wrap = record?.wraps[0];
  if (record === undefined || wrap === undefined || provider === undefined) throw new Error('no record');
  const context = { app: options.app, org: ORG_A, keyId: record.keyId, version: 1, purpose: 'dek' } as const;
  const { key } = await provider.unwrap(wrap.kekUri, wrap.wrapped, context);
  const { wrapped } = await provider.wrap(kekUri, key, context);
  return { kekUri, wrapped, binding: bindingOf(key, options.app, record, { kekUri, wrapped }) };
}

/** The methods of an object with private fields, bound, to be overridden one by one. */
function proxy<T extends object>(target: T | undefined): T {
  if (target === undefined) throw new Error('no target');
  const bound: Record<string, unknown> = {};
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(target))) {
    const value: unknown = Reflect.get(target, name);
    if (typeof value === 'function') bound[name] = value.bind(target);
  }
  return { ...target, ...bound } as T;
}
