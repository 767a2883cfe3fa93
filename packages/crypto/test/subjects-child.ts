/** A process of its own that uses a data subject for the first time: prints its key id and a sealed text. */
import { createKeyring, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { postgresKeyStore, postgresSubjectKeyStore } from '../src/postgres/index.ts';
import { createSubjectKeys } from '../src/subjects/index.ts';
import { connect } from './operations-setup.ts';

const { APP_URL = '', ORG, KEK = '' } = process.env;
const db = connect(APP_URL, 2);
const keyring = createKeyring({
  app: 'test',
  kms: [localKms({ keks: { main: Buffer.from(KEK, 'hex') } })],
  store: postgresKeyStore(db),
  kekFor: () => 'local:main',
});
const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(db) });
const orgKeys = await keyring.org(parseOrgId(ORG));
const keys = await Promise.all(Array.from({ length: 20 }, (_, i) => subjects.of(orgKeys, `employee-${i}`)));
const cell = { table: 'payslip', column: 'iban', row: 'row-1' };
console.log(JSON.stringify(keys.map((key) => [key.keyId, key.sealText(cell, String(process.pid))])));
await db.destroy();
