/** The checkpoint fixture with a copier of its own role and a bucket on loopback. */
import type { Kysely } from 'kysely';
import { verifierKeyOf } from '../src/checkpoint/index.ts';
import type { OrgId } from '../src/index.ts';
import { type LockedBucketOptions, lockedBucket } from '../src/s3/index.ts';
import {
  type CopyReport,
  createWriteOnceCopy,
  type VerifyCopyOptions,
  verifyWriteOnceCopy,
  type WriteOnceCopy,
  type WriteOnceStore,
} from '../src/write-once/index.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';
import { kyselyOf, type Tables } from './fixture.ts';

export const CREDENTIALS = { accessKeyId: 'COPIER', secretAccessKey: 'secret' };

export interface CopyFixture extends CheckpointFixture {
  /** The copier's role. */
  readonly copying: Kysely<Tables>;
  /** The key line of the signer. */
  readonly keyLine: string;
  copyTo(store: WriteOnceStore): WriteOnceCopy;
  /** An organisation whose log was signed at each of these sizes. */
  signed(...sizes: readonly number[]): Promise<OrgId>;
  verify(org: OrgId, store: WriteOnceStore, options?: Partial<VerifyCopyOptions>): Promise<CopyReport>;
}

export async function copyFixture(serverUrl: string, retentionDays?: number): Promise<CopyFixture> {
  const base = await checkpointFixture(serverUrl, retentionDays);
  const copying = kyselyOf<Tables>(base.database.queueUrl, 12);
  const keyLine = verifierKeyOf(base.signer);
  return {
    ...base,
    copying,
    keyLine,
    copyTo: (store) => createWriteOnceCopy({ db: copying, store, origin: ORIGIN, keys: [keyLine] }),
    signed: async (...sizes) => {
      const org = await base.org(0);
      let size = 0;
      for (const next of sizes) {
        await base.grow(org, next - size);
        await base.checkpointer.checkpoint(org);
        size = next;
      }
      return org;
    },
    verify: (org, store, options) =>
      verifyWriteOnceCopy({ store, org, origin: ORIGIN, keys: [keyLine], ...options }),
    close: async () => {
      await copying.destroy();
      await base.close();
    },
  };
}

export function bucketAt(endpoint: string, options: Partial<LockedBucketOptions> = {}): WriteOnceStore {
  const s3 = { endpoint, region: 'us-east-1', forcePathStyle: true, credentials: CREDENTIALS };
  return lockedBucket({ s3, bucket: 'audit-copy', prefix: 'ledger', mode: 'compliance', ...options });
}

/** Classes of the findings, in order, each once. */
export function classesOf({ findings }: CopyReport): string[] {
  return [...new Set(findings.map((finding) => finding.class))].sort();
}
