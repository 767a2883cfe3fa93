/** The guide docs/audit-erasure.md, run against the subject keys of @ringfence/crypto. */

// #region imports
import { createAudit, defineEvents } from '@ringfence/audit';
import { createPersonalAudit, type SubjectSealer } from '@ringfence/audit/personal';
import { verifyDisclosure } from '@ringfence/audit/verify';
import { z } from 'zod';
// #endregion

import { createTenancy } from '@ringfence/tenancy';
import { tenancyMigrations } from '@ringfence/tenancy/migrations';
import { sql } from 'kysely';
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { createKeyring } from '../../crypto/src/index.ts';
import { postgresSubjectKeyStore } from '../../crypto/src/postgres/index.ts';
import { createSubjectKeys } from '../../crypto/src/subjects/index.ts';
import { keks, keyDatabase } from '../../crypto/test/operations-setup.ts';
import { auditMigrations } from '../src/migrations.ts';
import { errorOf, kyselyOf, ORG_A, type Tables } from './fixture.ts';

it('the guide does what it says', async () => {
  const keyStore = await keyDatabase(inject('databaseUrl'), 'audit_keys');
  const database = await createTestDatabase(inject('databaseUrl'), 'audit_guide');
  const owner = kyselyOf<Tables>(database.ownerUrl, 1);
  const appRole = database.app;
  for (const { up } of tenancyMigrations({ appRole, signedContext: false })) await sql.raw(up).execute(owner);
  for (const { up } of auditMigrations({ appRole, context: 'tenancy.context()' })) {
    await sql.raw(up).execute(owner);
  }
  const pool = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  pool.on('error', () => {});
  const sealing = kyselyOf<Tables>(database.appUrl, 1);
  const keyring = createKeyring({
    app: 'payroll',
    kms: [keks('platform')],
    store: keyStore.store,
    kekFor: () => 'local:platform',
  });
  const subjectKeys = createSubjectKeys({ store: postgresSubjectKeyStore(keyStore.db) });
  const org = ORG_A;
  await keyring.createOrg(org);
  const db = createTenancy<Tables>({ pool }).forOrg(org, { actor: 'user:dpo' });
  const member = { id: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a77' };

  // #region catalogue
  const events = defineEvents({
    'member.invited': {
      target: 'member',
      data: z.object({ email: z.string(), role: z.string() }),
      personal: ['data.email', 'changes.phone', 'note'],
    },
    'login.succeeded': {},
  });
  // #endregion

  // #region keys
  const subjects: SubjectSealer = {
    seal: async (org, subject, plaintext, cell) =>
      (await subjectKeys.of(await keyring.org(org), subject)).seal(cell, plaintext),
    open: async (org, subject, ciphertext, cell) =>
      (await subjectKeys.of(await keyring.org(org), subject)).open(cell, ciphertext),
    erase: (org, subject) => subjectKeys.erase(org, subject),
  };
  const audit = createAudit({ events, db: sealing });
  const personal = createPersonalAudit({ events, audit, subjects });
  // #endregion

  // #region record
  const receipt = await personal.prepare(org, 'member.invited', {
    subject: member.id,
    target: member.id,
    outcome: 'success',
    data: { email: 'ada@example.org', role: 'auditor' },
    before: { phone: '+49 30 1' },
    after: { phone: '+49 30 2' },
  });
  const appended = await db.transaction().execute((trx) => trx.executeQuery(receipt.query));
  await audit.sealed(receipt, appended);
  // #endregion

  const { rows } = await sql<{ canon: string }>`select canon from audit.event`.execute(db);
  const record = rows[0]?.canon ?? '';
  expect(record).not.toContain('ada@');
  expect(record).not.toContain('+49');

  // #region disclose
  const disclosure = await personal.reveal(db, org, receipt.id, 'data.email');
  const holds = verifyDisclosure(record, disclosure); // the auditor's side, also in a browser
  // #endregion
  expect(disclosure.value).toBe('ada@example.org');
  expect(holds).toBe(true);
  expect(await personal.reveal(db, org, receipt.id, 'changes.phone')).toMatchObject({
    value: { from: '+49 30 1', to: '+49 30 2' },
  });
  const { head } = await audit.verify(db, org);

  // #region erase
  const erasure = await personal.erase(db, org, member.id);
  // #endregion
  expect(erasure).toMatchObject({ removed: 2, orgSeq: 2 });

  // #region resume
  for (const subject of await personal.unfinished(db, org)) await personal.erase(db, org, subject);
  // #endregion
  expect(await personal.unfinished(db, org)).toEqual([]);
  expect(await errorOf(personal.reveal(db, org, receipt.id, 'data.email'))).toMatchObject({
    code: 'audit.subject_erased',
  });
  expect(await errorOf(keyring.org(org).then((keys) => subjectKeys.of(keys, member.id)))).toMatchObject({
    code: 'crypto.key_shredded',
  });
  expect(await audit.verify(db, org, { expectedHead: head })).toMatchObject({ ok: true, checked: 2 });
  expect(verifyDisclosure(record, disclosure)).toBe(true);
  await Promise.all([pool.end(), sealing.destroy(), owner.destroy(), keyring.close()]);
  await Promise.all([database.drop(), keyStore.close()]);
});

it('every TypeScript block of the guide is a region of this file', () => {
  const guide = new URL('../../../docs/audit-erasure.md', import.meta.url);
  expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
});
