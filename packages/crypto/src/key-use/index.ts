/** `@ringfence/crypto`: what keys were used for, counted per lease, and every KMS call. */
export type { KeyUse, KeyUseCount, KeyUsePort, KmsCall, UsedKey } from './key-use.ts';
export {
  type KeyUseFailure,
  type KeyUseLedger,
  type KeyUseLedgerOptions,
  type KeyUseSink,
  type KeyUseStats,
  keyUseLedger,
} from './key-use-ledger.ts';
export type { LeaseUse, UseTally } from './lease-use.ts';
