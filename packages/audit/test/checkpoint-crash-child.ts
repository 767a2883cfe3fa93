/** A process that is killed while it holds the transaction of a checkpoint: argv is the URL, the organisation, the key. */
import { createCheckpointer, localSigner } from '../src/checkpoint/index.ts';
import { parseOrgId } from '../src/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { kyselyOf } from './fixture.ts';

const [url = '', org = '', pem = ''] = process.argv.slice(2);
const signer = localSigner({ name: ORIGIN, privateKey: pem });
const checkpointer = createCheckpointer({
  db: kyselyOf(url, 1),
  origin: ORIGIN,
  signer: {
    ...signer,
    sign: () => {
      process.kill(process.pid, 'SIGKILL');
      return new Promise(() => {});
    },
  },
});
await checkpointer.checkpoint(parseOrgId(org));
