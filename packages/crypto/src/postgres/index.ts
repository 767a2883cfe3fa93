/** `@ringfence/crypto/postgres`: key store and revocation channel on PostgreSQL. */
export {
  type CryptoMigrationOptions,
  cryptoKyselyMigrations,
  cryptoMigrations,
  type SqlMigration,
} from './migrations.ts';
export { postgresKeyStore } from './postgres-key-store.ts';
export {
  type ListeningClient,
  type PostgresRevocationsOptions,
  postgresRevocations,
} from './postgres-revocations.ts';
export type { CryptoDatabase, DekVersionTable, DekWrapTable } from './schema.ts';
