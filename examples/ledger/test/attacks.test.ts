import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { attacks, type Scene } from '../src/demo/attacks.ts';
import { tour } from '../src/demo/tour.ts';
import { IRONBRIDGE, NORTHWIND, provision } from '../src/provision.ts';

let database: TestDatabase;
let scene: Scene;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'ledger');
  const ledger = await provision({ ownerUrl: database.ownerUrl, appUrl: database.appUrl, app: database.app });
  const [mine, theirs] = [await tour(ledger, NORTHWIND), await tour(ledger, IRONBRIDGE)];
  scene = {
    ledger,
    mine,
    theirs,
    appUrl: database.appUrl,
    ownerUrl: database.ownerUrl,
    superuserUrl: database.superuserUrl,
  };
});

afterAll(async () => {
  await scene?.ledger.close();
  await database?.drop();
});

test.each(attacks.map((attack) => [attack.name, attack] as const))('%s: stopped', async (_, attack) => {
  const { stopped, code } = await attack.run(scene);
  expect({ stopped, code }).toEqual({ stopped: true, code: attack.expected });
});
