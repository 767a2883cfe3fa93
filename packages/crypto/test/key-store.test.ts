import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { createKeyring, type DekRecord, type KeyStore, type OrgId, parseOrgId } from '../src/index.ts';
import { KmsGateway } from '../src/key-wrapping.ts';
import { type CryptoDatabase, postgresKeyStore } from '../src/postgres/index.ts';
import { cryptoKyselyMigrations, cryptoMigrations } from '../src/postgres/migrations.ts';
import { systemRandom } from '../src/salt-source.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { CELL, codeOf, codeOfAsync, ORG_A, ORG_B, world } from './keyring-setup.ts';

let database: TestDatabase;
let owner: Kysely<CryptoDatabase>;
let app: Kysely<CryptoDatabase>;

function connect(url: string): Kysely<CryptoDatabase> {
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  pool.on('error', () => {}); // the server may stop while sessions close
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'keystore');
  owner = connect(database.ownerUrl);
  app = connect(database.appUrl);
  const migrator = new Migrator({
    db: owner,
    provider: { getMigrations: async () => cryptoKyselyMigrations({ appRole: database.app }) },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
});

afterAll(async () => {
  await app.destroy();
  await owner.destroy();
  await database.drop();
});

const anyOrg = (): OrgId =>
  parseOrgId(
    randomBytes(16)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
  );

function version(org: OrgId, number: number, kekUris: readonly string[] = ['local:a']): DekRecord {
  return {
    org,
    keyId: randomBytes(16).toString('hex'),
    version: number,
    state: 'active',
    wraps: kekUris.map((kekUri) => ({
      kekUri,
      wrapped: Uint8Array.from(randomBytes(61)),
      binding: Uint8Array.from(randomBytes(32)),
    })),
    createdAt: 1_700_000_000_123,
  };
}

describe.each([
  ['in memory', () => memoryKeyStore()],
  ['on PostgreSQL', () => postgresKeyStore(owner)],
])('the key store %s', (_, make: () => KeyStore) => {
  it('gives back what was inserted, in order, and nothing of another organisation', async () => {
    const store = make();
    const org = anyOrg();
    const one = version(org, 1, ['local:b', 'local:a']);
    const two = version(org, 2);
    expect(await store.load(org)).toEqual([]);
    await store.insertVersion(one);
    await store.insertVersion(two);
    await store.insertVersion(version(anyOrg(), 1));
    expect(await store.load(org)).toEqual([{ ...one, state: 'decrypt_only' }, two]);
  });

  it('takes a version once, in its turn: gaps, repeats and a lost race are conflicts', async () => {
    const store = make();
    const org = anyOrg();
    expect(await codeOfAsync(store.insertVersion(version(org, 2)))).toBe('crypto.store_conflict');
    const race = await Promise.allSettled(
      Array.from({ length: 8 }, () => store.insertVersion(version(org, 1))),
    );
    expect(race.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    for (const one of race) {
      if (one.status === 'rejected') expect(one.reason.code).toBe('crypto.store_conflict');
    }
    const [first] = await store.load(org);
    const again = { ...version(org, 2), keyId: first?.keyId ?? '' };
    expect(await codeOfAsync(store.insertVersion(again))).toBe('crypto.store_conflict');
    expect((await store.load(org)).map((record) => record.state)).toEqual(['active']);
    const second = await Promise.allSettled(
      Array.from({ length: 8 }, () => store.insertVersion(version(org, 2))),
    );
    expect(second.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    expect((await store.load(org)).map((record) => record.state)).toEqual(['decrypt_only', 'active']);
  });

  it('replaces wraps only while they are the expected ones', async () => {
    const store = make();
    const org = anyOrg();
    const record = version(org, 1);
    await store.insertVersion(record);
    const moved = [...record.wraps, ...version(org, 1, ['aws-kms:x']).wraps];
    const late = version(org, 1, ['gcp-kms:y']).wraps;
    await store.replaceWraps(org, record.keyId, record.wraps, moved);
    expect(await codeOfAsync(store.replaceWraps(org, record.keyId, record.wraps, late))).toBe(
      'crypto.store_conflict',
    );
    expect(await codeOfAsync(store.replaceWraps(anyOrg(), record.keyId, record.wraps, late))).toBe(
      'crypto.store_conflict',
    );
    await expect(store.replaceWraps(org, record.keyId, moved, [])).rejects.toThrow(TypeError);
    expect((await store.load(org))[0]?.wraps).toEqual(moved);
  });

  it('lets one of many concurrent re-wraps win', async () => {
    const store = make();
    const org = anyOrg();
    const record = version(org, 1);
    await store.insertVersion(record);
    const race = await Promise.allSettled(
      Array.from({ length: 6 }, () =>
        store.replaceWraps(org, record.keyId, record.wraps, version(org, 1).wraps),
      ),
    );
    expect(race.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    expect((await store.load(org))[0]?.wraps).toHaveLength(1);
  });

  it('retires and unretires a decrypt-only version, never the active one', async () => {
    const store = make();
    const org = anyOrg();
    const [one, two] = [version(org, 1), version(org, 2)];
    await store.insertVersion(one);
    await store.insertVersion(two);
    await store.setState(org, one.keyId, 'decrypt_only', 'retired');
    expect(await codeOfAsync(store.setState(org, one.keyId, 'decrypt_only', 'retired'))).toBe(
      'crypto.store_conflict',
    );
    await store.setState(org, one.keyId, 'retired', 'decrypt_only');
    for (const to of ['retired', 'decrypt_only', 'shredded'] as const) {
      expect(await codeOfAsync(store.setState(org, two.keyId, 'active', to))).toBe('crypto.store_conflict');
    }
  });

  it('shreds for good: no wrap is left, none comes back, no version follows', async () => {
    const store = make();
    const org = anyOrg();
    const [one, two] = [version(org, 1, ['local:a', 'local:b']), version(org, 2)];
    await store.insertVersion(one);
    await store.insertVersion(two);
    await store.destroyWraps(org, 1000);
    const shredded = await store.load(org);
    expect(shredded.map(({ state, wraps, tombstone }) => [state, wraps.length, tombstone])).toEqual([
      ['shredded', 0, { shreddedAt: 1000, kekUris: ['local:a', 'local:b'] }],
      ['shredded', 0, { shreddedAt: 1000, kekUris: ['local:a'] }],
    ]);
    await store.destroyWraps(org, 2000);
    expect(await store.load(org)).toEqual(shredded);
    expect(await codeOfAsync(store.insertVersion(version(org, 3)))).toBe('crypto.store_conflict');
    expect(await codeOfAsync(store.replaceWraps(org, one.keyId, [], one.wraps))).toBe(
      'crypto.store_conflict',
    );
    expect(await codeOfAsync(store.replaceWraps(org, one.keyId, one.wraps, one.wraps))).toBe(
      'crypto.store_conflict',
    );
    expect(await codeOfAsync(store.setState(org, one.keyId, 'shredded', 'active'))).toBe(
      'crypto.store_conflict',
    );
  });
});

describe('the key store on PostgreSQL, attacked in SQL', () => {
  it('finds wraps swapped between organisations, though the KMS would open them for anyone', async () => {
    // A KMS that binds no context, as RSA-OAEP does: only the binding of the row is left to tell.
    const blind = blindKms();
    const { keyring, options } = await world({ store: postgresKeyStore(owner), kms: [blind] });
    const sealed = (await keyring.org(ORG_A)).sealText(CELL, 'x');
    const swap = sql`
      update crypto.dek_wrap w set wrapped = o.wrapped, binding = o.binding
      from crypto.dek_wrap o
      where (w.org_id, o.org_id) in ((${ORG_A}::uuid, ${ORG_B}::uuid), (${ORG_B}::uuid, ${ORG_A}::uuid))`;
    await swap.execute(owner);
    expect(await codeOfAsync(createKeyring(options).org(ORG_A))).toBe('crypto.wrap_tampered');
    expect(await codeOfAsync(createKeyring(options).org(ORG_B))).toBe('crypto.wrap_tampered');
    await sql`update crypto.dek_wrap w set binding = o.binding from crypto.dek_wrap o
      where (w.org_id, o.org_id) in ((${ORG_A}::uuid, ${ORG_B}::uuid), (${ORG_B}::uuid, ${ORG_A}::uuid))`.execute(
      owner,
    );
    expect(await codeOfAsync(createKeyring(options).org(ORG_A))).toBe('crypto.wrap_tampered');
    await swap.execute(owner);
    await sql`update crypto.dek_wrap w set binding = o.binding from crypto.dek_wrap o
      where (w.org_id, o.org_id) in ((${ORG_A}::uuid, ${ORG_B}::uuid), (${ORG_B}::uuid, ${ORG_A}::uuid))`.execute(
      owner,
    );
    expect((await createKeyring(options).org(ORG_A)).openText(CELL, sealed)).toBe('x');
  });

  it('finds an old wrap replayed under a new version, and wraps exchanged between versions', async () => {
    const blind = blindKms();
    const store = postgresKeyStore(owner);
    const org = anyOrg();
    const { options } = await world({ store, kms: [blind] });
    const keyring = createKeyring({ ...options, kekFor: () => 'local:a' });
    await keyring.createOrg(org);
    const [first] = await store.load(org);
    const gateway = new KmsGateway('test', [blind], 1000);
    await store.insertVersion(await gateway.makeVersion(org, 2, 'local:a', systemRandom, 0));
    const keys = await keyring.org(org);
    const old = first?.wraps[0];
    await sql`update crypto.dek_wrap set wrapped = ${Buffer.from(old?.wrapped ?? [])}, binding = ${Buffer.from(old?.binding ?? [])}
      where org_id = ${org} and key_id = ${Buffer.from(keys.activeKeyId, 'hex')}`.execute(owner);
    expect(await codeOfAsync(createKeyring(options).org(org))).toBe('crypto.wrap_tampered');
    expect(keys.openText(CELL, keys.sealText(CELL, 'x'))).toBe('x');
    keyring.revoke(org);
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
  });

  it('gives the application what it needs: create, lease, rotate', async () => {
    const org = anyOrg();
    const { options } = await world({ store: postgresKeyStore(app) });
    const keyring = createKeyring({ ...options, kekFor: () => 'local:a' });
    await Promise.all([
      keyring.createOrg(org),
      createKeyring({ ...options, kekFor: () => 'local:a' }).createOrg(org),
    ]);
    const gateway = new KmsGateway('test', options.kms, 1000);
    await options.store.insertVersion(await gateway.makeVersion(org, 2, 'local:a', systemRandom, 0));
    expect((await keyring.org(org)).keyIds).toHaveLength(2);
  });

  it('gives the application no more: no change or deletion of keys, not even with injected SQL', async () => {
    const org = anyOrg();
    const store = postgresKeyStore(owner);
    await store.insertVersion(version(org, 1));
    const denied = async (statement: string) => {
      await expect(sql.raw(statement).execute(app), statement).rejects.toMatchObject({ code: '42501' });
    };
    await denied(`delete from crypto.dek_wrap where org_id = '${org}'`);
    await denied(`delete from crypto.dek_version where org_id = '${org}'`);
    await denied(`update crypto.dek_wrap set wrapped = 'x' where org_id = '${org}'`);
    await denied(
      `update crypto.dek_version set key_id = gen_random_uuid()::text::bytea where org_id = '${org}'`,
    );
    await denied(`update crypto.dek_version set org_id = gen_random_uuid() where org_id = '${org}'`);
    await denied(
      `update crypto.dek_version set state = 'shredded', shredded_at = now() where org_id = '${org}'`,
    );
    await denied(`update crypto.dek_version set destroyed_kek_uris = '{}' where org_id = '${org}'`);
    // A version that says it is shredded and is not would take an organisation down.
    await expect(
      sql`update crypto.dek_version set state = 'shredded' where org_id = ${org}`.execute(app),
    ).rejects.toMatchObject({ code: '23514' });
    await denied('truncate crypto.dek_wrap');
    await denied('drop table crypto.dek_wrap');
    await denied('create table crypto.x ()');
    await denied('alter table crypto.dek_version disable trigger all');
    expect(await store.load(org)).toHaveLength(1);
  });

  it('keeps its rules against the owner too: states only go forward, a shredded version gets no wrap', async () => {
    const org = anyOrg();
    const store = postgresKeyStore(owner);
    const record = version(org, 1);
    await store.insertVersion(record);
    await store.insertVersion(version(org, 2));
    const refused = async (statement: string) => {
      await expect(sql.raw(statement).execute(owner), statement).rejects.toMatchObject({ code: '23514' });
    };
    await refused(`update crypto.dek_version set state = 'active' where org_id = '${org}' and version = 1`);
    await refused(`update crypto.dek_version set state = 'retired' where org_id = '${org}' and version = 2`);
    await refused(`update crypto.dek_version set state = 'unknown' where org_id = '${org}' and version = 2`);
    await refused(`update crypto.dek_version set state = 'shredded' where org_id = '${org}'`);
    await refused(`update crypto.dek_version set shredded_at = now() where org_id = '${org}'`);
    await store.destroyWraps(org, 1000);
    const shredded = await store.load(org);
    await refused(`update crypto.dek_version set shredded_at = now() where org_id = '${org}'`);
    await sql`update crypto.dek_version set destroyed_kek_uris = '{}' where org_id = ${org}`.execute(owner);
    expect(await store.load(org)).toEqual(shredded);
    await refused(`update crypto.dek_version set state = 'decrypt_only' where org_id = '${org}'`);
    await refused(`insert into crypto.dek_wrap (org_id, key_id, kek_uri, wrapped, binding, position)
      values ('${org}', '\\x${record.keyId}', 'local:a', 'x', decode(repeat('00', 32), 'hex'), 0)`);
    await refused(
      `insert into crypto.dek_version values ('${org}', 3, decode(repeat('00', 16), 'hex'), 'active', now())`,
    );
  });

  it('gives an operator role, when there is one, the deletion of wraps and nothing more', () => {
    const [first] = cryptoMigrations({ appRole: 'app', operatorRole: 'key_operator' });
    expect(first?.up).toContain('grant select, insert, delete on crypto.dek_wrap to "key_operator"');
    expect(() => cryptoMigrations({ appRole: 'app; drop schema crypto' })).toThrow(TypeError);
    expect(() => cryptoMigrations({ appRole: 'a', operatorRole: '"' })).toThrow(TypeError);
    expect(() => cryptoMigrations({ appRole: 'a', operatorRole: 'a' })).toThrow(/two different ones/);
  });
});

/** A KMS that wraps without any context. */
function blindKms() {
  const mask = randomBytes(32);
  const cross = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => byte ^ (mask[i] as number));
  return {
    scheme: 'local',
    wrap: async (_: string, key: Uint8Array) => ({ wrapped: cross(key) }),
    unwrap: async (_: string, wrapped: Uint8Array) => ({ key: cross(wrapped) }),
    describe: async () => 'enabled' as const,
  };
}
