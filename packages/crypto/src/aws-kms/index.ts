/** Subpath `@ringfence/crypto/aws-kms`: key-encryption keys in AWS KMS. Needs `@aws-sdk/client-kms`. */
export { type AwsKmsOptions, awsKms } from './aws-kms.ts';
export type { AwsKmsKey } from './key-arn.ts';
