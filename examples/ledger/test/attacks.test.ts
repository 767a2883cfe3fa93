import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { attacks, type Stage } from '../src/demo/attacks.ts';
import { customerKey, type KeyScene, keyLife } from '../src/demo/key-life.ts';
import { tour } from '../src/demo/tour.ts';
import { IRONBRIDGE, NORTHWIND, provision } from '../src/provision.ts';

let database: TestDatabase;
let scene: Stage;
let keyScene: KeyScene;
let close: () => Promise<void>;

/** Long enough for the reads between two scenes, short enough to wait for. */
const LEASE_MS = 1_000;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'ledger');
  const customer = await customerKey();
  const provisioned = await provision(database, { leaseMs: LEASE_MS, customerKms: [customer.kms] });
  const { ledger, operations } = provisioned;
  const [mine, theirs] = [await tour(ledger, NORTHWIND), await tour(ledger, IRONBRIDGE)];
  scene = {
    ledger,
    mine,
    theirs,
    appUrl: database.appUrl,
    ownerUrl: database.ownerUrl,
    superuserUrl: database.superuserUrl,
  };
  const { superuserUrl } = database;
  keyScene = { ledger, operations, customer, toured: theirs, leaseMs: LEASE_MS, superuserUrl };
  close = async () => {
    await provisioned.close();
    await customer.close();
  };
});

afterAll(async () => {
  await close?.();
  await database?.drop();
});

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
