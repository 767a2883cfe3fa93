/** `@ringfence/crypto/postgres`: key store and revocation channel on PostgreSQL. */

export { postgresSubjectKeyStore } from '../subjects/postgres-subject-key-store.ts';
export { postgresKeyStore } from './postgres-key-store.ts';
export {
  type ListeningClient,
  type PostgresRevocationsOptions,
  postgresRevocations,
} from './postgres-revocations.ts';
export type { CryptoDatabase, DekVersionTable, DekWrapTable, SubjectKeyTable } from './schema.ts';
