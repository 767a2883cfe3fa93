/** The stores in memory do what a store must; stores that do less are found out by the same cases. */
import { describe, expect, test } from 'vitest';
import type { ApiKeyStore, CredentialStore } from '../src/keys/index.ts';
import {
  credentialStoreCases,
  keyStoreCases,
  memoryApiKeyStore,
  memoryCredentialStore,
} from '../src/testing/index.ts';

describe('the store of credentials in memory', () => {
  for (const { name, run } of credentialStoreCases())
    test(name, async () => await run(memoryCredentialStore()));
});

describe('the store in memory', () => {
  for (const { name, run } of keyStoreCases()) test(name, async () => await run(memoryApiKeyStore()));
});

async function failures(make: () => ApiKeyStore): Promise<number> {
  const outcomes = await Promise.allSettled(keyStoreCases().map(({ run }) => run(make())));
  return outcomes.filter(({ status }) => status === 'rejected').length;
}

describe('the cases find a store that', () => {
  const broken: Readonly<Record<string, (store: ApiKeyStore) => Partial<ApiKeyStore>>> = {
    'stores a replayed request': (store) => ({
      insert: async (key) => await store.insert({ ...key, requestId: key.id }),
    }),
    'rotates whatever it is asked to': (store) => ({
      rotate: async ({ successor }) => await store.insert(successor),
    }),
    'looks at no organisation when it rotates': (store) => ({
      rotate: async (rotation) =>
        await store.rotate({ ...rotation, org: (await store.find(rotation.id))?.org ?? rotation.org }),
    }),
    'revokes nothing': () => ({ revoke: async () => [] }),
    'revokes everything': (store) => ({
      revoke: (_selection, at) => store.revoke({ kind: 'everywhere' }, at),
    }),
    'forgets its requests once a key has ended': (store) => ({
      rotate: async (rotation) => {
        const old = await store.find(rotation.id);
        return old?.revokedAt === undefined ? await store.rotate(rotation) : 'conflict';
      },
    }),
    'looks for what to revoke once, and then waits': (store) => ({
      revoke: async (selection, at) => {
        if (selection.kind !== 'org') return await store.revoke(selection, at);
        const seen = await store.list(selection.org);
        await Promise.resolve();
        const { org } = selection;
        const ended = await Promise.all(seen.map(({ id }) => store.revoke({ kind: 'key', org, id }, at)));
        return ended.flat();
      },
    }),
    'writes no use': () => ({ touch: async () => undefined }),
    'lists nothing': () => ({ list: async () => [] }),
  };
  test.each(Object.entries(broken))('%s', async (_name, part) => {
    const make = (): ApiKeyStore => {
      const store = memoryApiKeyStore();
      return { ...store, ...part(store) };
    };
    expect(await failures(make)).toBeGreaterThan(0);
  });
});

describe('the cases find a store of credentials that', () => {
  const broken: Readonly<Record<string, (store: CredentialStore) => Partial<CredentialStore>>> = {
    'replaces whatever version': (store) => ({
      replace: async ({ org, id, ...rest }) => {
        const { version = rest.from } = (await store.find(org, id)) ?? {};
        return await store.replace({ org, id, ...rest, from: version });
      },
    }),
    'keeps the sealed bytes of what is revoked': () => ({ revoke: async () => undefined }),
    'lists nothing': () => ({ list: async () => [] }),
  };
  test.each(Object.entries(broken))('%s', async (_name, part) => {
    const outcomes = await Promise.allSettled(
      credentialStoreCases().map(({ run }) => {
        const store = memoryCredentialStore();
        return run({ ...store, ...part(store) });
      }),
    );
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
  });
});
