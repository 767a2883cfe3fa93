import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createKeyring, type Keyring, type KeyStore, type OrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { createKeyOperations } from '../src/operations/index.ts';
import { type CryptoDatabase, postgresKeyStore, postgresSubjectKeyStore } from '../src/postgres/index.ts';
import { createSubjectKeys, type SubjectKeyRecord, type SubjectKeyStore } from '../src/subjects/index.ts';
import { memoryKeyStore, memorySubjectKeyStore } from '../src/testing/index.ts';
import { codeOf, codeOfAsync } from './keyring-setup.ts';
import { anyOrg, connect, type KeyDatabase, keyDatabase } from './operations-setup.ts';
import { CELL } from './subjects-setup.ts';

const KEK = randomBytes(32);
const CONDITION = '@ringfence/source';
let database: KeyDatabase;
let app: Kysely<CryptoDatabase>;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'subjects');
  app = connect(database.appUrl);
});

afterAll(async () => {
  await app.destroy();
  await database.close();
});

function keyringOver(store: KeyStore): Keyring {
  return createKeyring({
    app: 'test',
    kms: [localKms({ keks: { main: KEK } })],
    store,
    kekFor: () => 'local:main',
  });
}

interface Stores {
  readonly keys: KeyStore;
  readonly subjects: SubjectKeyStore;
}

describe.each<[string, () => Stores]>([
  [
    'in memory',
    () => {
      const keys = memoryKeyStore();
      return { keys, subjects: memorySubjectKeyStore(keys) };
    },
  ],
  ['on PostgreSQL', () => ({ keys: postgresKeyStore(app), subjects: postgresSubjectKeyStore(app) })],
])('the store of subject keys %s', (_, make) => {
  async function fresh() {
    const { keys, subjects } = make();
    const org = anyOrg();
    const keyring = keyringOver(keys);
    await keyring.createOrg(org);
    const dekKeyId = (await keyring.org(org)).activeKeyId;
    const record = (subject: string): SubjectKeyRecord => ({
      org,
      subject,
      keyId: randomBytes(16).toString('hex'),
      dekKeyId,
      wrapped: Uint8Array.from(randomBytes(122)),
      createdAt: 1_700_000_000_000,
    });
    return { keys, subjects, org, keyring, dekKeyId, record };
  }

  it('keeps the first key of a subject and answers later inserts with it', async () => {
    const { subjects, org, record } = await fresh();
    const first = record('a');
    expect(await subjects.insert(first)).toEqual(first);
    expect(await subjects.insert(record('a'))).toEqual(first);
    expect(await subjects.load(org, 'a')).toEqual(first);
    expect(await subjects.loadByKeyId(org, first.keyId)).toEqual(first);
    expect(await subjects.load(org, 'b')).toBeUndefined();
    expect(await subjects.load(anyOrg(), 'a')).toBeUndefined();
  });

  it('keeps an erased subject erased', async () => {
    const { subjects, org, record, dekKeyId } = await fresh();
    const first = record('a');
    await subjects.insert(first);
    const tombstone = { org, subject: 'a', keyId: first.keyId, erasedAt: 1_700_000_001_000 };
    expect(await subjects.erase(org, 'a', 1_700_000_001_000)).toEqual(tombstone);
    expect(await subjects.erase(org, 'a', 1_700_000_009_000)).toEqual(tombstone);
    expect(await subjects.insert(record('a'))).toEqual(tombstone);
    const { keyId } = first;
    const again = { subject: 'a', keyId, fromDekKeyId: dekKeyId, dekKeyId, wrapped: first.wrapped };
    expect(await subjects.replaceWraps(org, [again])).toBe(0);
    expect(await subjects.load(org, 'a')).toEqual(tombstone);
    expect(await subjects.count(org, dekKeyId)).toBe(0);
  });

  it('lists and counts living keys by version, in byte order', async () => {
    const { subjects, org, record, dekKeyId } = await fresh();
    for (const subject of ['b', 'B', 'ä', 'a', 'c']) await subjects.insert(record(subject));
    await subjects.erase(org, 'c', 1);
    expect(await subjects.count(org, dekKeyId)).toBe(4);
    const other = '0'.repeat(32);
    const first = await subjects.listOthers(org, other, undefined, 2);
    const rest = await subjects.listOthers(org, other, first.at(-1)?.subject, 9);
    expect([...first, ...rest].map(({ subject }) => subject)).toEqual(['B', 'a', 'b', 'ä']);
    expect(await subjects.listOthers(org, dekKeyId, undefined, 9)).toEqual([]);
  });

  it('refuses a key under a version that is unknown', async () => {
    const { subjects, record } = await fresh();
    const late = subjects.insert({ ...record('a'), dekKeyId: '0'.repeat(32) });
    expect(await codeOfAsync(late)).toBe('crypto.store_conflict');
  });
});

describe('subject keys on PostgreSQL', () => {
  async function worldOf(org: OrgId = anyOrg()) {
    const keys = postgresKeyStore(app);
    const keyring = keyringOver(keys);
    await keyring.createOrg(org);
    const store = postgresSubjectKeyStore(app);
    return { org, keyring, keys, store, subjects: createSubjectKeys({ store }) };
  }

  it('make one key per subject when many processes use it for the first time', async () => {
    const { org, keyring, subjects } = await worldOf();
    const env = { ...process.env, APP_URL: database.appUrl, ORG: org, KEK: KEK.toString('hex') };
    const child = fileURLToPath(new URL('./subjects-child.ts', import.meta.url));
    const runs = await Promise.all(
      Array.from({ length: 4 }, () =>
        promisify(execFile)(process.execPath, [`--conditions=${CONDITION}`, child], { env }),
      ),
    );
    const made = runs.map(({ stdout }) => JSON.parse(stdout) as [string, string][]);
    const orgKeys = await keyring.org(org);
    for (let i = 0; i < 20; i += 1) {
      const keys = await subjects.of(orgKeys, `employee-${i}`);
      expect(new Set(made.map((one) => one[i]?.[0]))).toEqual(new Set([keys.keyId]));
      for (const one of made) expect(keys.openText(CELL, one[i]?.[1] ?? '')).toMatch(/^\d+$/);
    }
  });

  it('leave an erased row without key bytes that nobody can fill or delete again', async () => {
    const { org, keyring, subjects, store } = await worldOf();
    await subjects.of(await keyring.org(org), 'employee-1');
    const before = await store.load(org, 'employee-1');
    await subjects.erase(org, 'employee-1');
    const { rows } = await sql`
      select * from crypto.subject_key where org_id = ${org} and subject_id = 'employee-1'`.execute(
      database.db,
    );
    expect(rows[0]).toMatchObject({ wrapped: null, dek_key_id: null });
    if (before === undefined || 'erasedAt' in before) throw new Error('no key');
    const dek = Buffer.from(before.dekKeyId, 'hex');
    const revive = sql`
      update crypto.subject_key set erased_at = null, dek_key_id = ${dek}, wrapped = ${Buffer.from(before.wrapped)}
      where org_id = ${org}`;
    await expect(revive.execute(database.db)).rejects.toThrow('stays erased');
    await expect(sql`delete from crypto.subject_key where org_id = ${org}`.execute(app)).rejects.toThrow(
      'permission denied',
    );
    await expect(
      sql`update crypto.subject_key set subject_id = 'x' where org_id = ${org}`.execute(app),
    ).rejects.toThrow('permission denied');
  });

  it('stay erased in a restored copy of the data', async () => {
    const { org, keyring, subjects } = await worldOf();
    await sql`create schema shop`.execute(database.db);
    await sql`create table shop.payslip (id text, employee text, iban text)`.execute(database.db);
    const orgKeys = await keyring.org(org);
    for (const employee of ['employee-1', 'employee-2']) {
      const sealed = (await subjects.of(orgKeys, employee)).sealText(CELL, `iban of ${employee}`);
      await sql`insert into shop.payslip values ('row-1', ${employee}, ${sealed})`.execute(database.db);
    }
    await sql`create schema restored`.execute(database.db);
    await sql`create table restored.payslip as table shop.payslip`.execute(database.db);
    await subjects.erase(org, 'employee-1');
    const { rows } = await sql<{ employee: string; iban: string }>`
      select employee, iban from restored.payslip order by employee`.execute(database.db);
    const readAll = rows.map(async ({ employee, iban }) =>
      (await subjects.of(orgKeys, employee)).openText(CELL, iban),
    );
    const [hers, his] = await Promise.allSettled(readAll);
    expect(hers).toMatchObject({ status: 'rejected', reason: { code: 'crypto.key_shredded' } });
    expect(his).toEqual({ status: 'fulfilled', value: 'iban of employee-2' });
    // Nor does the key of another living subject, put in its place, open what is restored.
    const ben = await subjects.of(orgKeys, 'employee-2');
    expect(codeOf(() => ben.openText(CELL, rows[0]?.iban ?? ''))).toBe('crypto.unknown_key_version');
  });

  it('win or lose against an erasure at the same time, and never survive it', async () => {
    const { org, keyring, store } = await worldOf();
    const orgKeys = await keyring.org(org);
    const names = Array.from({ length: 20 }, (_, i) => `employee-${i}`);
    await Promise.all(
      names.flatMap((name) => [
        codeOfAsync(createSubjectKeys({ store }).of(orgKeys, name)),
        createSubjectKeys({ store }).erase(org, name),
        codeOfAsync(createSubjectKeys({ store }).of(orgKeys, name)),
      ]),
    );
    for (const name of names) {
      expect(await codeOfAsync(createSubjectKeys({ store }).of(orgKeys, name))).toBe('crypto.key_shredded');
    }
    expect(await store.count(org, orgKeys.activeKeyId)).toBe(0);
  });

  it('keep their version from being retired, by the counter and by the database', async () => {
    const { org, keyring, keys, subjects, store } = await worldOf();
    const before = await keyring.org(org);
    await subjects.of(before, 'employee-1');
    let now = Date.now();
    const operations = createKeyOperations({
      app: 'test',
      kms: [localKms({ keks: { main: KEK } })],
      store: keys,
      kekFor: () => 'local:main',
      now: () => now,
    });
    await operations.rotate(org);
    now += 3_600_000;
    const { activeKeyId } = before;
    const retire = (references: Parameters<typeof operations.retire>[2]) =>
      codeOfAsync(operations.retire(org, activeKeyId, references));
    expect(await retire([subjects.references])).toBe('crypto.still_referenced');
    expect(await retire([{ name: 'forgot the subjects', count: async () => 0 }])).toBe(
      'crypto.still_referenced',
    );
    keyring.revoke(org);
    expect(await subjects.rewrap(() => keyring.org(org))).toMatchObject({ rewrapped: 1, complete: true });
    expect(await retire([subjects.references])).toBe('did not reject');
    const late = store.insert({
      org,
      subject: 'employee-2',
      keyId: randomBytes(16).toString('hex'),
      dekKeyId: activeKeyId,
      wrapped: Uint8Array.from(randomBytes(122)),
      createdAt: 0,
    });
    expect(await codeOfAsync(late)).toBe('crypto.store_conflict');
  });
});
