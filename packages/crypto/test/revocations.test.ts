import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { createKeyring, type RevocationChannel, type RevocationListener } from '../src/index.ts';
import { postgresRevocations } from '../src/postgres/index.ts';
import { RevocationSubscription } from '../src/revocation-subscription.ts';
import { CELL, codeOf, ORG_A, ORG_B, world } from './keyring-setup.ts';

let database: TestDatabase;
let superuser: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'revoke');
  superuser = await connected(database.superuserUrl);
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

const channel = (): RevocationChannel =>
  postgresRevocations({ connect: () => connected(database.appUrl), reconnectMs: 10 });

describe('a revocation over PostgreSQL', () => {
  it('reaches the keys that other processes hold, and only those of that organisation', async () => {
    const { options } = await world();
    const processes = [1, 2, 3].map(() => createKeyring({ ...options, revocations: channel() }));
    const held = await Promise.all(processes.map((process) => process.org(ORG_A)));
    const others = await Promise.all(processes.map((process) => process.org(ORG_B)));
    await processes[0]?.revokeEverywhere(ORG_A);
    await vi.waitFor(() => {
      for (const keys of held) expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    });
    for (const keys of others) expect(keys.openText(CELL, keys.sealText(CELL, 'x'))).toBe('x');
    await Promise.all(processes.map((process) => process.close()));
  });

  it('evicts everything when the session was lost, since messages may have been missed', async () => {
    const { options } = await world();
    const keyring = createKeyring({ ...options, revocations: channel() });
    const keys = await keyring.org(ORG_A);
    await superuser.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen%'`,
    );
    await vi.waitFor(() => expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired'));
    const again = await keyring.org(ORG_A);
    await keyring.revokeEverywhere(ORG_A);
    await vi.waitFor(() => expect(codeOf(() => again.sealText(CELL, 'x'))).toBe('crypto.lease_expired'));
    await keyring.close();
  });

  it('with a payload that names no organisation evicts everything rather than nothing', async () => {
    const { options } = await world();
    const keyring = createKeyring({ ...options, revocations: channel() });
    const keys = await keyring.org(ORG_A);
    await superuser.query(`select pg_notify('ringfence_crypto_revoked', 'nonsense')`);
    await vi.waitFor(() => expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired'));
    await keyring.close();
  });

  it('leaves no session behind once the keyring is closed', async () => {
    const { options } = await world();
    const keyring = createKeyring({ ...options, revocations: channel() });
    await keyring.org(ORG_A);
    await keyring.close();
    await vi.waitFor(async () => {
      const { rows } = await superuser.query(
        `select 1 from pg_stat_activity where datname = current_database() and query like 'listen%'`,
      );
      expect(rows).toHaveLength(0);
    });
  });

  it('refuses a channel name that is no plain identifier', () => {
    expect(() => postgresRevocations({ connect: () => connected(''), channel: 'a"; drop' })).toThrow(
      TypeError,
    );
  });
});

describe('a revocation channel that fails', () => {
  it('does not stop the service, is tried again, and what was leased without it is evicted', async () => {
    const { options } = await world();
    let attempts = 0;
    let ended = 0;
    const failing: RevocationChannel = {
      publish: async () => {},
      subscribe: async (_: RevocationListener) => {
        attempts += 1;
        if (attempts === 1) throw new Error('no connection');
        return async () => {
          ended += 1;
        };
      },
    };
    const keyring = createKeyring({ ...options, revocations: failing });
    const keys = await keyring.org(ORG_A);
    expect(keys.openText(CELL, keys.sealText(CELL, 'x'))).toBe('x');
    const after = await keyring.org(ORG_A);
    expect(attempts).toBe(2);
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(after.openText(CELL, after.sealText(CELL, 'x'))).toBe('x');
    await keyring.org(ORG_A);
    expect(attempts).toBe(2);
    await keyring.close();
    expect(ended).toBe(1);
  });

  it('by saying nothing is waited for once, not for ever; what was leased meanwhile is evicted when it answers', async () => {
    let missed = 0;
    let ended = 0;
    let answer: (end: () => Promise<void>) => void = () => undefined;
    const silent: RevocationChannel = {
      publish: async () => {},
      subscribe: () => new Promise((resolve) => (answer = resolve)),
    };
    const listener: RevocationListener = { revoked: () => undefined, missed: () => (missed += 1) };
    const subscription = new RevocationSubscription(silent, listener, 20);
    await waited(subscription);
    expect(subscription.ready()).toBeUndefined(); // the next call does not wait again
    expect(missed).toBe(0);
    answer(async () => {
      ended += 1;
    });
    await vi.waitFor(() => expect(missed).toBe(1));
    await subscription.end();
    expect(ended).toBe(1);
  });

  it('by saying nothing does not keep a keyring from closing, and is left once it answers', async () => {
    let ended = 0;
    let answer: (end: () => Promise<void>) => void = () => undefined;
    const silent: RevocationChannel = {
      publish: async () => {},
      subscribe: () => new Promise((resolve) => (answer = resolve)),
    };
    const listener: RevocationListener = { revoked: () => undefined, missed: () => undefined };
    const subscription = new RevocationSubscription(silent, listener, 20);
    await waited(subscription);
    await subscription.end();
    answer(async () => {
      ended += 1;
    });
    await vi.waitFor(() => expect(ended).toBe(1));
  });

  it('by saying nothing holds up the first lease for five seconds, and no other', async () => {
    const { options } = await world();
    const silent: RevocationChannel = { publish: async () => {}, subscribe: () => new Promise(() => {}) };
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const keyring = createKeyring({ ...options, revocations: silent });
      let leased = 0;
      void keyring.org(ORG_A).then(() => leased++);
      await vi.advanceTimersByTimeAsync(4_999);
      expect(leased).toBe(0);
      await vi.advanceTimersByTimeAsync(1);
      vi.useRealTimers();
      await vi.waitFor(() => expect(leased).toBe(1));
      void keyring.org(ORG_B).then(() => leased++);
      await vi.waitFor(() => expect(leased).toBe(2));
      await keyring.close();
    } finally {
      vi.useRealTimers();
    }
  });

  it('is needed to revoke everywhere', async () => {
    const { keyring } = await world();
    await expect(keyring.revokeEverywhere(ORG_A)).rejects.toThrow(TypeError);
  });
});

/** Waits until a subscription keeps nobody waiting; what is waited for without bound is a failure, not a test that hangs. */
async function waited(subscription: RevocationSubscription): Promise<void> {
  let ready = false;
  void subscription.ready()?.then(() => (ready = true));
  await vi.waitFor(() => expect(ready).toBe(true));
}
