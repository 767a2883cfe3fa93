/**
 * `pnpm demo`: the ledger on a real PostgreSQL. Two organisations do their books, then the attacks are played against
 * the running app. With `--once` it ends; without, the database stays up for you to attack it yourself.
 * Exits 0 only if every attack was refused or detected with the code it must have.
 */
import { startPostgres } from '../../../../tools/postgres.ts';
import { createTestDatabase } from '../../../../tools/test-database.ts';
import { IRONBRIDGE, NORTHWIND, provision } from '../provision.ts';
import { attacks, type Scene } from './attacks.ts';
import { closing, done, outcome, say, title } from './terminal.ts';
import { tour } from './tour.ts';

const once = process.argv.includes('--once');
const started = performance.now();
const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;

title('Ringfence ledger');
const server = await startPostgres();
const database = await createTestDatabase(server.url, 'ledger');
const ledger = await provision({ ownerUrl: database.ownerUrl, appUrl: database.appUrl, app: database.app });
let good = true;
try {
  done(`PostgreSQL is up (${server.kind}), two organisations seeded`, seconds());
  const mine = await tour(ledger, NORTHWIND);
  const theirs = await tour(ledger, IRONBRIDGE);
  const scene: Scene = {
    ledger,
    mine,
    theirs,
    appUrl: database.appUrl,
    ownerUrl: database.ownerUrl,
    superuserUrl: database.superuserUrl,
  };
  title('Attacks');
  for (const attack of attacks) {
    const { stopped, code, answer } = await attack.run(scene);
    const held = stopped && code === attack.expected;
    good &&= held;
    outcome(held, attack.name, answer, code);
  }
  closing(
    good,
    good
      ? `All ${attacks.length} attacks were refused or detected. ${seconds()}`
      : 'An attack was not stopped.',
  );
  if (!once) await tryItYourself();
} finally {
  await ledger.close();
  await database.drop();
  await server.stop();
}
process.exitCode = good ? 0 : 1;

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
