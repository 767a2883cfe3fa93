/** The service's side of docs/byok/aws.md: the block of the page is the region of this file. */
// #region aws
import { KMSClient } from '@aws-sdk/client-kms';
import type { KmsProvider } from '@ringfence/crypto';
import { awsKms } from '@ringfence/crypto/aws-kms';

const clients = new Map<string, KMSClient>();

/** One client per Region: clients hold connections and credentials. */
export function clientFor(region: string): KMSClient {
  const client = clients.get(region) ?? new KMSClient({ region, maxAttempts: 3 });
  clients.set(region, client);
  return client;
}

export const kms: KmsProvider = awsKms({ client: (key) => clientFor(key.region), timeoutMs: 5000 });
// #endregion
