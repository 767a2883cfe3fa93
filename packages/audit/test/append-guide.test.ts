/** The page docs/audit-append.md shows code that compiles and does what the page says. */
// #region imports
import { atCommit } from '@ringfence/tenancy';
// #endregion

import { createTenancy, type OrgDb } from '@ringfence/tenancy';
import { installContextKey, tenancyMigrations } from '@ringfence/tenancy/migrations';
import { type Kysely, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { type Audit, createAudit, type SealedEvent } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { events, kyselyOf, ORG_A, ORG_B, type Tables } from './fixture.ts';

const PAGE = new URL('../../../docs/audit-append.md', import.meta.url);

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'append_guide');
});
afterAll(() => database.drop());

async function approve(audit: Audit<typeof events>, db: OrgDb<Tables>, id: string): Promise<SealedEvent> {
  // #region transaction
  const receipt = audit.prepare('entry.approved', { target: id, outcome: 'success' });
  const queued = await db.transaction().execute(async (trx) => {
    await trx.updateTable('app.entry').set({ status: 'approved' }).where('id', '=', id).execute();
    return await atCommit(trx, receipt.query); // the last statement, in the flight of COMMIT
  });
  const place = await audit.sealed(receipt, await queued.result);
  // #endregion
  return place;
}

function logins(
  audit: Audit<typeof events>,
  alice: OrgDb<Tables>,
  bob: OrgDb<Tables>,
): Promise<SealedEvent[]> {
  // #region record
  const sealed = Promise.all([
    audit.record(alice, 'login.succeeded', { outcome: 'success' }),
    audit.record(bob, 'login.succeeded', { outcome: 'denied', reason: 'wrong password' }),
  ]);
  // #endregion
  return sealed;
}

function guard(
  audit: Audit<typeof events>,
  signal: AbortSignal,
  log: (message: string) => void,
): Promise<void> {
  // #region sealing
  const sealing = audit.keepSealed({
    signal,
    onUnsealed: ({ pending, oldestPendingAgeMs }) =>
      log(`${pending} unsealed, oldest ${oldestPendingAgeMs} ms`),
    onError: (error) => log(String(error)),
  });
  // #endregion
  return sealing;
}

test('shows code that compiles', () => {
  expect(snippetDrift(PAGE, [new URL(import.meta.url)])).toEqual([]);
});

test('does what the page says', async () => {
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const own = kyselyOf<Tables>(database.appUrl, 2);
  const pool = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  const contextKey = { id: 'k1', secret: new Uint8Array(32).fill(7) };
  const { app: appRole } = database;
  for (const { up } of tenancyMigrations({ appRole, signedContext: true })) await sql.raw(up).execute(owner);
  for (const { up } of auditMigrations({ appRole, context: 'tenancy.context()' }))
    await sql.raw(up).execute(owner);
  await installContextKey(owner as Kysely<unknown>, contextKey);
  await sql
    .raw(`create schema app; grant usage on schema app to ${appRole};
      create table app.entry (id text primary key, status text not null);
      insert into app.entry values ('e1', 'draft'); grant select, update on app.entry to ${appRole};`)
    .execute(owner);
  const tenancy = createTenancy<Tables>({ pool, contextKey });
  const alice = tenancy.forOrg(ORG_A, { actor: 'user:alice' });
  const bob = tenancy.forOrg(ORG_B, { actor: 'user:bob' });
  const audit = createAudit({ events, db: own });
  const stop = new AbortController();
  const told: string[] = [];
  const sealing = guard(audit, stop.signal, (message) => told.push(message));
  expect(await approve(audit, alice, 'e1')).toMatchObject({ orgSeq: 1 });
  expect(await logins(audit, alice, bob)).toMatchObject([{ orgSeq: 2 }, { orgSeq: 1 }]);
  stop.abort();
  await sealing;
  expect(told).toEqual([]);
  for (const [org, db, checked] of [
    [ORG_A, alice, 2],
    [ORG_B, bob, 1],
  ] as const)
    expect(await audit.verify(db, org)).toMatchObject({ ok: true, checked });
  await Promise.all([own.destroy(), owner.destroy(), pool.end()]);
});
