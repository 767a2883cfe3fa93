/** `@ringfence/authz/keys`: API keys under the ceiling of their creator, and sealed credentials of integrations. */
export {
  type ApiKeys,
  type ApiKeysOptions,
  createApiKeys,
  type IssuedKey,
  type KeyCreation,
  type KeyReplacement,
  type KeyRequest,
} from './api-keys.ts';
export type {
  CredentialRecord,
  CredentialReplacement,
  CredentialStore,
  CredentialUse,
} from './credential-store.ts';
export {
  type CredentialCell,
  type CredentialInput,
  type CredentialRequest,
  type CredentialSealer,
  type Credentials,
  type CredentialsOptions,
  createCredentials,
} from './credentials.ts';
export {
  AuthzCredentialRefusedError,
  AuthzKeyConflictError,
  AuthzKeyRefusedError,
  type CredentialRefusal,
  type KeyConflict,
  type KeyRefusal,
} from './errors.ts';
export type { KeyAccess, VerifiedKey } from './key-access.ts';
export type { Peppers } from './key-mac.ts';
export type { KeyFinding, KeyReport, KeyReportLimits, ReportedKey } from './key-report.ts';
export type {
  ApiKeyRecord,
  ApiKeyStore,
  KeyRotation,
  KeyScope,
  KeySelection,
  KeyUse,
} from './key-store.ts';
export type { RefusedAttempts, RefusedKey, RefusedKnownKey, RefusedOtherKeys } from './refused-keys.ts';
export { Secret } from './secret.ts';
