/** `@ringfence/crypto/operations`: rotation, re-wrap, moves between keys, verified retirement, shredding. */
export { createKeyOperations, type KeyOperations, type KeyOperationsOptions } from './key-operations.ts';
export type { Wait } from './operation-context.ts';
export { type OrgsWithKeysOptions, orgsWithKeys } from './orgs-with-keys.ts';
export { blindIndexCounter, type ColumnCounterOptions, sealedColumnCounter } from './reference-counters.ts';
export { type ReferenceCounter, type RetirementProof, StillReferencedError } from './retirement.ts';
export type { RewrapFailure, RewrapOptions, RewrapProgress, RewrapReport } from './rewrap-all.ts';
export type { Rotated } from './rotation.ts';
export {
  isIntactShredCertificate,
  type ShredCertificate,
  type ShreddedVersion,
  type ShredOptions,
} from './shredding.ts';
export type { KekReport, KekStatus, OrgKeyStatus, VersionStatus } from './status.ts';
export {
  type SweepFailure,
  type SweepOptions,
  type SweepProgress,
  type SweepReport,
  sweepColumn,
} from './sweep.ts';
export type { MoveReport, WrapChange } from './wraps.ts';
