/**
 * A write-once copy of every log, and its verification.
 *
 * @packageDocumentation
 */
export type { CopyResult } from './copy-log.ts';
export type { CopyFinding, CopyFindingClass, CopyReport } from './copy-report.ts';
export { type DirectoryStoreOptions, directoryStore } from './directory-store.ts';
export { type RestoreOptions, type RestoreReport, restoreLog } from './restore-log.ts';
export type {
  ListedVersion,
  LockedVersion,
  ObjectVersion,
  Retention,
  RetentionMode,
  StoredBytes,
  WriteOnceStore,
} from './store.ts';
export { type VerifyCopyOptions, verifyWriteOnceCopy } from './verify-copy.ts';
export {
  type CopyLag,
  type CopyScheduleOptions,
  createWriteOnceCopy,
  type WriteOnceCopy,
  type WriteOnceCopyOptions,
} from './write-once-copy.ts';
