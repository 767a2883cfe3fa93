/**
 * An append-only, hash-chained audit log on PostgreSQL: events commit with the change they tell of, every organisation
 * has one strict chain, and anybody can verify it.
 *
 * @packageDocumentation
 */
export type { ChainPosition } from './append-result.ts';
export {
  type Audit,
  type AuditOptions,
  type AuditStats,
  createAudit,
  type Receipt,
  type SealedEvent,
} from './audit.ts';
export { type CanonicalValue, canonicalize } from './canonical-json.ts';
export type { DatabaseReport, VerifyOptions } from './database-verification.ts';
export { type AuditErrorCode, fromDatabaseError, RingfenceAuditError } from './errors.ts';
export {
  type DataField,
  type DataIssue,
  type DataResult,
  type DataSchema,
  type DataSchemaProperties,
  type DataTypes,
  defineEvents,
  type EventCatalogue,
  type EventDefinition,
  type EventFields,
  type EventInput,
  type EventName,
  type Outcome,
  type PathStep,
  type PersonalEventName,
  type TargetField,
  type WithData,
  type WithoutData,
  type WithoutTarget,
  type WithPersonal,
  type WithTarget,
} from './event-catalogue.ts';
export type { RandomBytes } from './event-id.ts';
export type { ContextExecutor, QueryExecutor } from './executor.ts';
export { type ExportOptions, exportLog } from './export-log.ts';
export type { KeepSealedOptions, Unsealed } from './keep-sealed.ts';
export { type OrgId, parseOrgId } from './org-id.ts';
export { type VerifyParallelOptions, verifyParallel } from './parallel/verify-parallel.ts';
export type { DataOutput, MarkedCatalogue, PersonalMark, PersonalMarks } from './personal-fields.ts';
export {
  type ByteStream,
  type ChainHead,
  type ChainReport,
  type ChainRow,
  type ExportReport,
  type Finding,
  type FindingClass,
  type RecordColumns,
  type Sha256,
  type VerifyChainOptions,
  type VerifyExportOptions,
  verifyChain,
  verifyExport,
  type WebByteStream,
} from './verify/index.ts';
