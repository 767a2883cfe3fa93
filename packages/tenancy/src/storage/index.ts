/**
 * Isolation of organisations in object storage: keys, policy documents, and the proof that the documents hold. Pure; the
 * stores are in `@ringfence/tenancy/s3` and `@ringfence/tenancy/storage-directory`.
 *
 * @packageDocumentation
 */
export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export {
  type AccessGrantDocument,
  type AccessGrantsDocuments,
  type AccessGrantsOptions,
  accessGrantsDocuments,
} from './access-grants.ts';
export { type StorageDocumentOptions, type StorageDocuments, storageDocuments } from './documents.ts';
export {
  type AccessDecision,
  type AccessEvaluator,
  type AccessPolicies,
  type AccessRequest,
  accessEvaluator,
} from './evaluate-access.ts';
export { orgKey, orgPrefix, type ParsedOrgKey, parseOrgKey } from './object-key.ts';
export type {
  ByteRange,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectContent,
  ObjectInfo,
  ObjectKey,
  ObjectStorage,
  OrgObjects,
  PutOptions,
} from './object-storage.ts';
export type { StorageOperation } from './operations.ts';
export type { PolicyConditions, PolicyDocument, PolicyStatement } from './policy-document.ts';
export { proveGrants } from './prove-grants.ts';
export {
  type IsolationFault,
  type IsolationFinding,
  type IsolationLayer,
  type IsolationReport,
  type ProveIsolationOptions,
  proveIsolation,
} from './prove-isolation.ts';
