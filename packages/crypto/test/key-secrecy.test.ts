import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { createKeyring } from '../src/index.ts';
import { bindWrap, derivePurposeKey, type KeyPurpose } from '../src/key-derivation.ts';
import { keyIdBytes } from '../src/key-id.ts';
import { KeyVersion } from '../src/key-version.ts';
import { localKms } from '../src/local/index.ts';
import { OneShotHmac } from '../src/one-shot-hmac.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { CELL, FakeClock, knownRandom, ORG_A, ORG_B } from './keyring-setup.ts';

const PLAINTEXT = 'the quick brown fox of 2026';

/** A keyring whose data key the test knows, and every secret under it. */
async function transparent() {
  const kek = randomBytes(32);
  const seen: Uint8Array[] = [];
  const known = knownRandom('secrecy');
  const random = (buffer: Uint8Array): void => {
    known(buffer);
    if (buffer.length === 32) seen.push(buffer.slice());
  };
  const kms = localKms({ keks: { main: kek } });
  const clock = new FakeClock();
  const options = {
    app: 'test',
    kms: [kms],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
    random,
    ...clock,
  };
  const keyring = createKeyring({ ...options, lease: { maxMessages: 4 } });
  await keyring.createOrg(ORG_A);
  const keys = await keyring.org(ORG_A);
  const dek = seen[0];
  if (dek === undefined) throw new Error('no data key seen');
  const identity = { app: 'test', org: ORG_A, keyId: keyIdBytes(keys.activeKeyId) };
  const purposes: readonly KeyPurpose[] = ['field', 'file', 'index', 'subject', 'binding'];
  const secrets = [kek, dek, ...purposes.map((purpose) => derivePurposeKey(dek, identity, purpose))];
  return { keyring, keys, kms, clock, secrets, dek, identity };
}

/** Every way a value is likely to reach a log, a queue or another thread. */
function shownForms(value: unknown): string {
  const forms: string[] = [
    inspect(value, { depth: 20, showHidden: true, getters: true }),
    inspect({ ...(value as object) }, { depth: 20, showHidden: true }),
    String(JSON.stringify(value)),
    String(JSON.stringify({ ...(value as object) })),
    String(value),
    Object.entries(value as object).join(),
  ];
  for (const copy of [
    () => serialize(value).toString('latin1'),
    () => inspect(structuredClone(value), { depth: 20 }),
  ]) {
    try {
      forms.push(copy());
    } catch {
      // an object that refuses to be cloned shows nothing
    }
  }
  if (value instanceof Error) forms.push(String(value.stack), inspect(value.cause));
  return forms.join('\n');
}

/** The spellings of secret bytes to look for, also of a part of them. */
function spellings(secret: Uint8Array): readonly string[] {
  const bytes = Buffer.from(secret.subarray(0, 12));
  return [
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64').slice(0, 16),
    bytes.toString('base64url').slice(0, 16),
    bytes.toString('latin1'),
    [...bytes].join(','),
    [...bytes].join(', '),
    bytes.toString('hex').replace(/../g, '$& ').trim(),
  ];
}

describe('the search for secrets', () => {
  it('finds a key that is printed in any of the usual ways', () => {
    const key = Uint8Array.from(randomBytes(32));
    const leaks: unknown[] = [
      { key },
      { key: Buffer.from(key) },
      new Error(Buffer.from(key).toString('hex')),
      new Error('x', { cause: Buffer.from(key).toString('base64') }),
      [Buffer.from(key).toString('latin1')],
    ];
    for (const leak of leaks) {
      const shown = shownForms(leak);
      expect(spellings(key).some((form) => shown.includes(form))).toBe(true);
    }
  });
});

describe('keys', () => {
  it('show nowhere: not in inspect, JSON, String, spread, clone or serialisation of any object that leads to them', async () => {
    const { keyring, keys, kms, secrets, dek } = await transparent();
    const version = new KeyVersion(dek, 'test', {
      org: ORG_A,
      keyId: keys.activeKeyId,
      version: 1,
      state: 'active',
      wraps: [],
      createdAt: 0,
    });
    keys.sealText(CELL, PLAINTEXT);
    for (const value of [keyring, keys, kms, version, version.field, keyring.stats()]) {
      const shown = shownForms(value);
      for (const secret of secrets) for (const form of spellings(secret)) expect(shown).not.toContain(form);
      expect(shown).not.toContain(PLAINTEXT);
    }
    expect(String(keys)).toBe(`[OrgKeys ${ORG_A}]`);
    expect(Object.keys(keys)).toEqual([]);
  });

  it('and plaintext show in no error', async () => {
    const { keyring, keys, clock, secrets } = await transparent();
    const sealed = keys.sealText(CELL, PLAINTEXT);
    const binary = keys.seal(CELL, new TextEncoder().encode(PLAINTEXT));
    const flipped = binary.slice();
    flipped[80] = (flipped[80] as number) ^ 1;
    const errors: unknown[] = [];
    const collect = (call: () => unknown): void => {
      try {
        call();
      } catch (error) {
        errors.push(error);
      }
    };
    collect(() => keys.open(CELL, flipped));
    collect(() => keys.openText({ ...CELL, row: 'other' }, sealed));
    collect(() => keys.openText(CELL, PLAINTEXT));
    collect(() => keys.sealText(CELL, `${PLAINTEXT}\ud800`));
    collect(() => keys.seal(CELL, PLAINTEXT as never));
    collect(() => keys.sealRow(CELL, { [PLAINTEXT]: 1 } as never));
    collect(() => keys.sealText(CELL, PLAINTEXT)); // exhausted
    clock.advance(1e9);
    collect(() => keys.sealText(CELL, PLAINTEXT)); // expired
    await keyring.org(ORG_B).catch((error: unknown) => errors.push(error));
    expect(errors).toHaveLength(9);
    for (const error of errors) {
      const shown = shownForms(error);
      for (const secret of secrets) for (const form of spellings(secret)) expect(shown).not.toContain(form);
      expect(shown).not.toContain(PLAINTEXT);
    }
  });

  it('are lent as a copy that is zero when the callback has returned, thrown, or tried to go on later', async () => {
    const { keys } = await transparent();
    const kept: Uint8Array[] = [];
    const first = keys.withPurposeKey('file', 'active', (key, keyId) => {
      kept.push(key);
      expect(keyId).toBe(keys.activeKeyId);
      return Buffer.from(key).toString('hex');
    });
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(() =>
      keys.withPurposeKey('index', keys.activeKeyId, (key) => {
        kept.push(key);
        throw new RangeError('mine');
      }),
    ).toThrow(RangeError);
    expect(() =>
      keys.withPurposeKey('file', 'active', async (key) => {
        kept.push(key);
      }),
    ).toThrow(TypeError);
    expect(kept.map((key) => key.every((byte) => byte === 0))).toEqual([true, true, true]);
    expect(() => keys.withPurposeKey('field' as never, 'active', () => 1)).toThrow(TypeError);
  });

  it('are overwritten when a version is wiped', async () => {
    const { dek, keys } = await transparent();
    const record = {
      org: ORG_A,
      keyId: keys.activeKeyId,
      version: 1,
      state: 'active',
      wraps: [],
      createdAt: 0,
    } as const;
    const version = new KeyVersion(dek, 'test', record);
    version.wipe();
    for (const purpose of ['file', 'index'] as const) {
      expect(version.withPurposeKey(purpose, (key) => key.every((byte) => byte === 0))).toBe(true);
    }
    const digests = [1, 2].map((seed) => {
      const hmac = new OneShotHmac(new Uint8Array(32).fill(seed), 16);
      hmac.message.fill(seed);
      hmac.wipe();
      return hmac.digest(16);
    });
    expect(digests[0]).toBe(digests[1]); // nothing of key or message is left to tell them apart
  });

  it('differ by purpose, application, organisation and key id', () => {
    const dek = new Uint8Array(32).fill(5);
    const identity = { app: 'a', org: ORG_A, keyId: new Uint8Array(16) };
    const keyOf = (change: Partial<typeof identity>, purpose: KeyPurpose) =>
      Buffer.from(derivePurposeKey(dek, { ...identity, ...change }, purpose)).toString('hex');
    const all = [
      keyOf({}, 'field'),
      keyOf({}, 'file'),
      keyOf({}, 'index'),
      keyOf({}, 'binding'),
      keyOf({ app: 'b' }, 'field'),
      keyOf({ org: ORG_B }, 'field'),
      keyOf({ keyId: new Uint8Array(16).fill(1) }, 'field'),
    ];
    expect(new Set(all).size).toBe(all.length);
    const bound = { ...identity, version: 1, kekUri: 'local:a', wrapped: new Uint8Array(3) };
    const key = new Uint8Array(32);
    const bindings = [
      bound,
      { ...bound, version: 2 },
      { ...bound, kekUri: 'local:b' },
      { ...bound, wrapped: new Uint8Array(4) },
      { ...bound, app: 'b' },
      { ...bound, org: ORG_B },
    ].map((wrap) => Buffer.from(bindWrap(key, wrap)).toString('hex'));
    expect(new Set(bindings).size).toBe(bindings.length);
  });
});
