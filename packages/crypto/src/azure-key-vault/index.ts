/** Subpath `@ringfence/crypto/azure-key-vault`: key-encryption keys in Azure Key Vault. Needs `@azure/keyvault-keys`. */
export { type AzureCredential, type AzureKeyVaultOptions, azureKeyVault } from './azure-key-vault.ts';
