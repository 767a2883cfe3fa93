/** API keys behind the signed context of the tenancy: the store does what a store must, and nothing in the database is undeclared. */
import { randomBytes } from 'node:crypto';
import { parseOrgId } from '@ringfence/authz';
import { authzMigrations } from '@ringfence/authz/migrations';
import { postgresApiKeyStore } from '@ringfence/authz/postgres';
import { keyStoreCases } from '@ringfence/authz/testing';
import { type ContextKey, createTenancy, type Tenancy } from '@ringfence/tenancy';
import { runDoctor } from '@ringfence/tenancy/doctor';
import { installContextKey, tenancyMigrations } from '@ringfence/tenancy/migrations';
import { declareSchema, differences, readCatalog, type TenancySchema } from '@ringfence/tenancy/policies';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const OTHER = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
const contextKey: ContextKey = { id: 'k1', secret: randomBytes(32) };
const actor = { actor: 'app:keys' };

let database: TestDatabase;
let pools: pg.Pool[];
let owner: Kysely<unknown>;
let system: Kysely<unknown>;
let tenancy: Tenancy<unknown>;

function pool(connectionString: string): pg.Pool {
  const made = new pg.Pool({ connectionString, max: 8 });
  pools.push(made);
  return made;
}

beforeAll(async () => {
  pools = [];
  database = await createTestDatabase(inject('databaseUrl'), 'ledger_keys');
  owner = new Kysely({ dialect: new PostgresDialect({ pool: pool(database.ownerUrl) }) });
  system = new Kysely({ dialect: new PostgresDialect({ pool: pool(database.keysUrl) }) });
  tenancy = createTenancy({ pool: pool(database.appUrl), contextKey });
  for (const { up } of [
    ...tenancyMigrations({ appRole: database.app, signedContext: true }),
    ...authzMigrations({ appRole: database.app, systemRole: database.keys, org: 'tenancy.org_id()' }),
  ])
    await owner.transaction().execute((trx) => sql.raw(up).execute(trx));
  await installContextKey(owner, contextKey);
});
afterAll(async () => {
  await Promise.all(pools.map((each) => each.end()));
  await database?.drop();
});

const store = () =>
  postgresApiKeyStore({ db: system, inOrg: (org, work) => work(tenancy.forOrg(org, actor)) });

describe('the store of API keys through handles of the tenancy', () => {
  for (const { name, run } of keyStoreCases()) test(name, async () => await run(store()));

  test('is refused where the handle is of another organisation than the call', async () => {
    const crossed = postgresApiKeyStore({
      db: system,
      inOrg: (_org, work) => work(tenancy.forOrg(OTHER, actor)),
    });
    await expect(crossed.list(ORG)).rejects.toMatchObject({ code: '42501' });
  });

  test('gives injected SQL no other organisation, whatever context it sets', async () => {
    const injected = tenancy.forOrg(OTHER, actor);
    const attempts = {
      'names it': `select authz.list_keys('${ORG}')`,
      'sets the unsigned context': `select set_config('ringfence.org_id', '${ORG}', true), authz.list_keys('${ORG}')`,
      'forges the signed one': `select set_config('ringfence.context',
        '1|k1|9999999999999|${ORG}|member|x||${'0'.repeat(64)}', true), authz.list_keys('${ORG}')`,
      'reads the table': 'select * from authz.api_key',
      'looks a key up': `select authz.find_key('0123456789abcdef')`,
    };
    const codes: Record<string, string> = {};
    for (const [attempt, statement] of Object.entries(attempts))
      codes[attempt] = await sql
        .raw(statement)
        .execute(injected)
        .then(
          () => 'carried out',
          (error: { code: string }) => error.code,
        );
    expect(codes).toEqual({
      'names it': '42501',
      'sets the unsigned context': '42501',
      'forges the signed one': 'tenancy.context_forged',
      'reads the table': '42501',
      'looks a key up': '42501',
    });
  });
});

/** What the app declares of the schema: no table of it is the app role's, and its functions are known. */
function declaration(appRole: string): TenancySchema {
  const own = {
    reason: 'of the authz package: works on the organisation of the verified context, refuses another',
  };
  return declareSchema()({
    appRole,
    org: {},
    systemSchemas: { authz: { reason: 'API keys, credentials and revocations, behind functions' } },
    definerFunctions: {
      'authz.insert_key(uuid,jsonb)': own,
      'authz.rotate_key(uuid,text,jsonb,bigint)': own,
      'authz.revoke_keys(uuid,text,text,text,bigint)': own,
      'authz.touch_keys(uuid,jsonb)': own,
      'authz.list_keys(uuid)': own,
      'authz.insert_credential(uuid,jsonb)': own,
      'authz.find_credential(uuid,text)': own,
      'authz.replace_credential(uuid,text,integer,text,bigint)': own,
      'authz.revoke_credential(uuid,text,bigint)': own,
      'authz.list_credentials(uuid)': own,
    },
  });
}

test('the schema is exactly what is declared, and the doctor finds nothing wrong in it', async () => {
  const schema = declaration(database.app);
  expect(differences(schema, await readCatalog(owner))).toEqual([]);
  const { counts, findings } = await runDoctor({ db: owner, schema });
  expect(findings.filter(({ level }) => level !== 'note')).toEqual([]);
  expect(counts).toMatchObject({ error: 0, warning: 0 });
});
