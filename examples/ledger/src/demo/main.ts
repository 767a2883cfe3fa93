/**
 * `pnpm demo`: the ledger on a real PostgreSQL. Two organisations do their books, access is asked for, given and refused,
 * the database is examined and probed, then the attacks are played against the running app. With `--once` it ends; without, the database stays up for you to attack it yourself.
 * Exits 0 only if every scene ended with the code it must have.
 */
import { startPostgres } from '../../../../tools/postgres.ts';
import { createTestDatabase } from '../../../../tools/test-database.ts';
import { workImports } from '../import-job.ts';
import { IRONBRIDGE, NORTHWIND, provision } from '../provision.ts';
import { tenancySchema } from '../tenancy-schema.ts';
import { access, accessStage } from './access.ts';
import { attacks } from './attacks.ts';
import { auditLog, auditStage } from './audit-log.ts';
import { identityProvider } from './identity-provider.ts';
import { isolation } from './isolation.ts';
import { customerKey, keyLife } from './key-life.ts';
import { held, type Scene } from './scene.ts';
import { closing, done, outcome, say, title } from './terminal.ts';
import { tour } from './tour.ts';

/** Life of a lease: the stated time within which a disabled key stops the service. The default is 300 s. */
const LEASE_MS = 1_000;
const once = process.argv.includes('--once');
const started = performance.now();
const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;

title('Ringfence ledger');
const server = await startPostgres();
const database = await createTestDatabase(server.url, 'ledger');
const customer = await customerKey();
const provider = await identityProvider();
const { ledger, operations, close } = await provision(database, {
  issuer: provider.issuer,
  leaseMs: LEASE_MS,
  customerKms: [customer.kms],
  onForgedJob: () => {}, // the attack shows it
});
await workImports(ledger);
let good = true;
try {
  done(`PostgreSQL is up (${server.kind}), two organisations seeded`, seconds());
  const mine = await tour(ledger, provider, NORTHWIND);
  const theirs = await tour(ledger, provider, IRONBRIDGE);
  const { appUrl, queueUrl, ownerUrl, superuserUrl } = database;
  title('Access');
  await play(access, accessStage({ ledger, provider, toured: mine }));
  title('Isolation');
  await play(isolation, { ledger, schema: tenancySchema(database.app), ownerUrl, superuserUrl });
  title('Attacks');
  await play(attacks, { ledger, mine, theirs, appUrl, queueUrl, ownerUrl, superuserUrl });
  title('The life of a customer key');
  await play(keyLife, { ledger, operations, customer, toured: theirs, leaseMs: LEASE_MS, superuserUrl });
  title('The audit log');
  const audited = await auditStage({ ...database, ledger, toured: mine });
  await play(auditLog, audited).finally(() => audited.close());
  const all = `Access and isolation hold, all ${attacks.length} attacks were refused or detected, the key's life went as stated, and the rewritten log was found three times.`;
  closing(good, good ? `${all} ${seconds()}` : 'Something did not end as it must.');
  if (!once) await tryItYourself();
} finally {
  await close();
  await Promise.all([customer.close(), provider.close()]);
  await database.drop();
  await server.stop();
}
process.exitCode = good ? 0 : 1;

async function play<S>(scenes: readonly Scene<S>[], stage: S): Promise<void> {
  for (const scene of scenes) {
    const ended = await scene.run(stage);
    const asItMust = held(scene, ended);
    good &&= asItMust;
    outcome(asItMust, scene.name, ended.answer, ended.code);
  }
}

/** Keeps the database up until Ctrl-C. */
async function tryItYourself(): Promise<void> {
  title('Now you');
  say('The database stays up until Ctrl-C. Connect with any PostgreSQL client:');
  say(`as the app role    ${database.appUrl}`);
  say(`as a superuser     ${database.superuserUrl}`);
  say('Try: select * from ledger.entry');
  const forever = setInterval(() => {}, 60_000);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  });
  clearInterval(forever);
}
