/** Subpath `@ringfence/crypto/gcp-kms`: key-encryption keys in Google Cloud KMS. Needs `@google-cloud/kms`. */
export { type GcpKmsOptions, gcpKms } from './gcp-kms.ts';
