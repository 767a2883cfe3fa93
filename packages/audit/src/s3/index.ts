/**
 * A bucket with S3 Object Lock as the store of a write-once copy.
 *
 * @packageDocumentation
 */
export {
  type LockedBucket,
  type LockedBucketOptions,
  lockedBucket,
  SEVEN_YEARS_MS,
} from './locked-bucket.ts';
