/** The guide docs/break-glass.md, run: each of its TypeScript blocks is a region of this file, its SQL is executed. */
// #region imports
import {
  type BreakGlassAudit,
  breakGlass,
  breakGlassPolicies,
  createBreakGlassIssuer,
  revokeBreakGlass,
} from '@ringfence/tenancy/break-glass';
import { breakGlassMigrations, installBreakGlassKey } from '@ringfence/tenancy/migrations';
// #endregion

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sql } from 'kysely';
import pg from 'pg';
import { expect, inject, test } from 'vitest';
import { onlyFence, snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { tenancyMigrations } from '../src/migrations/index.ts';
import { checked, orgTablePolicy } from '../src/policies/index.ts';
import { codeOf, kyselyOf, ORG_A, ORG_B } from './fixture.ts';

interface Database {
  'ledger.entry': { org_id: string; id: string; status: string };
}

const page = new URL('../../../docs/break-glass.md', import.meta.url);

test('the guide does what it says', async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'guide');
  const superuser = kyselyOf<unknown>(database.superuserUrl, 1);
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const key = { id: 'bg1', secret: new Uint8Array(randomBytes(32)) };
  const url = new URL(database.appUrl);
  url.username = 'break_glass';
  await sql
    .raw(`create role break_glass login nosuperuser nobypassrls password '${url.password}';
      grant connect on database "${url.pathname.slice(1)}" to break_glass`)
    .execute(superuser);
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true }))
    await sql.raw(up).execute(owner);
  const schema = checked({ appRole: database.app, org: { 'ledger.entry': { key: ['id'] } } });
  await sql
    .raw(`create schema ledger; create schema ops; grant usage on schema ops to break_glass;
      create table ledger.entry (org_id uuid, id text, status text, primary key (org_id, id));
      ${orgTablePolicy({ table: 'ledger.entry', appRole: database.app })}
      create table ops.trail (org_id uuid, actor text, token_id uuid, record jsonb);
      grant insert on ops.trail to break_glass`)
    .execute(owner);
  await sql
    .raw(`insert into ledger.entry values ('${ORG_A}', 'e1', 'open'), ('${ORG_B}', 'e2', 'open')`)
    .execute(superuser);

  // #region migrate
  for (const { up } of breakGlassMigrations({ role: 'break_glass' })) await sql.raw(up).execute(owner);
  await sql.raw(breakGlassPolicies(schema, { role: 'break_glass', write: ['ledger.entry'] })).execute(owner);
  await installBreakGlassKey(owner, key);
  // #endregion

  const org = ORG_A;
  // #region issue
  const issuer = createBreakGlassIssuer({ key, maxLifetimeMs: 900_000 });
  const { token, tokenId, expiresAtMs } = issuer.issue({
    org,
    actor: 'operator:grace',
    approvedBy: 'operator:ada', // another person than the actor, or left out
    reason: 'invoice import fails for this customer only',
    ticket: 'INC-4711',
    lifetimeMs: 900_000,
  });
  // #endregion
  expect(expiresAtMs).toBeGreaterThan(Date.now());

  // #region audit
  const audit: BreakGlassAudit<Database> = {
    record: async (trx, record) => {
      const text = JSON.stringify(record);
      await sql`
        insert into ops.trail (org_id, actor, token_id, record)
        select org_id, actor, request_id::uuid, ${text} from tenancy.break_glass_context()`.execute(trx);
    },
  };
  // #endregion

  const pool = new pg.Pool({ connectionString: url.href, max: 1 });
  // #region use
  const emergency = breakGlass<Database>({ pool, audit });
  const entries = await emergency.session(token, (db) =>
    db.selectFrom('ledger.entry').select(['id', 'status']).execute(),
  );
  // #endregion
  expect(entries).toEqual([{ id: 'e1', status: 'open' }]);

  const missing = onlyFence(readFileSync(page, 'utf8'), 'sql');
  expect((await sql.raw(missing).execute(owner)).rows).toEqual([]);
  const past = issuer.issue({
    org,
    actor: 'operator:eve',
    reason: 'past the tool',
    ticket: 'none',
    lifetimeMs: 60_000,
  });
  await pool.query('select from tenancy.open_break_glass($1)', [past.token]);
  expect((await sql.raw(missing).execute(owner)).rows).toMatchObject([
    { token_id: past.tokenId, actor: 'operator:eve', reason: 'past the tool', login: 'break_glass' },
  ]);

  // #region revoke
  await revokeBreakGlass(owner, tokenId);
  // #endregion
  expect(await codeOf(emergency.session(token, async () => {}))).toBe('tenancy.break_glass_revoked');

  // A person on call revokes without being the owner.
  await sql
    .raw(`grant usage on schema tenancy to ${database.keys};
      grant execute on function tenancy.revoke_break_glass(uuid) to ${database.keys}`)
    .execute(owner);
  const onCall = kyselyOf<unknown>(database.keysUrl, 1);
  await revokeBreakGlass(onCall, past.tokenId);
  await onCall.destroy();

  await pool.end();
  await owner.destroy();
  await sql.raw('drop owned by break_glass; drop role break_glass').execute(superuser);
  await superuser.destroy();
  await database.drop();
});

test('the TypeScript of the guide is the code that runs here', () => {
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});
