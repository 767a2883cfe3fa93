/** The migrations: names that are not plain, other owners, other contexts, and no role beside the app's. */
import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { parseOrgId } from '../src/index.ts';
import { authzKyselyMigrations, authzMigrations } from '../src/migrations.ts';
import { postgresApiKeyStore, settingContext } from '../src/postgres/index.ts';
import { keyStoreCases } from '../src/testing/index.ts';
import { KeyDatabase, login, refusalOf } from './postgres-fixture.ts';

const drops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const drop of drops.splice(0).toReversed()) await drop();
});
const [roundTrip] = keyStoreCases();

test('refuse names that are not plain', () => {
  for (const options of [
    { appRole: 'app"; drop schema authz; --' },
    { appRole: 'app', systemRole: '' },
    { appRole: 'app', ownerRole: 'Owner' },
    { appRole: 'app', org: 'tenancy.org_id(); drop schema authz; --()' },
    { appRole: 'app', org: "current_setting('x')" },
    { appRole: 'app', org: 'org_id()' },
    { appRole: undefined as never },
    { appRole: 'app', ownerRole: 'app' },
    { appRole: 'app', systemRole: 'app' },
    { appRole: 'app', systemRole: 'one', ownerRole: 'one' },
  ])
    expect(() => authzMigrations(options)).toThrow(TypeError);
});

test('give a schema of its own owner the functions of that owner, who needs no login', async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'authz_owner');
  drops.push(() => database.drop());
  const ownerRole = `authz_${randomBytes(4).toString('hex')}`;
  const superuser = login(database.superuserUrl);
  drops.push(() => superuser.destroy());
  await sql
    .raw(`create role ${ownerRole} nologin; grant ${ownerRole} to ${database.owner}`)
    .execute(superuser);
  drops.push(async () => {
    await sql.raw(`drop owned by ${ownerRole} cascade; drop role ${ownerRole}`).execute(superuser);
  });
  const owner = login(database.ownerUrl);
  drops.push(() => owner.destroy());
  const migrations = authzKyselyMigrations({ appRole: database.app, systemRole: database.keys, ownerRole });
  const provider: MigrationProvider = { getMigrations: async () => migrations };
  const { error } = await new Migrator({ db: owner, provider }).migrateToLatest();
  expect(error).toBeUndefined();
  const { rows } = await sql`
    select distinct pg_get_userbyid(proowner) as owner from pg_proc where pronamespace = 'authz'::regnamespace
    union select pg_get_userbyid(relowner) from pg_class where relnamespace = 'authz'::regnamespace
    union select current_user`.execute(owner);
  expect(rows.map((row) => (row as { owner: string }).owner).toSorted()).toEqual(
    [ownerRole, database.owner].toSorted(), // and the migrator's role is its own again
  );
  const [app, system] = [login(database.appUrl), login(database.keysUrl)];
  drops.push(async () => void (await Promise.all([app.destroy(), system.destroy()])));
  await roundTrip?.run(postgresApiKeyStore({ db: system, inOrg: settingContext(app) }));
});

test('without a role beside it let the app find keys, and nobody revoke everywhere or read revocations', async () => {
  const db = await KeyDatabase.create('authz_alone', { systemRole: undefined as never });
  drops.push(() => db.drop());
  const store = postgresApiKeyStore({ db: db.app, inOrg: settingContext(db.app) });
  await roundTrip?.run(store);
  expect(await refusalOf(store.revoke({ kind: 'everywhere' }, 0))).toBe('42501');
  expect(await refusalOf(sql`select authz.read_revocations('0')`.execute(db.app))).toBe('42501');
});

describe('the context of an organisation', () => {
  test('is what the call says that the migration was given', async () => {
    const database = await createTestDatabase(inject('databaseUrl'), 'authz_context');
    drops.push(() => database.drop());
    const owner = login(database.ownerUrl);
    const app = login(database.appUrl);
    drops.push(async () => void (await Promise.all([owner.destroy(), app.destroy()])));
    await sql
      .raw(`create schema shop; grant usage on schema shop to ${database.app};
        create function shop.tenant() returns uuid language sql stable
        return nullif(current_setting('shop.tenant', true), '')::uuid`)
      .execute(owner);
    const [first] = authzMigrations({ appRole: database.app, org: 'shop.tenant()' });
    await owner.transaction().execute((trx) => sql.raw(first?.up ?? '').execute(trx));
    const org = parseOrgId(randomUUID());
    const store = postgresApiKeyStore({
      db: app,
      inOrg: async (of, work) =>
        await app.transaction().execute(async (trx) => {
          await sql`select set_config('shop.tenant', ${of}, true)`.execute(trx);
          return await work(trx);
        }),
    });
    await roundTrip?.run(store);
    // The setting of the default context is nobody's here; and a context that is null is none.
    const wrong = postgresApiKeyStore({ db: app, inOrg: settingContext(app) });
    expect(await refusalOf(wrong.list(org))).toBe('42501 authz.other_org');
  });
});
