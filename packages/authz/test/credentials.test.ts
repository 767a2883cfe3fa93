/** Credentials of integrations under attack: printed, moved, used beyond their scope or unseen. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import type { CredentialCell, CredentialSealer, Credentials, CredentialUse } from '../src/keys/index.ts';
import { createCredentials, Secret } from '../src/keys/index.ts';
import { memoryCredentialStore } from '../src/testing/index.ts';
import { ORG_A, ORG_B, TestClock } from './session-fixture.ts';

const TOKEN = 'quickbooks-refresh-token-4711';
/** AES-256-GCM bound to organisation and cell: what the port asks for, with the platform's own cipher. */
const key = randomBytes(32);
const bound = (org: string, { table, column, row }: CredentialCell) =>
  new TextEncoder().encode(JSON.stringify([org, table, column, row]));
const sealer: CredentialSealer = {
  seal: async (org, plaintext, cell) => {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(bound(org, cell));
    return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  },
  open: async (org, sealed, cell) => {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12)).setAAD(bound(org, cell));
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  },
};

let clock: TestClock;
let store: ReturnType<typeof memoryCredentialStore>;
let uses: CredentialUse[];
let credentials: Credentials;
let id: string;

const input = () => ({
  org: ORG_A,
  provider: 'quickbooks',
  secret: new Secret(TOKEN),
  scopes: ['accounting.read'],
  rotateAfterMs: 1_000,
});
const request = (part: object = {}) => ({
  org: ORG_A,
  id,
  scope: 'accounting.read',
  actor: 'job:sync',
  purpose: 'nightly import',
  ...part,
});
const reveal = async (secret: Secret): Promise<string> => secret.reveal();

beforeEach(async () => {
  clock = new TestClock();
  store = memoryCredentialStore();
  uses = [];
  credentials = createCredentials({ sealer, store, ...clock, report: async (use) => void uses.push(use) });
  id = await credentials.add(input());
});

test('a credential is handed out for one use, and the use is written down', async () => {
  expect(await credentials.use(request(), reveal)).toBe(TOKEN);
  expect(uses).toEqual([
    {
      org: ORG_A,
      id,
      provider: 'quickbooks',
      version: 1,
      scope: 'accounting.read',
      actor: 'job:sync',
      purpose: 'nightly import',
      at: clock.wall,
    },
  ]);
});

describe('a secret', () => {
  test('is neither stored nor reported in the clear', async () => {
    await credentials.use(request(), reveal);
    const seen = inspect([await store.list(ORG_A), uses], { depth: 9, showHidden: true });
    const bytes = (await store.list(ORG_A)).map(({ sealed }) => Buffer.from(sealed ?? []).toString('latin1'));
    expect(seen + bytes.join()).not.toContain('4711');
  });

  test('does not print itself, in whatever way it is printed', () => {
    const secret = new Secret(TOKEN);
    for (const text of [
      inspect(secret, { showHidden: true, depth: 9, customInspect: false }),
      inspect({ deep: [secret] }, { showHidden: true }),
      JSON.stringify({ secret }),
      String(secret),
      `${secret}`,
      Object.entries(secret).join(),
      JSON.stringify(structuredClone({ ...secret })),
      inspect(new Error('failed', { cause: secret })),
    ]) {
      expect(text).not.toContain('4711');
    }
    expect(inspect({ secret })).toBe('{ secret: [secret] }');
    expect(Number(secret)).toBeNaN();
    expect(secret.reveal()).toBe(TOKEN);
  });

  test('cannot be made to print by changing its class', () => {
    expect(() => Object.assign(Secret.prototype, { toJSON: () => 'x' })).toThrow(TypeError);
  });
});

describe('nothing is handed out', () => {
  test.each([
    ['to another organisation', { org: ORG_B }, 'missing'],
    ['under an unknown id', { id: 'x' }, 'missing'],
    ['for a scope it lacks', { scope: 'accounting.write' }, 'scope'],
  ])('%s', async (_name, part, reason) => {
    await expect(credentials.use(request(part), reveal)).rejects.toMatchObject({
      code: 'authz.credential_refused',
      reason,
    });
    expect(uses).toEqual([]);
  });

  test('when the use cannot be written down', async () => {
    const silent = createCredentials({
      sealer,
      store,
      report: async () => Promise.reject(new Error('the log is full')),
    });
    let ran = false;
    const work = async () => {
      ran = true;
    };
    await expect(silent.use(request(), work)).rejects.toThrow('the log is full');
    expect(ran).toBe(false);
  });

  test('after it was disconnected, and its sealed bytes are gone', async () => {
    await credentials.revoke({ org: ORG_B, id });
    expect(await credentials.use(request(), reveal)).toBe(TOKEN);
    await credentials.revoke({ org: ORG_A, id });
    await expect(credentials.use(request(), reveal)).rejects.toMatchObject({ reason: 'revoked' });
    expect((await store.find(ORG_A, id))?.sealed).toBeUndefined();
    await expect(credentials.rotate(request(), new Secret('new'))).rejects.toMatchObject({
      reason: 'revoked',
    });
  });

  test('when sealed bytes were moved from another credential, organisation or version', async () => {
    const other = await credentials.add({ ...input(), secret: new Secret('other') });
    const foreign = await credentials.add({ ...input(), org: ORG_B, secret: new Secret('foreign') });
    const own = await store.find(ORG_A, id);
    await credentials.rotate(request(), new Secret('second'));
    for (const sealed of [
      (await store.find(ORG_A, other))?.sealed,
      (await store.find(ORG_B, foreign))?.sealed,
      own?.sealed, // the first version, put back
    ]) {
      const record = await store.find(ORG_A, id);
      const find = async () => ({ ...record, sealed }) as never;
      const moved = createCredentials({ sealer, store: { ...store, find }, report: async () => undefined });
      await expect(moved.use(request(), reveal)).rejects.toThrow();
    }
  });
});

describe('rotation', () => {
  test('is due from its age on, and no more once done', async () => {
    clock.pass(999);
    expect(await credentials.due(ORG_A)).toEqual([]);
    clock.pass(1);
    expect(await credentials.due(ORG_A)).toEqual([id]);
    await credentials.rotate(request(), new Secret('second'));
    expect(await credentials.due(ORG_A)).toEqual([]);
    expect(await credentials.use(request(), reveal)).toBe('second');
  });

  test('of two at once is one', async () => {
    const outcomes = await Promise.allSettled(
      ['b', 'c'].map((text) => credentials.rotate(request(), new Secret(text))),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await store.find(ORG_A, id))?.version).toBe(2);
  });
});

test('misuse is a TypeError', async () => {
  for (const part of [
    { secret: TOKEN },
    { scopes: 'all' },
    { rotateAfterMs: 0 },
    { provider: '' },
    { org: 'a' },
  ]) {
    await expect(credentials.add({ ...input(), ...(part as object) })).rejects.toBeInstanceOf(TypeError);
  }
  expect(() => new Secret('')).toThrow(TypeError);
});
