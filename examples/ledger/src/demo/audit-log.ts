/**
 * The audit log against its administrators: signed, cosigned by the customer's witness, copied; then a database superuser
 * rewrites history so that the database agrees with itself, and each of database, copy and witness finds it alone.
 * The log stays rewritten: these scenes come last.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localSigner, type Signer, verifierKeyOf } from '@ringfence/audit/checkpoint';
import type { ChainHead } from '@ringfence/audit/verify';
import { directoryStore, verifyWriteOnceCopy, type WriteOnceStore } from '@ringfence/audit/write-once';
import { AUDIT_ORIGIN, type AuditTrail, createAuditTrail } from '../audit-trail.ts';
import type { Ledger } from '../ledger.ts';
import { type CustomerWitness, customerWitness } from './customer-witness.ts';
import { forgetSignatures, type Rewrite, rewriteHistory } from './rewritten-history.ts';
import { NOT_STOPPED, type Outcome, type Scene } from './scene.ts';
import type { Toured } from './tour.ts';

/** What the scenes work on. */
export interface AuditStage {
  readonly ledger: Ledger;
  /** Whose log it is. */
  readonly toured: Toured;
  /** The trail as it runs in the deployment. */
  readonly trail: AuditTrail;
  /** The customer's witness. */
  readonly witness: CustomerWitness;
  /** The copy. */
  readonly store: WriteOnceStore;
  /** The key line that the customer was given once. */
  readonly logKey: string;
  /** The trail as a restart would make it: it remembers nothing. */
  restarted(): AuditTrail;
  readonly superuserUrl: string;
  /** What the customer's auditor kept before the attack. */
  kept: ChainHead | undefined;
  /** Ends the witness and the connections, and removes the copy. */
  close(): Promise<void>;
}

/** Where the stage is set up. */
export interface AuditStageOptions extends Pick<AuditStage, 'ledger' | 'toured' | 'superuserUrl'> {
  readonly checkpointerUrl: string;
  readonly copierUrl: string;
  /** Where the copy goes. Default: a temporary directory. */
  readonly store?: WriteOnceStore;
}

/** Starts the witness and connects checkpointer and copier. */
export async function auditStage(options: AuditStageOptions): Promise<AuditStage> {
  const { ledger, toured, superuserUrl, checkpointerUrl, copierUrl } = options;
  const { privateKey } = generateKeyPairSync('ed25519');
  const signer: Signer = localSigner({ name: AUDIT_ORIGIN, privateKey });
  const logKey = verifierKeyOf(signer);
  const witness = await customerWitness(toured.org.id, logKey);
  const root = mkdtempSync(join(tmpdir(), 'ringfence-audit-copy-'));
  const store = options.store ?? directoryStore({ root });
  const trails: AuditTrail[] = [];
  const restarted = () => {
    const witnesses = () => [witness.witness];
    const trail = createAuditTrail({ checkpointerUrl, copierUrl, signer, store, witnesses });
    trails.push(trail);
    return trail;
  };
  return {
    ...{ ledger, toured, witness, store, logKey, superuserUrl, restarted },
    trail: restarted(),
    kept: undefined,
    close: async () => {
      await Promise.all([witness.close(), ...trails.map((trail) => trail.close())]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function outcome(good: boolean, code: string, answer: string): Outcome {
  return { stopped: good, code: good ? code : NOT_STOPPED, answer };
}

/** Ends with the code of the error that an operation must throw. */
async function refused(run: () => Promise<unknown>): Promise<Outcome> {
  try {
    await run();
  } catch (error) {
    const { code = 'no code', message } = error as { readonly code?: string; readonly message: string };
    return { stopped: true, code, answer: message };
  }
  return { stopped: false, code: NOT_STOPPED, answer: 'nothing was noticed' };
}

function verified({ ledger, toured }: AuditStage, expectedHead: readonly ChainHead[]) {
  const db = ledger.tenancy.forOrg(toured.org.id, toured.auditor.principal);
  return ledger.audit.verify(db, toured.org.id, { expectedHead });
}

async function signedAndCosigned(stage: AuditStage): Promise<Outcome> {
  const { trail, toured, witness } = stage;
  const signed = await trail.checkpointer.checkpoint(toured.org.id);
  const { cosigned, failed } = await trail.checkpointer.cosign(toured.org.id);
  stage.kept = (await verified(stage, [])).head;
  const good = signed?.size === stage.kept.seq && cosigned.length === 1 && failed.length === 0;
  return outcome(
    good,
    'cosigned',
    `${signed?.size} events, signed with Ed25519; cosigned by ${cosigned.join()}, process ${witness.pid}`,
  );
}

const DIRECTORY = 'a directory: it refuses to overwrite, but is not write-once against its administrator';

async function copied({ trail, toured, store, logKey }: AuditStage): Promise<Outcome> {
  const org = toured.org.id;
  const { objects, size } = await trail.copy.copy(org);
  const report = await verifyWriteOnceCopy({ store, org, origin: AUDIT_ORIGIN, keys: [logKey] });
  return outcome(
    objects > 0 && report.ok && report.signed === size,
    'copied',
    `${objects} objects, ${report.links} links verified; ${store.locks ? 'each locked, and the lock read back' : DIRECTORY}`,
  );
}

function rewriteOf({ toured, superuserUrl }: AuditStage): Rewrite {
  const { org, controller, bookkeeper } = toured;
  return { superuserUrl, org: org.id, from: controller.actor, to: bookkeeper.actor };
}

/** The attack must be consistent, or it shows nothing: without anything kept, the log verifies. */
async function againstCheckpoint(stage: AuditStage): Promise<Outcome> {
  await rewriteHistory(rewriteOf(stage));
  const { ok } = await verified(stage, []);
  if (!ok) throw new Error('the rewritten chain does not verify by itself, so it shows nothing');
  return refused(() => stage.restarted().checkpointer.checkpoint(stage.toured.org.id));
}

/** Now the new history is signed with the real key: only what lies outside the database is left to find it. */
async function againstKeptHead(stage: AuditStage): Promise<Outcome> {
  const org = stage.toured.org.id;
  await forgetSignatures(rewriteOf(stage));
  const running = await refused(() => stage.trail.checkpointer.checkpoint(org));
  if (running.code !== 'audit.history_changed') return running;
  const signed = await stage.restarted().checkpointer.checkpoint(org);
  if (signed === undefined || stage.kept === undefined) throw new Error('there is nothing to compare');
  const { findings } = await verified(stage, [stage.kept]);
  const [finding] = findings;
  if (finding === undefined)
    return { stopped: false, code: NOT_STOPPED, answer: 'the rewritten log verifies' };
  return { stopped: true, code: `audit.${finding.class}`, answer: finding.detail };
}

/** The customer is shown the new checkpoint, properly signed. The copy holds the history it is not of. */
async function againstCopy({ restarted, toured, store, logKey }: AuditStage): Promise<Outcome> {
  const org = toured.org.id;
  const shown = (await restarted().checkpointer.newest(org))?.note ?? '';
  const trust = { store, org, origin: AUDIT_ORIGIN, keys: [logKey] };
  const intact = await verifyWriteOnceCopy(trust);
  if (!intact.ok) throw new Error('the copy itself was damaged, so it shows nothing');
  const { findings } = await verifyWriteOnceCopy({ ...trust, keptNotes: [shown] });
  const [finding] = findings;
  if (finding === undefined)
    return { stopped: false, code: NOT_STOPPED, answer: 'the copy agrees with the new history' };
  return { stopped: true, code: `audit.${finding.class}`, answer: finding.detail };
}

const overCopy = ({ restarted, toured }: AuditStage) => refused(() => restarted().copy.copy(toured.org.id));

async function againstWitness({ restarted, toured }: AuditStage): Promise<Outcome> {
  const { failed } = await restarted().checkpointer.cosign(toured.org.id);
  return refused(async () => {
    for (const { error } of failed) throw error;
  });
}

/** The scenes in order, each with the code it must end with. */
export const auditLog: readonly Scene<AuditStage>[] = [
  {
    name: "The log is signed, and cosigned by the customer's witness",
    expected: 'cosigned',
    run: signedAndCosigned,
  },
  { name: 'What was signed is copied out of the database', expected: 'copied', run: copied },
  {
    name: 'A database superuser rewrites who approved, with leaf, chain and head: the last checkpoint alone',
    expected: 'audit.history_changed',
    run: againstCheckpoint,
  },
  {
    name: 'He deletes all checkpoints and has the new history signed: the database and one kept head alone',
    expected: 'audit.rewritten',
    run: againstKeptHead,
  },
  {
    name: 'The copy alone, without the database, against the checkpoint that is shown now',
    expected: 'audit.rewritten',
    run: againstCopy,
  },
  {
    name: 'The new history is to be copied over the old one',
    expected: 'audit.copy_conflict',
    run: overCopy,
  },
  {
    name: "The customer's witness alone is asked to cosign the new history",
    expected: 'audit.witness_refused',
    run: againstWitness,
  },
];
