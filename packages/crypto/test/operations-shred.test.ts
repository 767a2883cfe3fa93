import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { KmsProvider, OrgId, RevocationChannel } from '../src/index.ts';
import { isIntactShredCertificate, orgsWithKeys, type ShredCertificate } from '../src/operations/index.ts';
import { postgresKeyStore, postgresRevocations } from '../src/postgres/index.ts';
import { CELL, codeOf, codeOfAsync } from './keyring-setup.ts';
import { anyOrg, connect, type KeyDatabase, keks, keyDatabase, station } from './operations-setup.ts';

let database: KeyDatabase;
const provider: KmsProvider = keks('platform', 'own');
beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'shred');
});
afterAll(async () => {
  await database.close();
});

function channel(): RevocationChannel {
  const connectListener = async () => {
    const client = new pg.Client({ connectionString: database.appUrl });
    client.on('error', () => {}); // the server may stop while the session closes
    await client.connect();
    return client;
  };
  return postgresRevocations({ connect: connectListener, reconnectMs: 10 });
}

describe('a shred', () => {
  it('reaches every process that holds the keys, and no lease comes back', async () => {
    const parts = station(database.store, [provider], () => 'local:platform', { revocations: channel() });
    const org = anyOrg();
    await parts.keyring.createOrg(org);
    await parts.operations.rotate(org);
    await parts.operations.addWrap(org, 'local:own');
    const processes = [parts.keyring, parts.another(), parts.another()];
    const held = await Promise.all(processes.map((process) => process.org(org)));
    const sealed = held[0]?.sealText(CELL, 'x') ?? '';
    const certificate = await parts.operations.shred(org, { reason: 'contract 4711 ended' });
    await vi.waitFor(() => {
      for (const keys of held) expect(codeOf(() => keys.openText(CELL, sealed))).toBe('crypto.lease_expired');
    });
    for (const process of processes) expect(await codeOfAsync(process.org(org))).toBe('crypto.key_shredded');
    expect(await codeOfAsync(parts.keyring.createOrg(org))).toBe('crypto.key_shredded');
    expect(certificate).toMatchObject({ wrapsDestroyed: 4, notified: true });
    await Promise.all(processes.map((process) => process.close()));
  });

  it('certifies what was destroyed, with a digest that finds every change', async () => {
    const { keyring, operations, clock } = station(database.store, [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    const { keyId } = await operations.rotate(org);
    const [first] = await database.store.load(org);
    const certificate = await operations.shred(org, { reason: 'ticket 7', keyStoreBackupsMs: 86_400_000 });
    const { digest, ...body } = certificate;
    expect(body).toEqual({
      v: 1,
      org,
      reason: 'ticket 7',
      shreddedAt: new Date(clock.now()).toISOString(),
      versions: [
        { keyId: first?.keyId, version: 1 },
        { keyId, version: 2 },
      ],
      wrapsDestroyed: 2,
      kekUris: ['local:platform'],
      notified: false,
      backupsHorizon: new Date(clock.now() + 86_400_000).toISOString(),
    });
    // The canonical form, written by hand: members in order of their names, no white space.
    const { versions } = certificate;
    const canonical = `{"backupsHorizon":"${body.backupsHorizon}","kekUris":["local:platform"],"notified":false,"org":"${org}","reason":"ticket 7","shreddedAt":"${body.shreddedAt}","v":1,"versions":[{"keyId":"${versions[0]?.keyId}","version":1},{"keyId":"${versions[1]?.keyId}","version":2}],"wrapsDestroyed":2}`;
    expect(digest).toBe(createHash('sha256').update(canonical).digest('hex'));
    const copy = JSON.parse(JSON.stringify(certificate)) as ShredCertificate;
    expect(isIntactShredCertificate(copy)).toBe(true);
    for (const change of [{ wrapsDestroyed: 3 }, { versions: [] }, { reason: 'ticket 8' }, { digest: '' }]) {
      expect(isIntactShredCertificate({ ...copy, ...change })).toBe(false);
    }
  });

  it('repeated, at any time later, certifies the same', async () => {
    const { keyring, operations, clock } = station(database.store, [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    await operations.rotate(org);
    await operations.addWrap(org, 'local:own');
    const options = { reason: 'one', keyStoreBackupsMs: 86_400_000 };
    const first = await operations.shred(org, options);
    clock.advance(86_400_000);
    expect(await operations.shred(org, options)).toEqual(first);
    expect(first).toMatchObject({ wrapsDestroyed: 4, kekUris: ['local:own', 'local:platform'] });
  });

  it('repeated over wraps that a restored backup brought back, destroys and counts them too', async () => {
    const { keyring, operations } = station(database.store, [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    const saved = await sql<{ row: unknown }>`
      select row_to_json(w) as row from crypto.dek_wrap w where org_id = ${org}`.execute(database.db);
    const first = await operations.shred(org, { reason: 'one' });
    await sql`alter table crypto.dek_wrap disable trigger user`.execute(database.db);
    await sql`insert into crypto.dek_wrap select * from json_populate_record(null::crypto.dek_wrap,
      ${JSON.stringify(saved.rows[0]?.row)}::json)`.execute(database.db);
    await sql`alter table crypto.dek_wrap enable trigger user`.execute(database.db);
    const { digest: _, ...rest } = await operations.shred(org, { reason: 'one' });
    const { digest: __, ...before } = first;
    expect(rest).toEqual({ ...before, wrapsDestroyed: 2 });
    expect((await database.store.load(org))[0]?.wraps).toEqual([]);
  });

  it('makes no certificate when the store still holds a wrap, or nothing was there', async () => {
    const { keyring, operator } = station(database.store, [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    const lying = new Proxy(database.store, {
      get: (target, name) => {
        if (name === 'destroyWraps') return async () => {};
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    expect(await codeOfAsync(operator({ store: lying }).shred(org, { reason: 'x' }))).toBe(
      'crypto.store_conflict',
    );
    expect(await codeOfAsync(operator().shred(anyOrg(), { reason: 'x' }))).toBe('crypto.org_unknown');
    for (const options of [
      { reason: '' },
      { reason: 'x'.repeat(501) },
      { reason: 'x', keyStoreBackupsMs: -1 },
    ]) {
      await expect(operator().shred(org, options)).rejects.toThrow(TypeError);
    }
    expect((await database.store.load(org))[0]?.state).toBe('active');
  });

  it('says so when not all processes could be told; leases end it then', async () => {
    const deaf: RevocationChannel = {
      publish: () => Promise.reject(new Error('channel down')),
      subscribe: () => Promise.reject(new Error('channel down')),
    };
    const { keyring, operator, clock } = station(database.store, [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    const keys = await keyring.org(org);
    expect((await operator({ revocations: deaf }).shred(org, { reason: 'x' })).notified).toBe(false);
    keys.sealText(CELL, 'still leased');
    clock.advance(300_000);
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(await codeOfAsync(keyring.org(org))).toBe('crypto.key_shredded');
  });

  it('and a new wrap at the same time end with no wrap', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { keyring, operations, operator } = station(database.store, [provider], () => 'local:platform');
      const org = anyOrg();
      await keyring.createOrg(org);
      await Promise.allSettled([
        operations.addWrap(org, 'local:own'),
        operator().rotate(org),
        operator().shred(org, { reason: 'x' }),
        operator().moveKek(org, { from: 'local:platform', to: 'local:own' }),
      ]);
      for (const { state, wraps } of await database.store.load(org)) {
        expect([state, wraps.length]).toEqual(['shredded', 0]);
      }
    }
  });
});

describe('privileges', () => {
  it('let the application rotate and retire, but neither move, remove nor shred', async () => {
    const login = connect(database.appUrl);
    const { keyring, operations, clock } = station(
      postgresKeyStore(login),
      [provider],
      () => 'local:platform',
    );
    const org = anyOrg();
    await keyring.createOrg(org);
    const [first] = await database.store.load(org);
    await operations.rotate(org);
    clock.advance(3_600_000);
    await operations.retire(org, first?.keyId ?? '', [{ name: 'none', count: async () => 0 }]);
    const before = await database.store.load(org);
    const denied = '42501';
    expect(await codeOfAsync(operations.shred(org, { reason: 'x' }))).toBe(denied);
    expect(await codeOfAsync(operations.addWrap(org, 'local:own'))).toBe(denied);
    expect(await codeOfAsync(operations.moveKek(org, { from: 'local:platform', to: 'local:own' }))).toBe(
      denied,
    );
    expect((await operations.rewrapAll({ orgs: [org], to: () => 'local:own' })).failures).toMatchObject([
      { org, error: { code: denied } },
    ]);
    expect(await database.store.load(org)).toEqual(before);
    await login.destroy();
  });

  it('let the operator do all of it', async () => {
    const other = await keyDatabase(inject('databaseUrl'), 'operator', 'operator');
    const login = connect(other.appUrl);
    const { keyring, operations } = station(postgresKeyStore(login), [provider], () => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    await operations.rotate(org);
    await operations.moveKek(org, { from: 'local:platform', to: 'local:own' });
    const to = () => 'local:platform';
    expect(await operations.rewrapAll({ orgs: orgsWithKeys(login), to })).toMatchObject({
      versions: 2,
      failed: 0,
    });
    expect(await operations.shred(org, { reason: 'x' })).toMatchObject({ wrapsDestroyed: 2 });
    await login.destroy();
    await other.close();
  });
});

describe('a backup taken before the shred', () => {
  /**
   * Dumps tables into files in one repeatable-read snapshot, as pg_dump does (the npm build of PostgreSQL has none), and
   * gives a function that restores them.
   */
  async function backup(tables: readonly string[]): Promise<(to: KeyDatabase) => Promise<void>> {
    const folder = mkdtempSync(join(tmpdir(), 'backup-'));
    await database.db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (trx) => {
        for (const table of tables) {
          const { rows } = await sql<{
            row: unknown;
          }>`select row_to_json(t) as row from ${sql.table(table)} t`.execute(trx);
          writeFileSync(join(folder, `${table}.json`), JSON.stringify(rows.map(({ row }) => row)));
        }
      });
    return async (to) => {
      expect(tables.every((table) => existsSync(join(folder, `${table}.json`)))).toBe(true);
      for (const table of tables) {
        // As pg_restore --disable-triggers: rows of a backup come in as they were, tombstones too.
        await sql`alter table ${sql.table(table)} disable trigger user`.execute(to.db);
        const rows = readFileSync(join(folder, `${table}.json`), 'utf8');
        await sql`insert into ${sql.table(table)} select * from json_populate_recordset(null::${sql.table(table)}, ${rows}::json)`.execute(
          to.db,
        );
        await sql`alter table ${sql.table(table)} enable trigger user`.execute(to.db);
      }
      rmSync(folder, { recursive: true });
    };
  }

  async function prepare(kekUri: string): Promise<{ org: OrgId; row: string }> {
    const org = anyOrg();
    const { keyring } = station(database.store, [provider], () => kekUri);
    await keyring.createOrg(org);
    const row = anyOrg();
    const sealed = (await keyring.org(org)).sealText({ ...CELL, row }, 'secret of the customer');
    await sql`create table if not exists invoice (org_id uuid, id uuid primary key, memo text)`.execute(
      database.db,
    );
    await sql`insert into invoice values (${org}, ${row}, ${sealed})`.execute(database.db);
    return { org, row };
  }

  async function restored(): Promise<KeyDatabase> {
    const fresh = await keyDatabase(inject('databaseUrl'), 'restored');
    await sql`create table invoice (org_id uuid, id uuid primary key, memo text)`.execute(fresh.db);
    return fresh;
  }

  const memoOf = async (from: KeyDatabase, row: string) =>
    (await sql<{ memo: string }>`select memo from invoice where id = ${row}`.execute(from.db)).rows[0]
      ?.memo ?? '';

  it('of the data stays dark: beside the living key store, and in an empty one', async () => {
    const { org, row } = await prepare('local:platform');
    const restore = await backup(['invoice']);
    await station(database.store, [provider]).operations.shred(org, { reason: 'x' });
    const fresh = await restored();
    await restore(fresh);
    const sealed = await memoOf(fresh, row);
    expect(sealed).toMatch(/^rf1\./);
    // The restored database with the key store of today.
    expect(await codeOfAsync(station(database.store, [provider]).keyring.org(org))).toBe(
      'crypto.key_shredded',
    );
    // The restored database alone: its key store holds nothing, and new keys do not open old data.
    const alone = station(postgresKeyStore(fresh.db), [provider], () => 'local:platform').keyring;
    expect(await codeOfAsync(alone.org(org))).toBe('crypto.org_unknown');
    await alone.createOrg(org);
    const keys = await alone.org(org);
    expect(codeOf(() => keys.openText({ ...CELL, row }, sealed))).toBe('crypto.unknown_key_version');
    await fresh.close();
  });

  it('of the key store too opens while the KEK lives, and is dark once an own KEK is destroyed', async () => {
    const { org, row } = await prepare('local:own');
    const restore = await backup(['crypto.dek_version', 'crypto.dek_wrap', 'invoice']);
    await station(database.store, [provider]).operations.shred(org, { reason: 'x' });
    const fresh = await restored();
    await restore(fresh);
    const sealed = await memoOf(fresh, row);
    const reader = station(postgresKeyStore(fresh.db), [provider]).keyring;
    expect((await reader.org(org)).openText({ ...CELL, row }, sealed)).toBe('secret of the customer');
    // The KEK of this organisation alone is destroyed: all others go on, and no backup opens it.
    const withoutOwn: KmsProvider = {
      scheme: 'local',
      wrap: (...args) => provider.wrap(...args),
      unwrap: (uri, ...rest) => provider.unwrap(uri === 'local:own' ? 'local:gone' : uri, ...rest),
      describe: (...args) => provider.describe(...args),
    };
    const later = station(postgresKeyStore(fresh.db), [withoutOwn]).keyring;
    expect(await codeOfAsync(later.org(org))).toBe('crypto.key_destroyed');
    await fresh.close();
  });
});
