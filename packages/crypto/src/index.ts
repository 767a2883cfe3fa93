/** `@ringfence/crypto`: the keyring, sealed fields and rows, and the ports to key stores and KMS providers. */
export * from './errors.ts';
export type { Cell, ColumnContext, RowCell } from './field-context.ts';
export {
  FIELD_MAX_PLAINTEXT_BYTES,
  FIELD_OVERHEAD_BYTES,
  isSealedText,
  keyIdOfMessage,
} from './field-format.ts';
export type {
  DekRecord,
  DekState,
  DekTombstone,
  KeyStore,
  WrapRecord,
} from './key-store.ts';
export type { KeyUse, KeyUseCount, KeyUsePort, KmsCall, UsedKey } from './key-use/key-use.ts';
export type { KeyUseSink } from './key-use/key-use-ledger.ts';
export type { LeaseUse, UseTally } from './key-use/lease-use.ts';
export type { SharedKeyPurpose } from './key-version.ts';
export { createKeyring, type Keyring, type KeyringOptions, type LeaseOptions } from './keyring.ts';
export type { KekState, KmsCallOptions, KmsProvider, UnwrapResult, WrapContext, WrapResult } from './kms.ts';
export type { KeyringStats } from './lease-cache.ts';
export { type OrgId, parseOrgId } from './org-id.ts';
export type { OrgKeys, PurposeKeyMeter, PurposeKeyUse } from './org-keys.ts';
export type { RevocationChannel, RevocationListener } from './revocation.ts';
export type { RandomFill } from './salt-source.ts';
