/**
 * The life of a customer's key, played on the running app: the customer brings a key of its own, disables it, enables it
 * again, and leaves for good. The customer's KMS is a loopback server that speaks the AWS KMS protocol with real
 * cryptography; the app talks to it through the official client.
 */
import { KMSClient } from '@aws-sdk/client-kms';
import type { KmsProvider } from '@ringfence/crypto';
import { awsKms } from '@ringfence/crypto/aws-kms';
import type { KeyOperations } from '@ringfence/crypto/operations';
import pg from 'pg';
import { AwsKmsServer } from '../../../../packages/crypto/test/servers/aws-kms-server.ts';
import { readEntry } from '../entries.ts';
import type { Ledger } from '../ledger.ts';
import { PLATFORM_KEK } from '../provision.ts';
import { NOT_STOPPED, type Outcome, type Scene } from './scene.ts';
import type { Toured } from './tour.ts';

const REGION = 'us-east-1';

/** The customer's side: a KMS with one key in it, in the customer's hands. */
export interface CustomerKey {
  /** Provider the app reaches the customer's KMS with. */
  readonly kms: KmsProvider;
  /** URI of the customer's key. */
  readonly kekUri: string;
  /** The customer turns the key off or on. */
  setEnabled(enabled: boolean): void;
  /** Ends the server. */
  close(): Promise<void>;
}

/** Starts the customer's KMS. */
export async function customerKey(): Promise<CustomerKey> {
  const server = new AwsKmsServer();
  const client = new KMSClient({
    region: REGION,
    endpoint: await server.listen(),
    credentials: { accessKeyId: 'customer', secretAccessKey: 'customer' },
  });
  const arn = server.createKey(REGION);
  return {
    kms: awsKms({ client }),
    kekUri: `aws-kms:${arn}`,
    setEnabled: (enabled) => server.setState(arn, enabled ? 'Enabled' : 'Disabled'),
    close: async () => {
      client.destroy();
      await server.close();
    },
  };
}

/** What a scene of the key's life works on. */
export interface KeyScene {
  readonly ledger: Ledger;
  readonly operations: KeyOperations;
  readonly customer: CustomerKey;
  /** The organisation whose key it is. */
  readonly toured: Toured;
  /** Stated lock-out time: the life of a lease, ms. */
  readonly leaseMs: number;
  readonly superuserUrl: string;
}

const systemHandle = ({ ledger, toured }: KeyScene) =>
  ledger.tenancy.forOrg(toured.org.id, { actor: 'system:keys', kind: 'system' });

const read = ({ ledger, toured }: KeyScene) => readEntry(ledger, toured.controller, toured.entryIds[0] ?? '');

/** The organisation moves from the platform's key to its own; two wraps stand while it moves, no row is touched. */
export async function bringOwnKey(scene: KeyScene): Promise<Outcome> {
  const { operations, customer, toured, ledger } = scene;
  const move = { from: PLATFORM_KEK, to: customer.kekUri };
  await operations.moveKek(toured.org.id, move);
  await ledger.audit.record(systemHandle(scene), 'keys.moved', { outcome: 'success', data: move });
  ledger.keyring.revoke(toured.org.id);
  await read(scene);
  const { versions } = await operations.status(toured.org.id);
  const under = new Set(versions.flatMap(({ kekUris }) => kekUris));
  const moved = under.size === 1 && under.has(customer.kekUri);
  return {
    stopped: moved,
    code: moved ? 'moved' : 'NOT MOVED',
    answer: 'only the wrap changed; entries open as before',
  };
}

/** The customer disables its key: reading must stop within the stated time, with the typed error. */
export async function disableKey(scene: KeyScene): Promise<Outcome> {
  scene.customer.setEnabled(false);
  const start = performance.now();
  const limitMs = scene.leaseMs + 1_000;
  while (performance.now() - start < limitMs) {
    try {
      await read(scene);
      await new Promise((resolve) => setTimeout(resolve, 50));
    } catch (error) {
      const took = ((performance.now() - start) / 1000).toFixed(1);
      const stated = (scene.leaseMs / 1000).toFixed(1);
      const { code = 'no code' } = error as { code?: string };
      // A request that began before the end of the lease and opens a field behind it; the next one asks the KMS.
      if (code === 'crypto.lease_expired') continue;
      return { stopped: true, code, answer: `reading stopped after ${took} s (stated: at most ${stated} s)` };
    }
  }
  return { stopped: false, code: NOT_STOPPED, answer: `still reading after ${limitMs} ms` };
}

/** The customer enables its key again: service resumes by itself, without a restart. */
export async function enableKey(scene: KeyScene): Promise<Outcome> {
  scene.customer.setEnabled(true);
  const start = performance.now();
  for (;;) {
    try {
      await read(scene);
      return { stopped: true, code: 'resumed', answer: 'service resumes by itself' };
    } catch (error) {
      const { code = 'no code' } = error as { code?: string };
      if (performance.now() - start > 15_000)
        return { stopped: false, code, answer: 'service did not resume' };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The organisation leaves: its keys are shredded. A backup of its rows from before is restored, and stays dark. */
export async function shredAndRestore(scene: KeyScene): Promise<Outcome> {
  const { operations, ledger, toured, superuserUrl } = scene;
  const client = new pg.Client({ connectionString: superuserUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    await read(scene); // opens now, so that only the shred can be what makes it dark
    await client.query('create schema backup');
    for (const table of ['entry', 'attachment', 'review'])
      await client.query(`create table backup.${table} as table ledger.${table}`);
    const certificate = await operations.shred(toured.org.id, { reason: 'contract ended' });
    ledger.keyring.revoke(toured.org.id);
    await ledger.audit.record(systemHandle(scene), 'keys.shredded', {
      outcome: 'success',
      reason: certificate.reason,
      data: { wrapsDestroyed: certificate.wrapsDestroyed, certificate: certificate.digest },
    });
    let restored = 0;
    for (const table of ['review', 'attachment', 'entry'])
      await client.query(`delete from ledger.${table} where org_id = $1`, [toured.org.id]);
    for (const table of ['entry', 'attachment', 'review']) {
      const { rowCount } = await client.query(
        `insert into ledger.${table} select * from backup.${table} where org_id = $1`,
        [toured.org.id],
      );
      restored += rowCount ?? 0;
    }
    try {
      await read(scene);
    } catch (error) {
      const { code = 'no code' } = error as { code?: string };
      const wraps = `${certificate.wrapsDestroyed} wrap${certificate.wrapsDestroyed === 1 ? '' : 's'} destroyed`;
      return { stopped: true, code, answer: `${wraps}, ${restored} rows restored, none of them opens` };
    }
    return { stopped: false, code: NOT_STOPPED, answer: 'the restored backup opens' };
  } finally {
    await client.end();
  }
}

/** The life of the key in order, each with the code it must end with. */
export const keyLife: readonly Scene<KeyScene>[] = [
  { name: 'The customer brings a key of its own', expected: 'moved', run: bringOwnKey },
  { name: 'The customer disables its key', expected: 'crypto.key_revoked', run: disableKey },
  { name: 'The customer enables its key', expected: 'resumed', run: enableKey },
  {
    name: 'The organisation is shredded, and a backup of its rows restored',
    expected: 'crypto.key_shredded',
    run: shredAndRestore,
  },
];
