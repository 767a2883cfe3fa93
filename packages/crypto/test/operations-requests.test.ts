import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { KmsProvider } from '../src/index.ts';
import { Clouds } from './clouds-setup.ts';
import { anyOrg, type KeyDatabase, keks, keyDatabase, station } from './operations-setup.ts';

const servers = new Clouds();
let kms: KmsProvider[];
let database: KeyDatabase;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'requests');
  kms = [keks('platform'), ...(await servers.listen())];
});
afterAll(async () => {
  await servers.close();
  await database.close();
});

async function newOrg(kekUri: string) {
  const org = anyOrg();
  const parts = station(database.store, kms, () => kekUri);
  await parts.keyring.createOrg(org);
  return { org, ...parts };
}

describe.each(servers.all)('the requests to %s', (cloud, make) => {
  it('are as many as docs/key-operations.md says; in Key Vault a wrap is two, since it is read back', async () => {
    const [key, other] = [make(), make()];
    const { org, operations, another } = await newOrg('local:platform');
    const made: Record<string, number> = {};
    const count = async (what: string, run: () => Promise<unknown>) => {
      const before = key.requests();
      await run();
      made[what] = key.requests() - before;
    };
    await count('createOrg', () => newOrg(key.uri));
    await count('addWrap', () => operations.addWrap(org, key.uri));
    await count('removeWrap', () => operations.removeWrap(org, 'local:platform'));
    await count('status', () => operations.status(org));
    await count('rotate', () => operations.rotate(org));
    await count('lease of two versions', () => another().org(org));
    await count('rewrapAll of two versions', () =>
      operations.rewrapAll({ orgs: [org], to: () => other.uri }),
    );
    await count('moveKek of two versions, away', () =>
      operations.moveKek(org, { from: other.uri, to: 'local:platform' }),
    );
    await count('moveKek of two versions, there', () =>
      operations.moveKek(org, { from: 'local:platform', to: key.uri }),
    );
    await count('shred', () => operations.shred(org, { reason: 'x' }));
    const wrap = cloud === 'Key Vault' ? 2 : 1;
    expect(made).toEqual({
      createOrg: wrap,
      addWrap: wrap + 1,
      removeWrap: 1,
      status: 1,
      rotate: wrap + 1,
      'lease of two versions': 2,
      'rewrapAll of two versions': 2 * (1 + wrap) + 1,
      'moveKek of two versions, away': 2,
      'moveKek of two versions, there': 2 * (wrap + 2),
      shred: 0,
    });
  });
});
