/** A copier in a process of its own, to be killed: argv is the URL, the endpoint, the organisation, the verifier key. */
import { parseOrgId } from '../src/index.ts';
import { createWriteOnceCopy } from '../src/write-once/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { bucketAt } from './copy-fixture.ts';
import { kyselyOf } from './fixture.ts';

const [url = '', endpoint = '', org = '', key = ''] = process.argv.slice(2);
const db = kyselyOf(url, 2);
await createWriteOnceCopy({ db, store: bucketAt(endpoint), origin: ORIGIN, keys: [key] }).copy(
  parseOrgId(org),
);
await db.destroy();
process.exit(0);
