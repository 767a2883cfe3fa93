/**
 * A worker of imports that stops at one instruction of its job, says so, and waits to be killed: `AT=effect` inside the
 * transaction, behind its last statement, `AT=commit` behind its commit.
 */
import { localKms } from '@ringfence/crypto/local';
import { workJobs } from '@ringfence/tenancy/pg-boss';
import { directoryStorage } from '@ringfence/tenancy/storage-directory';
import { importHandler } from '../src/import-job.ts';
import { createLedger } from '../src/ledger.ts';
import { PLATFORM_KEK } from '../src/provision.ts';
import { STATEMENT_IMPORT } from '../src/queues.ts';

const setting = (name: string) => process.env[name] ?? '';
const secret = (name: string) => new Uint8Array(Buffer.from(setting(name), 'hex'));
const stopHere = async (where: string): Promise<never> => {
  console.log(where);
  return await new Promise<never>(() => {});
};

const ledger = await createLedger({
  appUrl: setting('APP_URL'),
  keysUrl: setting('KEYS_URL'),
  queueUrl: setting('QUEUE_URL'),
  contextKey: { id: 'demo', secret: secret('CONTEXT_SECRET') },
  jobKey: { id: 'j1', secret: secret('JOB_SECRET') },
  kms: [localKms({ keks: { platform: secret('PLATFORM_KEK') } })],
  kekFor: () => PLATFORM_KEK,
  issuers: [],
  apiKeyPepper: secret('API_KEY_PEPPER'),
  storage: directoryStorage({ root: setting('OBJECTS_DIR') }),
});
const handler = importHandler(ledger);
await workJobs(
  ledger.jobs,
  ledger.queue,
  STATEMENT_IMPORT,
  async (context) => {
    if (setting('AT') === 'commit') {
      await handler(context);
      return await stopHere('commit');
    }
    await handler({
      ...context,
      once: (effect) =>
        context.once(async (trx) => {
          await effect(trx);
          return await stopHere('effect');
        }),
    });
  },
  { pollingIntervalSeconds: 0.5 },
);
