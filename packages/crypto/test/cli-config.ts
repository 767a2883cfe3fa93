/** Configuration of the command line for its tests: real PostgreSQL, local KEKs, what varies comes from the environment. */
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type KeyUse, type KmsProvider, parseOrgId } from '../src/index.ts';
import { keyUseLedger } from '../src/key-use/index.ts';
import { localKms } from '../src/local/index.ts';
import { orgsWithKeys } from '../src/operations/index.ts';
import { postgresKeyStore } from '../src/postgres/index.ts';
import { connect } from './operations-setup.ts';

const { DATABASE_URL = '', KEK_A = '', KEK_B = '', KEK_FOR = 'local:a', KMS_DELAY_MS = '0' } = process.env;
const { KEY_USE, KMS_BROKEN, NAMED = '0', RECORD, ORGS } = process.env;
const db = connect(DATABASE_URL, 4);
const keks = localKms({ keks: { a: Buffer.from(KEK_A, 'hex'), b: Buffer.from(KEK_B, 'hex') } });

const slow: KmsProvider = {
  scheme: 'local',
  wrap: async (...args) => {
    await delay(Number(KMS_DELAY_MS));
    if (KMS_BROKEN !== undefined) throw new Error(`\u001b[2Jbroken`);
    return keks.wrap(...args);
  },
  unwrap: (...args) => keks.unwrap(...args),
  describe: (...args) => keks.describe(...args),
};

export const config = {
  app: 'test',
  kms: [slow],
  store: postgresKeyStore(db),
  kekFor: () => KEK_FOR,
  orgs: () => (ORGS === undefined ? orgsWithKeys(db) : ORGS.split(' ').map(parseOrgId)),
  references: [{ name: 'ledger.entry.memo', count: async () => Number(NAMED) }],
  maxLeaseAgeMs: 0,
  record: (document: object) => {
    if (RECORD === 'fail') throw new Error('the audit log is down');
    if (RECORD !== undefined) appendFileSync(RECORD, `${JSON.stringify(document)}\n`);
  },
  ...(KEY_USE !== undefined && {
    keyUse: keyUseLedger({
      port: {
        record: async (use: KeyUse) => {
          await delay(50); // as an audit log would; a program that does not wait for it loses the report
          appendFileSync(KEY_USE, `${JSON.stringify(use)}\n`);
        },
      },
    }),
  }),
  close: () => db.destroy(),
};
