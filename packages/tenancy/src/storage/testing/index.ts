/**
 * Subpath `@ringfence/tenancy/storage-testing`: the conformance suite of object stores, and the mistakes a proof of
 * isolation must find.
 *
 * @packageDocumentation
 */
export { type StorageConformanceCase, storageConformance } from './conformance.ts';
export { mutationOperations, type StorageMutation, storageMutations } from './mutations.ts';
