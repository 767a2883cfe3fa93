/** The service's side of docs/byok/azure.md: the block of the page is the region of this file. */
// #region azure
import type { KmsProvider } from '@ringfence/crypto';
import { type AzureCredential, azureKeyVault } from '@ringfence/crypto/azure-key-vault';

/** `credentialFor` gives the credential for a vault, e.g. a `ClientAssertionCredential` of the customer's tenant. */
export function vaultKms(credentialFor: (vaultUrl: string) => AzureCredential): KmsProvider {
  return azureKeyVault({ credential: credentialFor, timeoutMs: 5000 });
}
// #endregion
