/** `@ringfence/authz/postgres`: stores of API keys and credentials, and revocations between processes, on PostgreSQL. */
export { type OrgWork, settingContext } from './org-work.ts';
export { type PostgresCredentialStoreOptions, postgresCredentialStore } from './postgres-credential-store.ts';
export { type PostgresKeyStoreOptions, postgresApiKeyStore } from './postgres-key-store.ts';
export {
  type ListeningClient,
  type PostgresRevocationsOptions,
  postgresRevocations,
  type RevocationFeed,
} from './postgres-revocations.ts';
