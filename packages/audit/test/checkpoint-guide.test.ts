/** The guide docs/audit-checkpoints.md: its code runs, and is what the page shows. */
// #region imports
import {
  createCheckpointer,
  createDeploymentLog,
  httpTimestampAuthority,
  httpWitness,
  localSigner,
  timestampNote,
  verifierKeyOf,
} from '@ringfence/audit/checkpoint';
import { auditMigrations } from '@ringfence/audit/migrations';
import {
  openCheckpoint,
  parseVerifierKey,
  verifyConsistency,
  verifyInclusion,
} from '@ringfence/audit/verify';
// #endregion

import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { deploymentLeaf } from '../src/checkpoint/index.ts';
import type { OrgId } from '../src/index.ts';
import { formatVerifierKey, verifierKey } from '../src/verify/signed-note.ts';
import { type CheckpointFixture, checkpointFixture } from './checkpoint-fixture.ts';
import { errorOf } from './fixture.ts';
import { newSigner } from './memory-log.ts';

let f: CheckpointFixture;
beforeAll(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

test('the guide does what it says', async () => {
  // #region roles
  const migrations = auditMigrations({ appRole: 'ledger_app', checkpointerRole: 'ledger_checkpointer' });
  // #endregion
  expect(migrations[0]?.up).toContain('ledger_checkpointer');

  const org = await f.org(3);
  const first = await f.another().checkpoint(org);
  await f.grow(org, 2);
  const cosigner = newSigner('witness.customer.example');
  const witnessKey = formatVerifierKey(verifierKey(cosigner.name, 'cosignature-v1', cosigner.publicKey));
  // #region witnesses
  const witnesses = (asked: OrgId) =>
    asked === org ? [httpWitness({ url: 'https://witness.customer.example', key: witnessKey })] : [];
  // #endregion
  expect(witnesses(org)).toHaveLength(1);

  const db = f.signing;
  const stop = new AbortController();
  const { signal } = stop;
  const told: unknown[] = [];
  const alarm = (what: string, context: object) => told.push({ what, ...context });
  const privateKey = f.pem;
  // #region run
  const origin = 'ledger.example/audit';
  const signer = localSigner({ name: origin, privateKey });
  const checkpointer = createCheckpointer({ db, signer, origin, witnesses });
  const deployment = createDeploymentLog({ db, signer, origin });
  const running = checkpointer.run({
    everyEvents: 10_000,
    everyMs: 60_000,
    deployment,
    signal,
    onError: (error, org) => alarm('audit checkpoint', { error, org }),
  });
  // #endregion
  stop.abort();
  await running;
  expect((await checkpointer.checkpoint(org))?.size).toBe(5);
  await deployment.checkpoint();

  // #region lag
  const { orgs, events, oldestMs } = await checkpointer.lag();
  // #endregion
  expect([orgs, events, oldestMs]).toEqual([0, 0, 0]);
  // #region key
  const line = verifierKeyOf(signer); // ledger.example/audit+<key id>+<base 64>
  // #endregion
  expect(line).toMatch(/^ledger\.example\/audit\+[0-9a-f]{8}\+/);
  const next = localSigner({ name: origin, privateKey: generateKeyPairSync('ed25519').privateKey });
  // #region rotation
  const rotated = createCheckpointer({ db, signer: next, origin, formerKeys: [line] });
  // #endregion
  expect((await rotated.checkpoint(org))?.size).toBe(5);

  // #region prove
  const { leaf, index, size, proof, note } = await checkpointer.proveEvent(org, 2);
  const growth = await checkpointer.proveGrowth(org, 3);
  // #endregion
  const kept = first?.root ?? new Uint8Array();
  // #region check
  const opened = await openCheckpoint(note, { origin: `${origin}/${org}`, keys: [parseVerifierKey(line)] });
  if (!opened.ok) throw new Error(`the checkpoint is ${opened.reason}`);
  const { root } = opened.checkpoint;
  const stands = verifyInclusion({ leaf, index, size, root, proof });
  const continues = verifyConsistency({ oldSize: 3, oldRoot: kept, size, root, proof: growth });
  // #endregion
  expect([stands, continues]).toEqual([true, true]);

  // #region deployment
  const proven = await deployment.proveOrg(org); // for the organisation: entry, proof and note
  const { ok, findings } = await deployment.verify(); // for the auditor: every log against every entry
  // #endregion
  expect(proven.leaf).toEqual(deploymentLeaf(proven.entry));
  expect([ok, findings]).toEqual([true, []]);
});

test('a time-stamp authority that is not there is an error of its own', async () => {
  const stamping = async (note: string) => {
    // #region stamp
    const authority = httpTimestampAuthority({ url: 'https://tsa.example/tsr' });
    const { timeMs, response } = await timestampNote(note, authority);
    // #endregion
    return { timeMs, response };
  };
  expect(await errorOf(stamping('note\n'))).toMatchObject({
    code: 'audit.timestamp_refused',
    retryable: true,
  });
});

test('the guide shows this code', () => {
  const page = new URL('../../../docs/audit-checkpoints.md', import.meta.url);
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});
