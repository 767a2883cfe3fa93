/** `@ringfence/crypto/kysely`: encrypted columns and blind indexes for Kysely. */
export { type SearchableReference, whereBlind } from './blind-search.ts';
export { type ColumnErrorDetails, EncryptedColumnError } from './column-errors.ts';
export {
  type ColumnMigration,
  type ColumnMigrationOptions,
  columnMigration,
  type PlaintextCount,
} from './column-migration.ts';
export type {
  BlindIndex,
  BlindIndexColumnOf,
  BlindIndexMark,
  BlindIndexValue,
  Opened,
  Sealed,
  SealedColumnNames,
  SealedColumnsOf,
  SealedMark,
  SealedTablesOf,
  SealedTypeOf,
  SearchableColumnsOf,
} from './column-types.ts';
export {
  type BlindIndexDeclaration,
  type BlindIndexVersion,
  type ColumnDeclaration,
  type DeclaredColumn,
  type DeclaredIndex,
  type DeclaredTable,
  type EncryptedColumns,
  encryptedColumns,
  type IndexVersion,
  type PlainColumnDeclaration,
  type SearchableColumnDeclaration,
  type TableDeclaration,
  type TableDeclarations,
} from './declaration.ts';
export {
  type EncryptionMode,
  type MigratingMode,
  type StrictMode,
  withEncryption,
} from './encryption-plugin.ts';
export type { NamedNormaliser, Normaliser } from './normaliser.ts';
export type { RowIdColumns, RowIdType } from './row-identity.ts';
export { sealedColumnChecks } from './sealed-checks.ts';
export {
  type BlindIndexCount,
  countBlindIndexes,
  reindexBlind,
  type SweepOptions,
  type SweptColumn,
  sealExisting,
} from './sweep.ts';
