import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { DekRecord, KmsProvider, OrgId } from '../src/index.ts';
import { faultyKms } from '../src/testing/index.ts';
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
  database = await keyDatabase(inject('databaseUrl'), 'moves');
});
afterAll(async () => {
  await database.close();
});

describe('an old wrap put back into the key store', () => {
  const restore = async (org: OrgId, old: DekRecord) => {
    const [wrap] = old.wraps;
    await sql`delete from crypto.dek_wrap where org_id = ${org} and key_id = ${Buffer.from(old.keyId, 'hex')}`.execute(
      database.db,
    );
    await sql`insert into crypto.dek_wrap (org_id, key_id, kek_uri, wrapped, binding, position)
      values (${org}, ${Buffer.from(old.keyId, 'hex')}, ${wrap?.kekUri}, ${Buffer.from(wrap?.wrapped ?? [])}, ${Buffer.from(
        wrap?.binding ?? [],
      )}, 0)`.execute(database.db);
  };

  it('opens in its own place as long as its KEK lives: re-wrapping does not revoke, destroying the KEK does', async () => {
    const provider = keks('a', 'b');
    const { org, keyring, operations, another, store } = await newOrg(database, [provider]);
    const sealed = (await keyring.org(org)).sealText(CELL, 'x');
    const [old] = (await store.load(org)) as [DekRecord];
    await operations.moveKek(org, { from: 'local:a', to: 'local:b' });
    await restore(org, old);
    expect((await another().org(org)).openText(CELL, sealed)).toBe('x');
    const withoutA: KmsProvider = {
      scheme: 'local',
      wrap: (...args) => provider.wrap(...args),
      unwrap: (uri, ...rest) => provider.unwrap(uri === 'local:a' ? 'local:gone' : uri, ...rest),
      describe: (...args) => provider.describe(...args),
    };
    expect(await codeOfAsync(another({ kms: [withoutA] }).org(org))).toBe('crypto.key_destroyed');
  });

  it('does not open in the place of a newer version, nor under another KEK, nor after a shred', async () => {
    const { org, operations, another, store } = await newOrg(database);
    const [old] = (await store.load(org)) as [DekRecord];
    const { keyId } = await operations.rotate(org);
    const [wrap] = old.wraps;
    await sql`update crypto.dek_wrap set wrapped = ${Buffer.from(wrap?.wrapped ?? [])}, binding = ${Buffer.from(
      wrap?.binding ?? [],
    )} where org_id = ${org} and key_id = ${Buffer.from(keyId, 'hex')}`.execute(database.db);
    expect(await codeOfAsync(another().org(org))).toBe('crypto.wrap_tampered');
    await sql`update crypto.dek_wrap set kek_uri = 'local:b' where org_id = ${org}`.execute(database.db);
    expect(await codeOfAsync(another().org(org))).toBe('crypto.wrap_tampered');
    await operations.shred(org, { reason: 'test' });
    await expect(restore(org, old)).rejects.toMatchObject({ code: '23514' });
  });
});

describe('status', () => {
  it('tells versions, wraps and the state of each KEK, and never fails for a KMS', async () => {
    const kms = faultyKms(keks('a', 'b'));
    const { org, operations, operator } = await newOrg(database, [kms]);
    await operations.addWrap(org, 'local:b');
    await operations.rotate(org);
    const status = await operations.status(org);
    expect(status).toMatchObject({ org, state: 'live', kekFor: 'local:a' });
    expect(status.versions.map(({ version, state, kekUris }) => [version, state, kekUris])).toEqual([
      [1, 'decrypt_only', ['local:a', 'local:b']],
      [2, 'active', ['local:a', 'local:b']],
    ]);
    const states = async () => (await operations.status(org)).keks.map(({ state }) => state);
    expect(await states()).toEqual(['enabled', 'enabled']);
    for (const [fault, state] of [
      ['disabled', 'disabled'],
      ['pending_deletion', 'pending_deletion'],
      ['throttled', 'unavailable'],
      ['denied', 'denied'],
    ] as const) {
      kms.fail(fault);
      expect(await states()).toEqual([state, state]);
      kms.heal();
    }
    kms.fail('slow');
    expect((await operator({ kmsTimeoutMs: 20 }).status(org)).keks[0]?.state).toBe('unavailable');
    kms.heal();
    expect((await operator({ kms: [] }).status(org)).keks[0]?.state).toBe('not_configured');
    expect(await operations.status(anyOrg())).toMatchObject({ state: 'unknown', versions: [], keks: [] });
    await operations.shred(org, { reason: 'test' });
    expect(await operations.status(org)).toMatchObject({ state: 'shredded', keks: [] });
  });

  it('never carries a key: no 32 bytes of a data key, no wrapped key', async () => {
    const { org, operations, store } = await newOrg(database);
    const text = JSON.stringify(await operations.status(org));
    for (const { wraps } of await store.load(org))
      for (const { wrapped } of wraps) expect(text).not.toContain(Buffer.from(wrapped).toString('hex'));
  });
});

describe('a move', () => {
  it('names its KEKs: another one, the same one, or one nobody uses is refused before anything changes', async () => {
    const { org, operations, store } = await newOrg(database);
    const before = await store.load(org);
    expect(await codeOfAsync(operations.moveKek(org, { from: 'local:b', to: 'local:c' }))).toBe(
      'crypto.wrap_not_found',
    );
    await expect(operations.moveKek(org, { from: 'local:a', to: 'local:a' })).rejects.toThrow(TypeError);
    expect(await codeOfAsync(operations.moveKek(org, { from: 'local:a', to: 'aws-kms:arn:x' }))).toBe(
      'crypto.kms_not_configured',
    );
    expect(await store.load(org)).toEqual(before);
  });

  it('goes on from any point: every KMS call and every write fails once, and the next try ends it', async () => {
    const kms = faultyKms(keks('a', 'b'));
    const { org, keyring, operations, store } = await newOrg(database, [kms]);
    const sealed = (await keyring.org(org)).sealText(CELL, 'x');
    await operations.rotate(org);
    let rounds = 0;
    for (let failAt = 1; ; failAt += 1) {
      const [from, to] = failAt % 2 === 1 ? ['local:a', 'local:b'] : ['local:b', 'local:a'];
      const provider: KmsProvider = failingAt(kms, failAt);
      const operator = station(store, [provider]).operations;
      const failed = await codeOfAsync(operator.moveKek(org, { from, to }));
      for (const { wraps } of await store.load(org)) expect(wraps.length).toBeGreaterThan(0);
      keyring.revoke(org);
      expect((await keyring.org(org)).openText(CELL, sealed)).toBe('x');
      await operations.moveKek(org, { from, to });
      expect(urisOf(await store.load(org))).toEqual([[to], [to]]);
      if (failed === 'did not reject') break;
      expect(failed).toBe('crypto.kms_unavailable');
      rounds += 1;
    }
    expect(rounds).toBe(8); // 2 versions: unwrap, wrap, prove, prove again before the removal
  });

  it('is done again when another operator changes the wraps in the middle', async () => {
    const { org, operations, operator, store } = await newOrg(database);
    const overtaken = interrupted(store, 'replaceWraps', () => operations.addWrap(org, 'local:c'));
    await operator({ store: overtaken }).moveKek(org, { from: 'local:a', to: 'local:b' });
    expect(urisOf(await store.load(org))).toEqual([['local:c', 'local:b']]);
  });
});

/** A provider whose n-th call finds nobody. */
function failingAt(provider: KmsProvider, n: number): KmsProvider {
  const kms = faultyKms(provider);
  let calls = 0;
  const counted = async <T>(call: () => Promise<T>): Promise<T> => {
    calls += 1;
    if (calls === n) kms.fail('network', 1);
    return call();
  };
  return {
    scheme: kms.scheme,
    wrap: (...args) => counted(() => kms.wrap(...args)),
    unwrap: (...args) => counted(() => kms.unwrap(...args)),
    describe: (...args) => kms.describe(...args),
  };
}
