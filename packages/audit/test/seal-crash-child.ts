/** A process that commits an event and is to be killed before it seals: argv is the URL and the organisation. */
import { sql } from 'kysely';
import { createAudit } from '../src/index.ts';
import { events, kyselyOf } from './fixture.ts';

const [url = '', org = ''] = process.argv.slice(2);
const app = kyselyOf(url, 1);
const audit = createAudit({ events, db: app, sealInTransaction: false });
const receipt = audit.prepare('login.succeeded', { outcome: 'success' });
await app.transaction().execute(async (trx) => {
  await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'job', true)`.execute(
    trx,
  );
  await trx.executeQuery(receipt.query);
});
process.stdout.write(receipt.id);
setInterval(() => {}, 60_000); // lives, and never seals
