/**
 * Subpath `@ringfence/tenancy/s3`: objects per organisation in one S3 bucket. Needs `@aws-sdk/client-s3` and
 * `@aws-sdk/client-sts`.
 *
 * @packageDocumentation
 */
export { createOrgStorage, type OrgStorageOptions } from './org-storage.ts';
