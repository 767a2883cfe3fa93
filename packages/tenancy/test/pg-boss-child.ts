/** A worker that commits the effect of its job, says so, and goes on until it is killed. */

import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { createTenancy } from '../src/index.ts';
import { createJobs } from '../src/jobs/index.ts';
import { workJobs } from '../src/pg-boss/index.ts';
import type { Tables } from './fixture.ts';
import type { Queues } from './jobs-fixture.ts';

const { OWNER_URL = '', APP_URL = '', CONTEXT_SECRET = '', JOB_SECRET = '' } = process.env;
const secret = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const pool = new pg.Pool({ connectionString: APP_URL, max: 2 });
const boss = new PgBoss({ connectionString: OWNER_URL, supervise: false, schedule: false });
const jobs = createJobs<Queues, Tables>({
  tenancy: createTenancy<Tables>({ pool, contextKey: { id: 'k1', secret: secret(CONTEXT_SECRET) } }),
  keys: [{ id: 'j1', secret: secret(JOB_SECRET) }],
  signingKeyId: 'j1',
  onRefused: ({ code }) => console.log(code),
});
await boss.start();
await workJobs(
  jobs,
  boss,
  'note.add',
  async ({ payload, once }) => {
    await once((trx) =>
      trx
        .insertInto('app.note')
        .values({ org_id: undefined, ...payload })
        .execute(),
    );
    console.log('committed');
    await new Promise(() => {});
  },
  { pollingIntervalSeconds: 0.5 },
);
