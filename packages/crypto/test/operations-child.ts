/**
 * Started as a child process by the kill test: `rewrap` the given organisations, `rotate` them, or `shred` them, with a
 * line before and after each step. In mode `shred-untold` it says when the wraps are gone and never gets further. The KMS answers after a moment, so that kills fall between its calls too.
 */

import { type KmsProvider, parseOrgId, type RevocationChannel } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { createKeyOperations } from '../src/operations/index.ts';
import { postgresKeyStore } from '../src/postgres/index.ts';
import { connect } from './operations-setup.ts';

const { mode, url, orgs, kekA, kekB } = JSON.parse(process.argv[2] ?? '') as {
  readonly mode: 'rewrap' | 'rotate' | 'shred' | 'shred-untold';
  readonly url: string;
  readonly orgs: string[];
  readonly kekA: string;
  readonly kekB: string;
};
const local = localKms({ keks: { a: Buffer.from(kekA, 'hex'), b: Buffer.from(kekB, 'hex') } });
const moment = () => new Promise((resolve) => setTimeout(resolve, 2));
const kms: KmsProvider = {
  scheme: 'local',
  wrap: async (...args) => {
    await moment();
    return local.wrap(...args);
  },
  unwrap: async (...args) => {
    await moment();
    return local.unwrap(...args);
  },
  describe: (...args) => local.describe(...args),
};
const say = (line: string) => process.stdout.write(`${line}\n`);
/** A shred tells all processes between its transaction and its certificate. */
const untold: RevocationChannel = {
  publish: (org) => {
    say(`destroyed ${org}`);
    return new Promise(() => {});
  },
  subscribe: () => Promise.reject(new Error('not used')),
};
const operations = createKeyOperations({
  app: 'test',
  kms: [kms],
  store: postgresKeyStore(connect(url, 4)),
  kekFor: () => 'local:b',
  ...(mode === 'shred-untold' && { revocations: untold }),
});
const list = orgs.map(parseOrgId);

say('ready');
if (mode === 'rewrap') {
  await operations.rewrapAll({
    orgs: list,
    concurrency: 4,
    onProgress: ({ resumeAfter }) => say(`done ${resumeAfter ?? ''}`),
  });
} else {
  for (const org of list) {
    say(`begin ${org}`);
    if (mode === 'rotate') await operations.rotate(org);
    else await operations.shred(org, { reason: 'kill test' });
    say(`done ${org}`);
  }
}
say('end');
process.exit(0);
