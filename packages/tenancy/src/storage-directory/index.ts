/**
 * Subpath `@ringfence/tenancy/storage-directory`: objects per organisation in a local directory, for demos and tests.
 *
 * @packageDocumentation
 */
export { type DirectoryStorageOptions, directoryStorage } from './directory-storage.ts';
