/** The service's side of docs/byok/gcp.md: the block of the page is the region of this file. */
// #region gcp
import { KeyManagementServiceClient } from '@google-cloud/kms';
import type { KmsProvider } from '@ringfence/crypto';
import { gcpKms } from '@ringfence/crypto/gcp-kms';

export const kms: KmsProvider = gcpKms({ client: new KeyManagementServiceClient(), timeoutMs: 5000 });
// #endregion
