/** The page docs/authz-postgres.md: its code is this code, and it does what the page says on PostgreSQL. */
// #region revocations_imports
import { Revocations } from '@ringfence/authz/session';
// #endregion

// #region list_imports
import { whereFilter } from '@ringfence/authz/kysely';
// #endregion

import { createSecretKey, randomBytes } from 'node:crypto';
// #region imports
import { authzMigrations } from '@ringfence/authz/migrations';
import {
  postgresApiKeyStore,
  postgresCredentialStore,
  postgresRevocations,
  settingContext,
} from '@ringfence/authz/postgres';
// #endregion
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import type { OrgId } from '../src/index.ts';
import { type ApiKeys, createApiKeys } from '../src/keys/index.ts';
import { FEED, KeyWorld, type keyResources } from './keys-fixture.ts';
import { ORG_A, TestIssuer } from './session-fixture.ts';

type Keys = ApiKeys<typeof keyResources>;

// #region migrate
export async function migrate(owner: pg.Client, appRole: string, systemRole: string): Promise<void> {
  for (const { up } of authzMigrations({ appRole, systemRole })) {
    await owner.query('begin');
    await owner.query(up);
    await owner.query('commit');
  }
}
// #endregion

// #region stores
export function stores(app: Kysely<unknown>, system: Kysely<unknown>) {
  const inOrg = settingContext(app);
  return {
    keys: postgresApiKeyStore({ db: system, inOrg }),
    credentials: postgresCredentialStore({ inOrg }),
  };
}
// #endregion

// #region revocations
export async function followedRevocations(system: Kysely<unknown>, systemUrl: string) {
  const feed = postgresRevocations({
    db: system,
    connect: async () => {
      const client = new pg.Client({ connectionString: systemUrl });
      await client.connect();
      return client;
    },
    onError: (error) => console.error(error.code),
  });
  const revocations = new Revocations({ publish: feed.publish });
  const stop = await feed.follow(revocations);
  return { revocations, stop };
}
// #endregion

// #region list
export async function entriesOf(
  keys: Keys,
  bearer: string,
  db: Kysely<{ entry: { id: string; org_id: string; amount: number } }>,
) {
  const access = await keys.admit(bearer);
  const columns = { org: 'org_id', amountCents: 'amount', createdBy: 'created_by', locked: 'locked' };
  const filter = access.filter('entry.post', columns);
  if (!filter.possible) return [];
  return await db.selectFrom('entry').select(['id', 'amount']).where(whereFilter(filter)).execute();
}
// #endregion

// #region suspend
export async function suspend(keys: Keys, revocations: Revocations, org: OrgId): Promise<number> {
  await revocations.revokeOrg(org); // people have to sign in again; the directory no longer admits them
  return await keys.revoke({ kind: 'org', org }); // keys have ended for good
}
// #endregion

let database: TestDatabase;
let issuer: TestIssuer;
beforeAll(async () => {
  [database, issuer] = await Promise.all([
    createTestDatabase(inject('databaseUrl'), 'authz_guide'),
    TestIssuer.start(),
  ]);
});
afterAll(async () => {
  await issuer?.close();
  await database?.drop();
});

test('the page shows code that compiles', () => {
  const page = new URL('../../../docs/authz-postgres.md', import.meta.url);
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});

test('the code of the page does what the page says', async () => {
  const kysely = <DB>(connectionString: string): Kysely<DB> =>
    new Kysely<DB>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString, max: 4 }) }) });
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  const app = kysely<unknown>(database.appUrl);
  const system = kysely<unknown>(database.keysUrl);
  const tables = kysely<{ entry: { id: string; org_id: string; amount: number } }>(database.ownerUrl);
  await migrate(owner, database.app, database.keys);
  await owner.query(`create table entry (id text, org_id uuid, amount bigint, created_by text, locked boolean);
    insert into entry values ('small', '${ORG_A}', 500, 'user:bob', false), ('large', '${ORG_A}', 5000, 'user:bob', false)`);
  const { revocations, stop } = await followedRevocations(system, database.keysUrl);
  const elsewhere = await followedRevocations(system, database.keysUrl);
  const world = new KeyWorld(issuer);
  const of = (register: Revocations): Keys =>
    createApiKeys({
      prefix: 'ldg',
      type: 'live',
      peppers: { current: 'p1', keys: { p1: createSecretKey(Buffer.alloc(32, 7)) } },
      policy: () => world.policy,
      directory: world.directory,
      store: stores(app, system).keys,
      revocations: register,
      ...world.clock,
    });
  const keys = of(revocations);
  const other = of(elsewhere.revocations);
  const creation = await world.creation('olga', { scope: FEED, requestId: randomBytes(8).toString('hex') });
  const bearer = (await keys.create(creation)).key.reveal();
  expect(await entriesOf(other, bearer, tables)).toMatchObject([{ id: 'small' }]);
  expect(await suspend(keys, revocations, ORG_A)).toBe(1);
  await vi.waitFor(
    async () => await expect(other.admit(bearer)).rejects.toMatchObject({ reason: 'revoked' }),
    { timeout: 20_000 },
  );
  await Promise.all([
    stop(),
    elsewhere.stop(),
    owner.end(),
    app.destroy(),
    system.destroy(),
    tables.destroy(),
  ]);
});
