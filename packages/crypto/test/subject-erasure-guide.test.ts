/** The guide docs/subject-erasure.md, run: each of its TypeScript blocks is a region of this file. */

// #region imports
import { postgresSubjectKeyStore } from '@ringfence/crypto/postgres';
import { createSubjectKeys } from '@ringfence/crypto/subjects';
// #endregion

import pg from 'pg';
import { expect, inject, it, vi } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { createKeyring } from '../src/index.ts';
import { createKeyOperations, type ReferenceCounter } from '../src/operations/index.ts';
import { postgresRevocations } from '../src/postgres/index.ts';
import { isIntactErasureCertificate, type SubjectRewrapProgress } from '../src/subjects/index.ts';
import { codeOf, codeOfAsync } from './keyring-setup.ts';
import { anyOrg, keks, keyDatabase } from './operations-setup.ts';

it('the guide does what it says', async () => {
  const database = await keyDatabase(inject('databaseUrl'), 'erasure_guide');
  const { db, store } = database;
  const kms = [keks('platform')];
  const kekFor = () => 'local:platform';
  const revocations = postgresRevocations({
    connect: async () => {
      const client = new pg.Client({ connectionString: database.appUrl });
      client.on('error', () => {}); // the server may be stopped while this session ends
      await client.connect();
      return client;
    },
  });
  const keyring = createKeyring({ app: 'payroll', kms, store, kekFor, revocations });
  const operations = createKeyOperations({ app: 'payroll', kms, store, kekFor, revocations });
  const org = anyOrg();
  const employee = { id: anyOrg() };
  const payslip = { id: anyOrg() };
  await keyring.createOrg(org);
  const formerKeyId = (await keyring.org(org)).activeKeyId;

  // #region erase
  const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(db), revocations });

  const keys = await subjects.of(await keyring.org(org), employee.id);
  const cell = { table: 'payslip', column: 'iban', row: payslip.id };
  const sealed = keys.sealText(cell, 'DE02120300000000202051');
  const iban = keys.openText(cell, sealed);

  const certificate = await subjects.erase(org, employee.id);
  // #endregion
  expect(iban).toBe('DE02120300000000202051');
  expect(certificate).toMatchObject({ org, subject: employee.id, notified: true });
  expect(isIntactErasureCertificate(certificate)).toBe(true);
  expect(codeOf(() => keys.openText(cell, sealed))).toBe('crypto.key_shredded');
  expect(await codeOfAsync(keyring.org(org).then((leased) => subjects.of(leased, employee.id)))).toBe(
    'crypto.key_shredded',
  );

  await subjects.of(await keyring.org(org), anyOrg()); // another person, who stays
  await operations.rotate(org);
  await vi.waitFor(async () => expect((await keyring.org(org)).activeKeyId).not.toBe(formerKeyId));
  const { signal } = new AbortController();
  const progress: SubjectRewrapProgress[] = [];
  const onProgress = (one: SubjectRewrapProgress) => progress.push(one);
  const otherReferences: ReferenceCounter[] = [];
  vi.setSystemTime(Date.now() + 360_000); // the longest lease, and one minute for clocks
  try {
    expect(await codeOfAsync(operations.retire(org, formerKeyId, [subjects.references]))).toBe(
      'crypto.still_referenced',
    );
    // #region rewrap
    const report = await subjects.rewrap(() => keyring.org(org), { batch: 500, signal, onProgress });
    await operations.retire(org, formerKeyId, [subjects.references, ...otherReferences]);
    // #endregion
    expect(report).toMatchObject({ complete: true, rewrapped: 1, failed: [] });
    expect(progress.at(-1)?.rewrapped).toBe(1);
  } finally {
    vi.useRealTimers();
  }
  await keyring.close();
  await database.close();
});

it('every TypeScript block of the guide is a region of this file', () => {
  const guide = new URL('../../../docs/subject-erasure.md', import.meta.url);
  expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
});
