import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { type AccessStage, access, accessStage } from '../src/demo/access.ts';
import { attacks, type Stage } from '../src/demo/attacks.ts';
import { type AuditStage, auditLog, auditStage } from '../src/demo/audit-log.ts';
import { identityProvider } from '../src/demo/identity-provider.ts';
import { type IsolationStage, isolation } from '../src/demo/isolation.ts';
import { customerKey, type KeyScene, keyLife } from '../src/demo/key-life.ts';
import { tour } from '../src/demo/tour.ts';
import { workImports } from '../src/import-job.ts';
import { IRONBRIDGE, NORTHWIND, provision } from '../src/provision.ts';
import { tenancySchema } from '../src/tenancy-schema.ts';

let database: TestDatabase;
let scene: Stage;
let isolationStage: IsolationStage;
let keyScene: KeyScene;
let audited: AuditStage;
let accessed: AccessStage;
let close: () => Promise<void>;

/** Long enough for the reads between two scenes, short enough to wait for. */
const LEASE_MS = 1_000;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'ledger');
  const customer = await customerKey();
  const provider = await identityProvider();
  const provisioned = await provision(database, {
    issuer: provider.issuer,
    leaseMs: LEASE_MS,
    customerKms: [customer.kms],
    onForgedJob: () => {},
  });
  const { ledger, operations } = provisioned;
  await workImports(ledger);
  const mine = await tour(ledger, provider, NORTHWIND);
  const theirs = await tour(ledger, provider, IRONBRIDGE);
  scene = {
    ledger,
    mine,
    theirs,
    appUrl: database.appUrl,
    queueUrl: database.queueUrl,
    ownerUrl: database.ownerUrl,
    superuserUrl: database.superuserUrl,
  };
  const { ownerUrl, superuserUrl } = database;
  isolationStage = { ledger, schema: tenancySchema(database.app), ownerUrl, superuserUrl };
  keyScene = { ledger, operations, customer, toured: theirs, leaseMs: LEASE_MS, superuserUrl };
  accessed = accessStage({ ledger, provider, toured: mine });
  audited = await auditStage({ ...database, ledger, toured: mine });
  close = async () => {
    await audited.close();
    await provisioned.close();
    await Promise.all([customer.close(), provider.close()]);
  };
});

afterAll(async () => {
  await close?.();
  await database?.drop();
});

test.each(access.map((part) => [part.name, part] as const))('%s: as stated', async (_, { run, expected }) => {
  const { stopped, code } = await run(accessed);
  expect({ stopped, code }).toEqual({ stopped: true, code: expected });
});

test.each(isolation.map((part) => [part.name, part] as const))(
  '%s: as stated',
  async (_, { run, expected }) => {
    const { stopped, code } = await run(isolationStage);
    expect({ stopped, code }).toEqual({ stopped: true, code: expected });
  },
);

test.each(attacks.map((attack) => [attack.name, attack] as const))('%s: stopped', async (_, attack) => {
  const { stopped, code } = await attack.run(scene);
  expect({ stopped, code }).toEqual({ stopped: true, code: attack.expected });
});

test.each(keyLife.map((part) => [part.name, part] as const))(
  '%s: as stated',
  async (_, { run, expected }) => {
    const { stopped, code } = await run(keyScene);
    expect({ stopped, code }).toEqual({ stopped: true, code: expected });
  },
);

test.each(auditLog.map((part) => [part.name, part] as const))(
  '%s: as stated',
  async (_, { run, expected }) => {
    const { stopped, code } = await run(audited);
    expect({ stopped, code }).toEqual({ stopped: true, code: expected });
  },
);
