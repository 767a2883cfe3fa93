/** The guide docs/key-operations.md, run: each of its TypeScript blocks is a region of this file, its SQL is executed. */

// #region imports
import {
  blindIndexCounter,
  createKeyOperations,
  orgsWithKeys,
  sealedColumnCounter,
  sweepColumn,
} from '@ringfence/crypto/operations';
import { postgresKeyStore } from '@ringfence/crypto/postgres';
// #endregion

import { readFileSync } from 'node:fs';
import { sql } from 'kysely';
import pg from 'pg';
import { expect, inject, it, vi } from 'vitest';
import { fencesOf, snippetDrift } from '../../../tools/doc-snippets.ts';
import { createKeyring, keyIdOfMessage, type OrgId } from '../src/index.ts';
import { postgresRevocations } from '../src/postgres/index.ts';
import { anyOrg, connect, keks, keyDatabase } from './operations-setup.ts';

const page = new URL('../../../docs/key-operations.md', import.meta.url);

it('the guide does what it says', async () => {
  const database = await keyDatabase(inject('databaseUrl'), 'operations_guide', 'operator');
  const operatorDb = connect(database.appUrl);
  const db = database.db;
  await sql
    .raw(`create schema ledger; create table ledger.entry
      (org_id uuid, id uuid primary key, memo text, scan bytea, bank_reference_index text)`)
    .execute(db);
  const kms = [keks('platform', 'next')];
  let kek = 'local:platform';
  const kekFor = () => kek;
  const revocations = postgresRevocations({
    connect: async () => {
      const client = new pg.Client({ connectionString: database.appUrl });
      client.on('error', () => {}); // the server may be stopped while this session ends
      await client.connect();
      return client;
    },
  });

  // #region create
  const operations = createKeyOperations({
    app: 'ledger',
    kms,
    store: postgresKeyStore(operatorDb),
    kekFor,
    revocations,
  });
  // #endregion

  const keyring = createKeyring({ app: 'ledger', kms, store: database.store, kekFor, revocations });
  const org = anyOrg();
  const row = anyOrg();
  await keyring.createOrg(org);
  const before = await keyring.org(org);
  const keyId = before.activeKeyId;
  const cell = { table: 'ledger.entry', column: 'memo', row };
  await sql`insert into ledger.entry (org_id, id, memo) values (${org}, ${row}, ${before.sealText(cell, 'x')})`.execute(
    db,
  );
  const objects = [before.seal({ ...cell, column: 'attachment' }, new Uint8Array(1))];
  const countObjectsUnder = async (_: OrgId, key: string) =>
    objects.filter((object) => keyIdOfMessage(object) === key).length;

  await operations.rotate(org);
  await vi.waitFor(async () => expect((await keyring.org(org)).activeKeyId).not.toBe(keyId));
  // #region sweep
  await sweepColumn({
    db,
    table: 'ledger.entry',
    column: 'memo',
    rowColumn: 'id',
    orgColumn: 'org_id',
    keys: () => keyring.org(org),
    ratePerSecond: 500,
  });
  // #endregion

  const retire = async () => {
    // #region retire
    await operations.retire(org, keyId, [
      sealedColumnCounter(db, 'ledger.entry', 'memo'),
      blindIndexCounter(db, 'ledger.entry', 'bank_reference_index'),
      { name: 'attachments', count: (org, keyId) => countObjectsUnder(org, keyId) },
    ]);
    // #endregion
  };
  await expect(retire()).rejects.toMatchObject({ code: 'crypto.retirement_too_early' });
  vi.setSystemTime(Date.now() + 360_000); // the longest lease, and one minute for clocks
  try {
    await expect(retire()).rejects.toMatchObject({
      code: 'crypto.still_referenced',
      counter: 'attachments',
      count: 1,
    });
    objects.length = 0;
    await retire();
  } finally {
    vi.useRealTimers();
  }
  expect((await database.store.load(org)).map(({ state }) => state)).toEqual(['retired', 'active']);

  const old = kek;
  kek = 'local:next';
  // #region change
  await operations.rewrapAll({ orgs: orgsWithKeys(db, { under: old }), from: old });
  // #endregion
  const underOld = [];
  for await (const one of orgsWithKeys(db, { under: old })) underOld.push(one);
  expect(underOld).toEqual([]);
  expect((await operations.status(org)).keks.map(({ kekUri }) => kekUri)).toEqual(['local:next']);

  const statements = fencesOf(readFileSync(page, 'utf8')).filter(({ language }) => language === 'sql');
  expect(statements).toHaveLength(1);
  for (const { code } of statements) await sql.raw(code).execute(db);
  await keyring.close();
  await operatorDb.destroy();
  await database.close();
});

it('every TypeScript block of the guide is a region of this file', () => {
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});
