/**
 * Operations an application declares, and the S3 actions each needs (Service Authorization Reference, Amazon S3). The
 * documents grant exactly these and deny the role everything else by name of what is left out, so that an action AWS adds
 * tomorrow is denied too.
 *
 * `s3:ListBucketMultipartUploads` is in none: it has no condition on the prefix, so it would show the keys of all
 * organisations. Stale uploads are ended by a lifecycle rule of the bucket (AbortIncompleteMultipartUpload).
 */

/** What an application may do with the objects of an organisation. `delete` hides versions where the bucket keeps them. */
export type StorageOperation = 'read' | 'write' | 'list' | 'versions' | 'delete';

/** Operations of an application that keeps what it stored. */
export const DEFAULT_OPERATIONS: readonly StorageOperation[] = ['read', 'write', 'list'];

/** Actions on the objects of an organisation, per operation. Copying needs `read` and `write`. */
const OBJECT_ACTIONS: Readonly<Record<StorageOperation, readonly string[]>> = {
  read: ['s3:GetObject'],
  write: ['s3:PutObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
  list: [],
  versions: ['s3:GetObjectVersion'],
  delete: ['s3:DeleteObject'],
};

/** Actions on the bucket that carry a prefix, per operation. */
const LIST_ACTIONS: Readonly<Record<StorageOperation, readonly string[]>> = {
  read: [],
  write: [],
  list: ['s3:ListBucket'],
  versions: ['s3:ListBucketVersions'],
  delete: [],
};

/** Actions on objects that the operations need. */
export function objectActions(operations: readonly StorageOperation[]): string[] {
  return operations.flatMap((operation) => OBJECT_ACTIONS[operation]);
}

/** Actions on the bucket, bound to a prefix, that the operations need. */
export function listActions(operations: readonly StorageOperation[]): string[] {
  return operations.flatMap((operation) => LIST_ACTIONS[operation]);
}

/**
 * Checks declared operations.
 *
 * @throws TypeError when one is unknown, named twice, or none is given.
 */
export function checkOperations(operations: readonly StorageOperation[]): readonly StorageOperation[] {
  const known = operations.every((operation) => Object.hasOwn(OBJECT_ACTIONS, operation));
  if (!known || operations.length === 0 || new Set(operations).size !== operations.length) {
    throw new TypeError('operations: expected some of read, write, list, versions, delete, each once');
  }
  return [...operations];
}
