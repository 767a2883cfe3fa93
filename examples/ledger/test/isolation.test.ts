import { differences, readCatalog } from '@ringfence/tenancy/policies';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { auditDoctor } from '../src/audit-cli.ts';
import { newSecrets } from '../src/provision.ts';
import { type ProvisionedDatabase, tenancyCli } from '../src/tenancy-cli.ts';
import { tenancySchema } from '../src/tenancy-schema.ts';
import { type Fixture, fixture } from './fixture.ts';

let f: Fixture;
let database: ProvisionedDatabase;
let owner: pg.Client;
beforeAll(async () => {
  const secrets = newSecrets();
  f = await fixture(inject('databaseUrl'), { secrets });
  database = { ...f.database, contextKey: secrets.contextKey };
  owner = new pg.Client({ connectionString: f.database.ownerUrl });
  await owner.connect();
});
afterAll(async () => {
  await owner?.end();
  await f?.close();
});

test('the provisioned database is exactly what is declared', async () => {
  const pool = new pg.Pool({ connectionString: f.database.ownerUrl, max: 1 });
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  expect(differences(tenancySchema(f.database.app), await readCatalog(db))).toEqual([]);
  await db.destroy();
});

test('the command line finds nothing in it, and the remaining notes are the known ones', async () => {
  const doctor = await tenancyCli(database, 'doctor', '--strict', '--json');
  expect(doctor.exitCode).toBe(0);
  const { counts, findings, plans } = JSON.parse(doctor.output);
  expect(counts).toEqual({ error: 0, warning: 0, note: 5 });
  expect(plans).toBe(15);
  expect(findings.map(({ name, object }: { name: string; object: string }) => [name, object])).toEqual([
    ['activity-readable', f.database.app],
    ['notify-shared', 'authz.publish_revocation(text, text, text, bigint)'],
    ['notify-shared', 'authz.tell_revoked_key()'],
    ['notify-shared', 'pgboss.create_queue(text, jsonb)'],
    ['volumes-readable', f.database.app],
  ]);
  const probe = await tenancyCli(database, 'probe', '--json');
  expect(probe.exitCode).toBe(0);
  expect(JSON.parse(probe.output)).toMatchObject({ clean: true, tables: 8, unprobed: [], stale: [] });
});

test.each([
  [
    'a table nobody declared',
    'create table ledger.note (id int)',
    'drop table ledger.note',
    { policies: 1, doctor: 1, probe: 0 },
  ],
  [
    'a policy that is opened',
    `create policy report on ledger.entry to $app using (true)`,
    'drop policy report on ledger.entry',
    { policies: 1, doctor: 1, probe: 1 },
  ],
  [
    'a right of PUBLIC on a table',
    'grant select on ledger.org to public',
    'revoke select on ledger.org from public',
    { policies: 1, doctor: 1, probe: 0 },
  ],
])('the command line ends with 1 for %s', async (_, breaks, mends, expected) => {
  await owner.query(breaks.replace('$app', f.database.app));
  try {
    const codes = {
      policies: (await tenancyCli(database, 'policies')).exitCode,
      doctor: (await tenancyCli(database, 'doctor', '--strict')).exitCode,
      probe: (await tenancyCli(database, 'probe')).exitCode,
    };
    expect(codes).toEqual(expected);
  } finally {
    await owner.query(mends);
  }
});

test('the command line of the audit log finds nothing, and a guard that is off', async () => {
  // The server of the tests may run without fsync; that of `pnpm isolation` does not, and nothing is left out there.
  const found = async () => {
    const { output, exitCode } = await auditDoctor(f.database, '--strict', '--json');
    const rules = JSON.parse(output).findings.map(({ rule }: { rule: string }) => rule);
    return { exitCode, rules: rules.filter((rule: string) => rule !== 'durability-off') };
  };
  expect((await found()).rules).toEqual([]);
  await owner.query('alter table audit.event disable trigger refuse_change');
  try {
    expect(await found()).toEqual({ exitCode: 1, rules: ['trigger-weakened'] });
  } finally {
    await owner.query('alter table audit.event enable always trigger refuse_change');
  }
});
